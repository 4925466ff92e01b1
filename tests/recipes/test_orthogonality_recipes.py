"""The GANs of the orthogonality papers: the released settings, and every combination of switches."""

import dataclasses
import inspect
import itertools
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import orthogen as og
from orthogen import recipes
from orthogen.checkpoints import load, open_run
from orthogen.core import catalogue
from orthogen.core.kinds import CriticBatch
from orthogen.core.record import from_json, to_json

EIGENGANS = {"eigengan_ffhq": (256, og.Ffhq()), "eigengan_animeface": (128, og.AnimeFace())}
SIMPLE = {"simple_celeba": (202_599, og.CelebA()), "simple_lsun_church": (126_227, og.Lsun())}
NAMES = [*EIGENGANS, *SIMPLE]
COMBINATIONS = [dict(zip(("nog", "olr", "ol", "ow"), on, strict=True)) for on in itertools.product((0, 1), repeat=4)]


def built(name: str, **switches: int) -> og.Recipe:
    return recipes.build(f"orthogonality.{name}", **{key: bool(on) for key, on in switches.items()})


def weights_of(model: og.EigenGan | og.SimpleGan) -> tuple[str, ...]:
    return model.subspaces if isinstance(model, og.EigenGan) else (model.first_weight,)


# ---------------------------------------------------------------------------------------------- released settings
@pytest.mark.parametrize("name", EIGENGANS)
def test_eigengans_are_trained_as_released(name):
    recipe, (resolution, data) = built(name), EIGENGANS[name]
    assert recipe.model == og.EigenGan(resolution, channels=3, n_basis=6, noise_dim=512, base_channels=16)
    assert (recipe.model.max_channels, recipe.data) == (512, data)
    assert (recipe.data.flip, recipe.data.resolution) == (True, resolution)
    assert (recipe.batch, recipe.images // recipe.batch, recipe.decay_from) == (64, 500_000, None)
    for optimizer in (recipe.generator_optimizer, recipe.critic_optimizer):
        assert (optimizer.lr, optimizer.betas) == (1e-4, (0.5, 0.99))
    assert 0.5 ** (recipe.batch / recipe.ema) == pytest.approx(0.99557, abs=1e-5)
    assert recipe.checkpoint_every == recipe.sample_every == 10_000 * 64
    assert recipe.objective.loss == og.Hinge(bounded=True)
    assert recipe.objective.augmentation == og.DiffAugment(probability=0.6)
    assert list(recipe.objective.terms) == ["r1"]
    assert recipe.objective.rules == {"nog": og.NearestOrthogonalGradient(recipe.model.subspaces)}


def test_r1_has_the_released_weight_on_its_step(rng):
    """10 E|grad D|², without a half and without the interval."""
    term = built("eigengan_ffhq").objective.terms["r1"]
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1))
    real, fake = torch.randn(2, 8, 3, 2, 2, generator=rng)
    value = term.penalty(critic, CriticBatch(real, fake, critic(real), critic(fake)))
    squared = critic[1].weight.square().sum()
    assert term.every == 16
    assert (term.every * term.weight * value).item() == pytest.approx(10 * squared.item(), rel=1e-5)


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_gans_are_trained_as_released(name):
    recipe, (epoch, data) = built(name), SIMPLE[name]
    assert recipe.model == og.SimpleGan(og.Normal(30), channels=3, resolution=128)
    assert recipe.data == data
    assert (recipe.data.flip if isinstance(data, og.Lsun) else False, recipe.data.resolution) == (False, 128)
    assert (recipe.batch, recipe.images, recipe.decay_from) == (128, 1200 * epoch, 600 * epoch)
    for optimizer in (recipe.generator_optimizer, recipe.critic_optimizer):
        assert (optimizer.lr, optimizer.betas) == (2e-4, (0.5, 0.999))
    assert recipe.objective.loss == og.NonSaturating(critic_scale=0.5)
    penalty = recipe.objective.terms["gradient_penalty"]
    assert list(recipe.objective.terms) == ["gradient_penalty"]
    assert penalty.weight * penalty.penalty.strength == 10
    assert (recipe.ema, recipe.objective.augmentation) == (0, None)
    assert recipe.objective.rules == {"nog": og.NearestOrthogonalGradient(("layers.0.layers.conv.weight",))}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_claimed_and_what_is_corrected_is_said(name):
    recipe = built(name)
    assert recipe.claims == ()
    said = " ".join(recipe.departures)
    words = ["no numbers of theirs are claimed", "no seed", "reg_type", "before Adam", "Released FID"]
    if name in EIGENGANS:
        words += ["not multiplied by 16", "128 pixels beside", "mirrored", "U(0, 1)", "red and blue"]
    else:
        words += ["finds none", "SeFa", "divides by 601", "U(-2, 2)"]
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}_small" for name in NAMES)])
def test_metrics_are_metrics_or_named_protocols_of_theirs(name):
    for metric in built(name).metrics:
        kind, _, protocol = metric.partition(".")
        made = catalogue.find(kind, "metrics").load()
        assert not protocol or isinstance(inspect.getattr_static(made, protocol), classmethod)
        assert dataclasses.is_dataclass(getattr(made, protocol)() if protocol else made())


# ---------------------------------------------------------------------------------------------- switches
@pytest.mark.parametrize("switches", COMBINATIONS, ids=lambda switches: "-".join(k for k, on in switches.items() if on))
@pytest.mark.parametrize("name", [*NAMES, *(f"{name}_small" for name in NAMES)])
def test_every_combination_is_named_and_does_what_it_says(name, switches):
    recipe = built(name, **switches)
    on = [key for key, value in switches.items() if value]
    expected = "" if on == ["nog"] else "-" + "-".join(on or ["none"])
    assert recipe.name == f"orthogonality.{name}{expected}"
    layers = weights_of(recipe.model)
    rules = {"nog": og.NearestOrthogonalGradient(layers), "olr": og.OptimalLearningRate(layers)}
    assert recipe.objective.rules == {key: rule for key, rule in rules.items() if key in on}
    assert ("ol" in recipe.objective.terms) == ("ol" in on)
    if "ol" in on:
        assert recipe.objective.terms["ol"] == og.Term(og.SoftOrthogonality(layers), weight=100.0)
    orthogonal = recipe.model.basis if isinstance(recipe.model, og.EigenGan) else recipe.model.first
    assert orthogonal == ("orthogonal" if "ow" in on else "free")
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_rules_and_penalties_find_their_weights_at_full_size(name):
    for ow in (0, 1):
        recipe = built(name, nog=1, olr=1, ol=1, ow=ow)
        with torch.device("meta"):
            generator = recipe.model.build()["generator"]
        for rule in recipe.objective.rules.values():
            assert tuple(rule.bind(generator).parameters) == weights_of(recipe.model)


@pytest.mark.parametrize("name", NAMES)
def test_twins_have_the_same_parts(name):
    for switches in COMBINATIONS:
        full, twin = built(name, **switches), built(f"{name}_small", **switches)
        assert full.objective.loss == twin.objective.loss
        assert full.objective.augmentation == twin.objective.augmentation
        assert list(full.objective.rules) == list(twin.objective.rules)
        weights = [{key: (term.weight, term.every) for key, term in each.terms.items()} for each in (full, twin)]
        assert weights[0] == weights[1]
        assert twin.images <= 100_000


# ---------------------------------------------------------------------------------------------- training
SOME = [
    {"nog": 0},
    {"nog": 1},
    {"nog": 0, "olr": 1},
    {"nog": 1, "olr": 1},
    {"nog": 0, "ol": 1},
    {"nog": 0, "ow": 1},
    {"nog": 1, "olr": 1, "ol": 1, "ow": 1},
]


def smaller(recipe: og.Recipe) -> og.Recipe:
    """At 16 pixels, with few channels and in batches of 16."""
    small = {"base_channels": 4, "max_channels": 8, "noise_dim": 8} if isinstance(recipe.model, og.EigenGan) else {}
    model = dataclasses.replace(recipe.model, resolution=16, **(small or {"width": 0.05}))
    objective = recipe.objective
    if isinstance(model, og.EigenGan):  # of fewer layers
        switches = {key: key in {**objective.rules, **objective.terms} for key in ("nog", "olr", "ol")}
        objective = built("eigengan_animeface_small", **switches, ow=model.basis == "orthogonal").objective
    return dataclasses.replace(
        recipe,
        model=model,
        data=og.Shapes3d(resolution=16, varying=("floor_hue", "wall_hue")),
        objective=objective,
        images=16 * 18,
        batch=16,
        decay_from=None,
        checkpoint_every=0,
        sample_every=0,
    )


@pytest.mark.parametrize(
    "switches", SOME, ids=lambda switches: "-".join(k for k, on in switches.items() if on) or "none"
)
@pytest.mark.parametrize("name", ["eigengan_ffhq_small", "simple_celeba_small"])
def test_twins_train(tmp_path: Path, name, switches):
    recipe = smaller(built(name, **switches))
    run = og.train(recipe, tmp_path / "run", quiet=True, log_every=16)
    lines = open_run(run.folder).log()
    assert len(lines) == 18
    for line in lines:
        assert all(value == value and abs(value) < 1e6 for value in line.values())
    keys = set(lines[-1])
    assert ("nog/cosine" in keys) == bool(switches.get("nog"))
    assert {"olr/at_base", "olr/share/0.1"} <= keys or not switches.get("olr")
    assert ("penalty/ol" in keys) == bool(switches.get("ol"))
    generator = load(run.folder).module
    sizes = [
        torch.linalg.svdvals(weight.detach().flatten(1))
        for weight in (
            [part.U for part in generator.subspaces]
            if isinstance(recipe.model, og.EigenGan)
            else [generator.layers[0].layers.conv.weight]
        )
    ]
    if switches.get("ow"):
        assert all((size - 1).abs().max() < 1e-5 for size in sizes)
    else:
        assert all((size - 1).abs().max() > 1e-5 for size in sizes)


@pytest.mark.parametrize(
    "switches", SOME, ids=lambda switches: "-".join(k for k, on in switches.items() if on) or "none"
)
@pytest.mark.parametrize("name", ["eigengan_ffhq_small", "simple_celeba_small"])
def test_the_generators_loss_falls_on_a_fixed_batch(name, switches):
    recipe = smaller(built(name, **switches))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, critic = recipe.model.build().values()
    optimizer = recipe.generator_optimizer.over(generator.parameters())
    for rule in recipe.objective.rules.values():
        rule.bind(generator).attach(optimizer)
    z, losses = recipe.model.latent.sample(16, rng=torch.Generator().manual_seed(0)), []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(recipe.objective.loss.generator(critic(generator(z))))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_olr_takes_a_rate_of_its_own_on_a_step_along_the_weight():
    """The released filter matches no parameter of the simple GAN; here the gate is open where <l, w> > 0."""
    recipe = smaller(built("simple_celeba_small", nog=0, olr=1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = recipe.model.build()["generator"]
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.1)
    rule = recipe.objective.rules["olr"].bind(generator).attach(optimizer)
    weight = generator.layers[0].layers.conv.weight
    weight.grad = 10 * weight.detach()
    optimizer.step()
    assert rule.log["rate"].item() == pytest.approx(1 / 30, rel=1e-5)


@pytest.mark.parametrize("nog", [False, True])
def test_the_example_trains_on_a_folder_of_ones_own(tmp_path, nog):
    """The runs of the lab book, for three steps."""
    for i in range(8):
        Image.new("RGB", (64, 64), (30 * i, 99, 7)).save(tmp_path / f"{i}.png")
    made = recipes.build(f"{Path(__file__).parents[2] / 'examples' / 'eigengan_heads.py'}:heads", nog=nog)
    made = dataclasses.replace(made, data=og.ImageFolder(tmp_path), images=12, batch=4)
    run = og.train(made, tmp_path / "run", device="cpu", quiet=True)
    assert ("nog/norm" in run.log()[-1]) is nog
    assert ("penalty/ol" in run.log()[-1]) is not nog
    generator = og.load(run.folder)
    assert len(generator.own(generator.module)) == 4 * 6
