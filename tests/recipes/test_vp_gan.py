"""VP-GAN's recipes: the released numbers, and twins that train and go on where they were stopped."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen import recipes
from tiny_gan import digest, lines

NAMES = ("celeba", "dsprites", "shapes3d")
everyone = pytest.mark.parametrize("name", NAMES)


def build(name: str) -> og.Recipe:
    return recipes.build(f"variation_predictability.{name}")


@everyone
def test_released_numbers(name: str) -> None:
    recipe = build(name)
    generator, critic = recipe.generator_optimizer, recipe.critic_optimizer
    assert (generator.lr, generator.betas, generator.eps) == (0.002, (0.0, 0.99), 1e-8)
    # the critic alone has a lazy term
    assert critic.lr == pytest.approx(0.002 * 16 / 17)
    assert critic.betas == pytest.approx((0.0, 0.99 ** (16 / 17)))
    r1, vp = (recipe.objective.terms[term] for term in ("r1", "variation_predictability"))
    assert (r1.penalty, r1.weight, r1.every) == (og.R1(gamma=100.0), 1.0, 16)
    assert replace(vp.penalty, width=8) == og.VariationPredictability.vp_gan()
    assert (vp.weight, vp.every) == (0.01, 1)
    assert recipe.objective.loss == og.NonSaturating()
    assert (recipe.batch, recipe.images, recipe.critic_steps, recipe.decay_from) == (32, 25_000_000, 1, None)
    assert recipe.ema == 10_000  # images in which the weight of a network halves
    assert recipe.claims == ()  # the paper's tables are unknown here
    assert recipe.model.latent == og.Uniform(recipe.model.latent.dim, -2.0, 2.0)


def test_every_network_has_the_released_width() -> None:
    for name, side, width in (("celeba", 128, 8), ("dsprites", 64, 16), ("shapes3d", 64, 16)):
        recipe = build(name)
        penalty = recipe.objective.terms["variation_predictability"].penalty
        assert (recipe.model.resolution, recipe.model.critic_width, penalty.width) == (side, width, width)
    assert build("celeba").model == og.VcGenerator()
    assert build("celeba").data.crop == "vp"
    assert build("celeba").data.resolution == 128  # the crop is as large: nothing is resized
    assert build("dsprites").model.modules == "dsprites"
    assert build("shapes3d").model.parts == build("dsprites").model.parts[1:]


def test_what_is_unknown_is_said() -> None:
    said = {name: " ".join(build(name).departures) for name in NAMES}
    assert all("which of them the published runs had is unknown" in text for text in said.values())
    assert all("How long the published runs were is unknown" in text for text in said.values())
    assert "modules of the published run are unknown" in said["dsprites"]
    assert "Nothing is known of the published run" in said["shapes3d"]


class Crash(Exception):
    pass


@everyone
def test_a_twin_trains_and_goes_on_where_it_was_stopped(tmp_path: Path, name: str) -> None:
    recipe = replace(build(f"{name}_small"), batch=4, images=16, checkpoint_every=8, sample_every=0)
    recipe = replace(recipe, model=replace(recipe.model, width=8, global_width=8, critic_width=2, critic_hidden=8))
    terms = recipe.objective.terms
    vp = terms["variation_predictability"]
    # every step, so that the few there are have it; a cascade, which counts them
    terms = {
        "r1": replace(terms["r1"], every=2),
        "variation_predictability": replace(vp, penalty=replace(vp.penalty, width=2, hidden=8, cascade=100)),
    }
    recipe = recipe.with_terms(terms)

    def crash(values: Mapping[str, float]) -> None:
        if values["images"] == 12:
            raise Crash

    whole = og.train(recipe, tmp_path / "whole", quiet=True, log_every=4, device="cpu")
    with pytest.raises(Crash):
        og.train(recipe, tmp_path / "crashed", quiet=True, log_every=4, device="cpu", on_log=crash)
    again = og.train(recipe, tmp_path / "crashed", quiet=True, log_every=4, device="cpu")
    assert digest(again) == digest(whole)
    assert lines(again.folder) == lines(whole.folder)
    assert {"penalty/r1", "penalty/variation_predictability"} <= set(whole.log()[0])
    memory = whole.newest.tensors()
    assert int(next(value for key, value in memory.items() if key.endswith("calls"))) == 4
    # what comes back from the run draws from the prior that it was trained with
    generator = og.load(again.folder)
    assert generator.latent == recipe.model.latent
    label = {"label": torch.zeros(2, dtype=torch.int64)} if generator.classes else {}
    images = [generator(generator.latent.center()[None].expand(2, -1), **label) for _ in range(2)]
    assert torch.equal(*images)  # with the noise that was stored


def test_the_class_is_read_back_off_the_critic_on_request(tmp_path: Path) -> None:
    assert "class_head" not in build("dsprites").terms
    full = recipes.build("variation_predictability.dsprites", class_head=True)
    assert full.name == "variation_predictability.dsprites-class_head"  # whose run has a folder of its own
    assert full.terms["class_head"] == og.Term(og.InfoGanHead.vp_gan())
    assert "the class head has weight 1" in " ".join(full.departures).lower()
    small = recipes.build("variation_predictability.dsprites_small", class_head=True)
    model = replace(small.model, width=8, global_width=8, critic_width=2, critic_hidden=8)
    short = replace(small, model=model, batch=16, images=480, ema=100, sample_every=0)
    run = og.train(short, tmp_path / "run", quiet=True, log_every=160, device="cpu")
    said = run.log()
    # three shapes: chance is log 3
    assert all(0.5 < line["penalty/class_head"] < 1.5 for line in said)
    assert said[-1]["penalty/class_head"] < said[0]["penalty/class_head"]
    assert said[-1]["penalty/class_head/generator"] < said[0]["penalty/class_head/generator"]
