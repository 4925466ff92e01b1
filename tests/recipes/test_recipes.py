import dataclasses
import json

import pytest
import torch

import orthogen as og
from orthogen import recipes
from orthogen.core.record import from_json, to_json
from orthogen.evaluation.published import PUBLISHED, SPACES
from orthogen.evaluation.search_recipe import search_recipe

EVERY = sorted(recipes.names())
SEARCHES = [name for name in EVERY if search_recipe(name)]
NAMES = [name for name in EVERY if name not in SEARCHES]
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


@pytest.mark.parametrize("name", EVERY)
def test_loads_is_named_after_itself_and_survives_json(name):
    recipe = search_recipe(name) or recipes.build(name)
    assert recipe.name == name
    assert recipe.departures, "every recipe says where it departs, or why nothing can be compared"
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_terms_see_layers_that_exist(name):
    recipe = recipes.build(name)
    with torch.device("meta"):
        networks = recipe.model.build()
    shown = networks["classifier" if isinstance(recipe, og.ClassifierRecipe) else "generator"]
    for term in recipe.terms.values():
        assert set(term.layers) <= {layer for layer, _ in shown.named_modules()}


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_recipe_has_a_twin_of_the_same_parts(name):
    full, twin = recipes.build(name), recipes.build(f"{name}_small")
    assert type(full) is type(twin)
    assert type(full.model) is type(twin.model)
    if isinstance(full, og.Recipe):
        assert full.objective.loss == twin.objective.loss
    assert {key: type(term.penalty) for key, term in full.terms.items()} == {
        key: type(term.penalty) for key, term in twin.terms.items()
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


# ---------------------------------------------------------------------------------------------- searches
# class, columns, count, batch, base, path size and seed of what is shown: the rows of the released presets
HP, OJ = ("HessianPenalty", 96, "random"), ("OroJaR", 32, "origin")
PRESETS = {
    "hessian_penalty.goldens": (HP, 207, (0, 120), 2.5, 750),
    "hessian_penalty.church": (HP, 497, (0, 120), 3.5, 0),
    "hessian_penalty.goldens_coarse": (HP, 207, (0, 40), 2.5, 750),
    "hessian_penalty.goldens_mid": (HP, 207, (40, 80), 3.5, 750),
    "hessian_penalty.goldens_fine": (HP, 207, (80, 120), 6.0, 750),
    "orojar.goldens_coarse": (OJ, 207, (0, 40), 2.5, 750),
    "orojar.goldens_mid": (OJ, 207, (40, 80), 3.5, 750),
    "orojar.goldens_fine": (OJ, 207, (80, 120), 8.0, 750),
    "orojar.church_coarse": (OJ, 497, (0, 40), 2.5, 0),
    "orojar.church_mid": (OJ, 497, (40, 80), 3.5, 0),
    "orojar.church_fine": (OJ, 497, (80, 120), 8.0, 0),
}


def test_every_preset_has_a_recipe_and_a_twin():
    assert {name for name in SEARCHES if not name.endswith("_small")} == set(PRESETS)
    assert {name for name in SEARCHES if name.endswith("_small")} == {f"{name}_small" for name in PRESETS}
    assert set(PUBLISHED) - set(PRESETS) == {"voynov"}  # which were shown and not searched


@pytest.mark.parametrize("name", PRESETS)
def test_released_presets(name):
    (penalty, batch, base), label, columns, path_size, seed = PRESETS[name]
    recipe, count = search_recipe(name), columns[1] - columns[0]
    method, shown = recipe.method, recipe.published
    assert recipe.model == og.BigGan()
    assert recipe.model.latent.dim == 120
    assert (method.penalty, method.batch, method.base, method.fix_class) == (penalty, batch, base, label)
    assert (method.lr, method.path_size, method.init, method.orthogonal, recipe.seed) == (0.01, 5.0, "normal", "qr", 0)
    assert (method.steps, method.count) == (50_000, count)
    assert SPACES[method.search_space] == columns
    if method.search_space != "all":
        assert recipe.model.latent.slices[method.search_space] == slice(*columns)
    assert (shown.fix_class, shown.path_size, shown.seed, shown.samples) == (label, path_size, seed, 6)
    assert all(row < count for row, _ in shown.names)
    if penalty == "OroJaR":
        assert any("--path_size 5" in sentence for sentence in recipe.departures)
        assert recipe.claims == ()
    else:
        start, end = recipe.claims
        assert (start.metric, end.metric) == ("HessianPenalty at the start", "HessianPenalty at the end")
        assert start.value > end.value + start.tolerance + end.tolerance


def test_the_claims_are_the_released_curves():
    curves = {
        "goldens": (243, 201), "church": (222, 176), "goldens_coarse": (221, 192), "goldens_mid": (0.91, 0.59),
        "goldens_fine": (0.026, 0.012),
    }  # fmt: skip
    for name, ends in curves.items():
        assert tuple(claim.value for claim in search_recipe(f"hessian_penalty.{name}").claims) == ends
    start, end = search_recipe("hessian_penalty.goldens").claims
    for one, values in ((start, (243, 245, 237, 240)), (end, (201, 205, 205, 198))):  # of four seeds
        assert all(abs(value - one.value) <= one.tolerance for value in values)


def test_named_directions_as_published():
    assert dict(search_recipe("hessian_penalty.goldens").published.names) == {5: "rotation", 6: "zoom", 8: "smoosh"}
    assert dict(search_recipe("orojar.goldens_mid").published.names)[21] == "color"
    assert search_recipe("orojar.church_fine").published.names == ()  # the released list is another file's


@pytest.fixture(scope="module")
def tiny():
    model = search_recipe("orojar.goldens_mid_small").model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model.adapt(model.build()["generator"].eval())


@pytest.mark.parametrize("name", [f"{name}_small" for name in PRESETS])
def test_twins_run(name, tiny):
    recipe = search_recipe(name)
    full = search_recipe(name.removesuffix("_small"))
    fields = {"count": full.method.count, "batch": full.method.batch, "steps": full.method.steps}
    assert dataclasses.replace(recipe.method, **fields) == full.method
    (found,) = og.discover(tiny, name, quiet=True)
    space = full.method.search_space
    columns = slice(0, 16) if space == "all" else recipe.model.latent.slices[space]
    assert found.provenance["taken"] == 20
    assert len(found) == columns.stop - columns.start
    torch.testing.assert_close(found.basis[:, columns] @ found.basis[:, columns].T, torch.eye(len(found)))
    assert found.basis.any(dim=0).nonzero().flatten().tolist() == list(range(columns.start, columns.stop))


def test_a_search_is_no_training(tmp_path):
    with pytest.raises(ValueError, match=r"orojar.church_mid is a recipe for discover, not for train: orthogen discov"):
        recipes.build("orojar.church_mid")
    assert search_recipe("orojar.sprites") is None
    assert search_recipe("nobody.knows") is None
