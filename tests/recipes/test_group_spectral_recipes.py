"""The recipes of the gSR paper: every column of the released configuration, what was put right, and the twins."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen import recipes
from orthogen.core.score_file import read
from orthogen.recipes._long_tail_gans import half_life
from orthogen.training.ema import Average

# image size, classes, 1/rho; weight, beta; model, latent, width; batch, rates of critic and generator, betas;
# critic steps, steps, weight of LeCam; steps after which the average begins
TABLE = {
    "cifar10_sngan": (32, 10, 0.01, 0.5, 0.999, "Sngan", 128, 64, 64, 2e-4, 2e-4, (0.5, 0.9), 5, 120_000, 0.3, None),
    "cifar10_biggan": (32, 10, 0.01, 0.5, 0.99, "BigGan", 80, 96, 64, 2e-4, 2e-4, (0.5, 0.999), 5, 120_000, 0.1, 1000),
    "lsun64_sngan": (64, 5, 0.01, 0.5, 0.999, "Sngan", 128, 64, 64, 2e-4, 2e-4, (0.5, 0.9), 5, 120_000, 0.3, None),
    "lsun64_biggan": (64, 5, 0.01, 0.5, 0.99, "BigGan", 120, 80, 64, 2e-4, 2e-4, (0.5, 0.9), 5, 200_000, 0.3, 1000),
    "lsun128_sngan": (128, 5, 0.001, 0.5, 0.999, "Sngan", 128, 64, 64, 2e-4, 2e-4, (0.5, 0.9), 5, 120_000, 1.0, 20_000),
    "lsun128_biggan": (128, 5, 1e-3, 0.01, 0.99, "BigGan", 120, 80, 64, 4e-4, 1e-4, (0.5, 0.9), 5, 120_000, 0.5, 1000),
    "inaturalist_biggan": (64, 1010, None, 0.01, 0.999, "BigGan", 100, 80, 256, 2e-4, 2e-4, (0.0, 0.999), 2, 200_000,
                           0.01, 20_000),
}  # fmt: skip


def built(name: str, **switches: bool) -> og.Recipe:
    made = recipes.build(f"group_spectral.{name}", **switches)
    assert isinstance(made, og.Recipe)
    return made


@pytest.mark.parametrize("name", TABLE)
def test_the_released_table(name):
    size, classes, tail, weight, beta, kind, dim, width, batch, *rest = TABLE[name]
    critic, generator, betas, critic_steps, steps, lecam, average_from = rest
    made = built(name)
    step = batch * critic_steps
    assert type(made.model).__name__ == kind
    assert (made.model.resolution, made.model.classes, made.model.width) == (size, classes, width)
    assert (made.model.latent.dim, made.model.eps) == (dim, 1e-4)
    assert (made.batch, made.critic_steps, made.images) == (batch, critic_steps, steps * step)
    assert (made.generator_optimizer.lr, made.critic_optimizer.lr) == (generator, critic)
    assert made.generator_optimizer.betas == made.critic_optimizer.betas == betas
    assert made.generator_optimizer.eps == made.critic_optimizer.eps == 1e-6
    assert made.objective.loss == og.Hinge()
    assert made.objective.augmentation == og.DiffAugment("color,translation,cutout")
    assert made.fake_labels == "uniform"
    assert made.channels_last == (size == 32)
    assert built(f"{name}_small").channels_last
    gsr, regularizer = made.objective.terms["gsr"], made.objective.terms["lecam"]
    assert (gsr.weight, gsr.penalty.beta, gsr.penalty.iterations, gsr.every) == (weight, beta, 4, 1)
    assert (regularizer.weight, regularizer.penalty) == (lecam, og.LeCam(decay=0.99))
    assert bool(made.ema) == (average_from is not None)
    assert made.ema_start == (average_from or 0) * step
    assert made.validate_every == 2000 * step
    assert made.validation.n == 10_000
    if tail is not None:
        assert (made.data.rho, made.data.data.flip) == (1 / tail, True)
    assert not made.validation.data.flip


def test_what_networks_look_at_their_own_maps_where():
    sides = {name: (built(name).model.attention, built(name).model.critic_attention) for name in TABLE if "big" in name}
    assert sides == {
        "cifar10_biggan": ((16,), None),
        "lsun64_biggan": ((32,), None),
        "lsun128_biggan": ((32,), (64,)),
        "inaturalist_biggan": ((32,), None),
    }


def test_the_average_keeps_what_the_released_one_keeps_of_itself_in_a_step():
    made = built("cifar10_biggan")
    network = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.zeros_(network.weight)
    average = Average(network, made.ema, made.ema_start)
    torch.nn.init.ones_(network.weight)
    average.update(made.images_per_step, made.ema_start + made.images_per_step)
    assert average.module.weight.item() == pytest.approx(1e-4, rel=1e-6)
    assert half_life(0.9999, 512) == made_images(0.9999, 512)


def made_images(decay: float, images: int) -> int:
    """By counting steps until a half is left."""
    kept, steps = 1.0, 0
    while kept * decay > 0.5:
        kept, steps = kept * decay, steps + 1
    return round(
        (steps + torch.tensor(kept / 0.5).double().log2() / -torch.tensor(decay).double().log2()).item() * images
    )


def test_training_and_evaluation_share_no_record_of_lsun():
    for name in ("lsun64_sngan", "lsun64_biggan", "lsun128_sngan", "lsun128_biggan"):
        made = built(name)
        trained, tested = made.data.data, made.validation.data
        assert (trained.skip, trained.limit) == (0, 50_000)
        assert (tested.skip, tested.limit) == (50_000, 2000)
        assert tested.categories == trained.categories == og.Lsun.LONG_TAIL
        assert (made.data.compat, made.data.largest) == ("released_lsun", 50_000)


def test_the_posters_rows_belong_to_their_switches():
    rows = {
        (False, False): (31.73, 7.18),
        (True, False): (27.85, 7.09),
        (False, True): (30.62, 6.80),
        (True, True): (18.58, 7.80),
    }
    for (gsr, others), values in rows.items():
        made = built("cifar10_sngan", gsr=gsr, lecam=others, diffaug=others)
        assert tuple(claim.value for claim in made.claims) == values
        assert [claim.metric for claim in made.claims] == ["FID", "IS"]
    for switches in ({"lecam": False}, {"diffaug": False}, {"shuffled": True}, {"plain_spectral": True}):
        assert built("cifar10_sngan", **switches).claims == ()
    for name in TABLE:
        if name != "cifar10_sngan":
            assert built(name).claims == ()  # bars without numbers, or nothing
            assert built(f"{name}_small").claims == ()


def test_switches():
    everything = built("cifar10_sngan")
    assert list(everything.objective.terms) == ["gsr", "lecam"]
    without = built("cifar10_sngan", gsr=False)
    assert (without.name, list(without.objective.terms)) == ("group_spectral.cifar10_sngan-lecam-diffaug", ["lecam"])
    plain = built("cifar10_sngan", plain_spectral=True)
    assert plain.name == "group_spectral.cifar10_sngan-lecam-diffaug-plain_spectral"
    assert plain.objective.terms["plain_spectral"] == og.Term(og.PlainSpectral(), weight=0.5)
    assert "gsr" not in plain.objective.terms
    shuffled = built("cifar10_sngan", shuffled=True)
    assert shuffled.name == "group_spectral.cifar10_sngan-gsr-lecam-diffaug-shuffled"
    assert shuffled.objective.terms["gsr"].penalty.shuffle is not None
    assert everything.objective.terms["gsr"].penalty.shuffle is None
    bare = built("cifar10_sngan", gsr=False, lecam=False, diffaug=False)
    assert bare.name == "group_spectral.cifar10_sngan-none"
    assert (bare.objective.terms, bare.objective.augmentation) == ({}, None)
    for switches in ({"gsr": False}, {"plain_spectral": True}):
        with pytest.raises(
            ValueError, match="shuffled is about the groups of gsr; leave gsr on, and plain_spectral off"
        ):
            built("cifar10_sngan", shuffled=True, **switches)


def test_what_was_wrong_is_listed():
    said = {name: " ".join(built(name).departures) for name in TABLE}
    for text in said.values():
        for word in ("LeCam", "in-place ReLU", "statistics of the batch", "resumed", "Inception"):
            assert word in text
    assert all("overlap" in text or "2,000 records" in text for name, text in said.items() if "lsun" in name)
    assert {name for name, text in said.items() if "compute_prdc" in text} == {
        "lsun64_sngan", "lsun64_biggan", "lsun128_biggan", "inaturalist_biggan"
    }  # fmt: skip
    assert "214" in said["inaturalist_biggan"]
    assert "gSR switched off" in said["lsun128_biggan"]
    assert "6,931 steps of 512 images, after 20,000 steps" in said["inaturalist_biggan"]


def tiny(recipe: og.Recipe) -> og.Recipe:
    """Three steps of a twin, validated and monitored on the way."""
    big = {"attention": (), "dim": 12} if isinstance(recipe.model, og.BigGan) else {}
    hues = ("floor_hue", "wall_hue", "object_hue", "shape")
    drawn = og.Shapes3d(resolution=16, varying=hues)
    scenes, unseen = (replace(each, data=drawn) for each in (recipe.data.data, recipe.validation.data))
    assert (scenes.part, unseen.part) == ("train", "test")
    step = 8 * recipe.critic_steps
    return replace(
        recipe,
        model=replace(recipe.model, resolution=16, width=2, generator_levels=(4, 4, 4), critic_levels=(2, 2, 2), **big),
        data=replace(recipe.data, data=scenes, largest=500),
        images=3 * step,
        batch=8,
        ema=40 if recipe.ema else 0,
        ema_start=step if recipe.ema else 0,
        validation=replace(recipe.validation, data=unseen, n=40, reference_n=40),
        validate_every=2 * step,
        objective=replace(recipe.objective, rules={"spectral": og.SpectralMonitor(every=1)}),
        checkpoint_every=0,
        sample_every=0,
    )


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("cifar10_sngan_small", {}),
        ("cifar10_sngan_small", {"gsr": False, "lecam": False, "diffaug": False}),
        ("cifar10_sngan_small", {"plain_spectral": True}),
        ("inaturalist_biggan_small", {}),
        ("lsun128_biggan_small", {"shuffled": True}),
    ],
)
def test_twins_train_with_all_parts_at_work(tmp_path: Path, monkeypatch, name, switches):
    monkeypatch.setenv("ORTHOGEN_CACHE", str(tmp_path / "cache"))
    recipe = tiny(built(name, **switches))
    run = og.train(recipe, tmp_path / "run", quiet=True, log_every=8 * recipe.critic_steps)
    log = run.log()
    assert len(log) == 3
    assert all(value == value and abs(value) < 1e6 for line in log for value in line.values())
    keys = {key for line in log for key in line}
    assert {f"penalty/{term}" for term in recipe.objective.terms} <= keys
    assert "validation/Frechet distance" in keys
    assert sum(key.startswith("spectral/gain/") for key in keys) >= 4 * 2
    last, best = read(run.folder)
    assert last.protocol["selection"] == "none: the last of the run"
    assert best.protocol["selection"] == "the best of 2 validations, selected on the validation data itself"
    assert last.protocol["reference"]["per_class"] == {f"shape {i}": 10 for i in range(4)}


def test_a_twins_data_has_a_tail():
    recipe = built("cifar10_sngan_small")
    assert recipe.data.open().class_counts().tolist() == [5000, 1077, 232, 50]
    assert recipe.images <= 100_000
