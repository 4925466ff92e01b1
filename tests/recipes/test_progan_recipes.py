"""The ProGAN recipes against the released table, and short runs of their twins, each way."""

from dataclasses import replace
from pathlib import Path

import pytest

import orthogen as og
from orthogen import recipes
from orthogen.cli.overrides import override

# latent, InfoGAN's codes, weights of the Hessian Penalty and of OroJaR
TABLE = {
    "edges_shoes": (12, 12, 0.1, 1e-5),
    "clevr_simple": (12, 4, 0.1, 1e-6),
    "clevr_complex": (12, 10, 0.1, 1e-5),
    "clevr_u": (3, 3, 0.025, 1e-4),
    "clevr_1fov": (12, 1, 0.025, 1e-4),
}
WAYS = ("scratch", "finetune", "infogan", "vanilla")


@pytest.mark.parametrize("paper", ["hessian_penalty", "orojar"])
@pytest.mark.parametrize("name", TABLE)
def test_rows_of_the_table(paper: str, name: str) -> None:
    dim, codes, *weights = TABLE[name]
    weight, lr, kimg = weights[paper == "orojar"], (1e-3, 2e-4)[paper == "orojar"], (50, 100)[paper == "orojar"]
    made = recipes.build(f"{paper}.{name}")
    assert isinstance(made, og.Recipe)
    term = made.terms[paper]
    assert (term.weight, term.start, term.ramp, term.every, len(term.layers)) == (weight, 0, 0, 1, 10)
    assert (term.penalty.variance, term.penalty.k, term.penalty.reduction) == ("population", 2, "max")
    assert term.layers[0] == ("b4.conv0.conv" if paper == "orojar" else "b4.conv0")
    assert term.layers[9] == ("b64.conv1.conv" if paper == "orojar" else "b64.conv1")
    assert made.model.latent == og.Normal(dim)
    assert made.model.latent_norm is made.model.first_activation is (paper == "hessian_penalty")
    assert made.generator_optimizer == made.critic_optimizer
    assert (made.generator_optimizer.lr, made.generator_optimizer.betas) == (lr, (0.0, 0.99))
    assert made.generator_optimizer.eps == 1e-8
    assert (made.images, made.ema, made.critic_steps) == (kimg * 1_000_000, 10_000, 1)
    assert made.growth.batch(6_600_001, 256) == 32
    assert [made.batch_at(images) for images in (0, 900_000, 1_800_001, 3_000_001, 4_200_001, 5_400_001)] == [
        2048, 1024, 512, 256, 128, 96,
    ]  # fmt: skip
    assert (made.lod(599_999), made.lod(6_000_000)) == (5.0, 0.0)
    assert (made.terms["gradient_penalty"].weight, made.terms["gradient_penalty"].penalty.strength) == (1.0, 10.0)
    assert made.terms["drift"].weight == 1e-3
    assert made.objective.loss == og.Wasserstein(critic_scale=1.0)

    head = recipes.build(f"{paper}.{name}", way="infogan").terms
    assert set(head) == {"gradient_penalty", "drift", "info_gan"}
    assert head["info_gan"] == og.Term(og.InfoGanHead(codes, layer="b4.stddev", width=512))
    assert set(recipes.build(f"{paper}.{name}", way="vanilla").terms) == {"gradient_penalty", "drift"}
    tuned = recipes.build(f"{paper}.{name}", way="finetune")
    assert (tuned.terms[paper].weight, tuned.terms[paper].ramp) == ((0.1, weight)[paper == "orojar"], 10_000_000)
    assert (tuned.growth, tuned.initial) == (None, f"runs/{paper}.{name}-vanilla")
    assert (tuned.images, tuned.batch) == (20_000_000, 96)


@pytest.mark.parametrize("small", ["", "_small"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_said_is_said_of_this_way(way: str, small: str) -> None:
    said = " ".join(recipes.build(f"hessian_penalty.clevr_simple{small}", way=way).departures)
    assert ("maximum over the batch of a process" in said) is (way in ("scratch", "finetune"))
    assert ("The released weight of 0.1 leaves" in said) is (bool(small) and way in ("scratch", "finetune"))
    assert ("grow from 4 pixels" in said) is (bool(small) and way != "finetune")
    assert ("twice the warm-up" in said) is (way == "finetune")
    assert ("32,000 images, a third" in said) is (bool(small) and way == "finetune")
    assert ("as many codes as the set" in said) is (way == "infogan")


@pytest.mark.parametrize("paper", ["hessian_penalty", "orojar"])
def test_twins_grow_through_all_levels(paper: str) -> None:
    made = recipes.build(f"{paper}.clevr_simple_small")
    assert isinstance(made, og.Recipe)
    sides = {made.growth.side(images, 32) for images in range(0, made.images, 1000)}
    assert sides == {4, 8, 16, 32}
    assert made.lod(made.images // 2) == 0


@pytest.mark.parametrize("paper", ["hessian_penalty", "orojar"])
def test_every_way_runs(tmp_path: Path, paper: str) -> None:
    logged: dict[str, set[str]] = {}
    for way in ("vanilla", "scratch", "infogan", "finetune"):
        made = recipes.build(f"{paper}.clevr_u_small", way=way)
        assert isinstance(made, og.Recipe)
        growth = made.growth and replace(made.growth, stable=16, fade=16, batches=(8,))
        model = replace(made.model, channel_max=8)
        initial = made.initial and str(tmp_path / "vanilla")
        made = replace(made, model=model, growth=growth, images=104, batch=8, initial=initial, ema=100, sample_every=0)
        run = og.train(made, tmp_path / way, quiet=True, log_every=8)
        logged[way] = set(run.log()[-1])
        assert run.generator().module.lod.item() == 0
    assert f"penalty/{paper}/b32.{'conv1.conv' if paper == 'orojar' else 'conv1'}" in logged["scratch"]
    assert f"penalty/{paper}" in logged["finetune"]
    assert {"penalty/info_gan", "penalty/info_gan/generator"} <= logged["infogan"]
    assert not {key for key in logged["vanilla"] if paper in key or "info" in key}


def test_the_schedule_is_set_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    made = recipes.build("orojar.clevr_u_small")
    changed = override(made, ["--growth.stable", "4000", "--growth.batches", "32", "16"], "train")
    assert isinstance(changed, og.Recipe)
    assert changed.growth == replace(made.growth, stable=4000, batches=(32, 16))
    with pytest.raises(SystemExit):
        override(recipes.build("plain.sprites"), ["--help"], "orthogen train plain.sprites")
    assert capsys.readouterr().out.splitlines()[0].strip() == "usage: orthogen train plain.sprites [-h] [OPTIONS]"
