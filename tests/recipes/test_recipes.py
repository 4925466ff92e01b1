import dataclasses
import json

import pytest

import orthogen as og
from orthogen import recipes
from orthogen.core.record import from_json, to_json

NAMES = sorted(recipes.names())
PAPERS = [name for name in NAMES if not name.startswith("demo.") and not name.endswith("_small")]


def test_the_paper_recipes_are_there():
    assert set(NAMES) >= {
        "demo.plain",
        "demo.orojar",
        "plain.sprites",
        "hessian_penalty.sprites",
        "orojar.sprites",
        "variation_predictability.sprites",
        "orojar.celeba",
    }


@pytest.mark.parametrize("name", NAMES)
def test_loads_is_named_after_itself_and_survives_json(name):
    recipe = recipes.build(name)
    assert recipe.name == name
    assert recipe.departures, "every recipe says where it departs, or why nothing can be compared"
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_terms_see_layers_that_exist(name):
    recipe = recipes.build(name)
    if recipe.model.resolution > 64:
        recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, width=0.05))
    G = recipe.model.adapt(recipe.model.build()["generator"])
    for term in recipe.objective.terms.values():
        assert set(term.layers) <= set(G.layers)


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_recipe_has_a_twin_of_the_same_parts(name):
    full, twin = recipes.build(name), recipes.build(f"{name}_small")
    assert type(full.model) is type(twin.model)
    assert full.objective.loss == twin.objective.loss
    assert {key: type(term.penalty) for key, term in full.objective.terms.items()} == {
        key: type(term.penalty) for key, term in twin.objective.terms.items()
    }
    assert twin.images <= 100_000


def test_released_numbers():
    """The dsprites_* and celeba_* rows of the released simple GAN."""
    weights = {"hessian_penalty": 1e-3, "orojar": 1e-11, "variation_predictability": 1e-1}
    for name, weight in weights.items():
        recipe = recipes.build(f"{name}.sprites")
        assert recipe.objective.terms[name].weight == weight
    for recipe in (recipes.build(f"{name}.sprites") for name in (*weights, "plain")):
        assert recipe.generator_optimizer == recipe.critic_optimizer
        assert (recipe.generator_optimizer.lr, recipe.generator_optimizer.betas) == (2e-4, (0.5, 0.999))
        assert (recipe.batch, recipe.images, recipe.decay_from) == (128, 1200 * 737_280, 600 * 737_280)
        assert (recipe.model.latent, recipe.model.channels, recipe.model.resolution) == (og.Normal(6), 1, 64)
        gradient_penalty = recipe.objective.terms["gradient_penalty"]
        assert gradient_penalty.weight * gradient_penalty.penalty.strength == 10
        assert recipe.objective.loss.critic_scale == 0.5
    faces = recipes.build("orojar.celeba")
    assert faces.objective.terms["orojar"].weight == 1e-6
    assert faces.objective.terms["orojar"].layers == tuple(f"layers.{i}.layers.conv" for i in range(5))
    assert (faces.model.latent, faces.model.channels, faces.model.resolution) == (og.Normal(30), 3, 128)
    assert recipes.build("orojar.sprites").objective.terms["orojar"].layers == tuple(
        f"layers.{i}.layers.conv" for i in range(4)
    )


def test_the_demo_differs_in_the_regularizer_alone():
    plain, regularized = recipes.build("demo.plain"), recipes.build("demo.orojar")
    terms = {key: term for key, term in regularized.objective.terms.items() if key != "orojar"}
    objective = dataclasses.replace(regularized.objective, terms=terms)
    assert dataclasses.replace(regularized, name=plain.name, objective=objective) == plain


def test_lookup_mistakes(tmp_path):
    with pytest.raises(KeyError, match=r"no recipe is called 'orojar.sprite'; nearest: orojar.sprites"):
        recipes.build("orojar.sprite")
    with pytest.raises(FileNotFoundError, match="does not exist; give a Python file"):
        recipes.build(f"{tmp_path}/mine.py:run")
    mine = tmp_path / "mine.py"
    mine.write_text("def run():\n    return 3\n")
    with pytest.raises(ValueError, match=r"has no function 'runs'; nearest: run"):
        recipes.build(f"{mine}:runs")
    with pytest.raises(ValueError, match=r"mine.py:run returned a int; a recipe function returns an og.Recipe"):
        recipes.build(f"{mine}:run")
