"""Networks that grow: the schedule, what changes as a resolution begins, and what waits for its layer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import orthogen as og
from orthogen.core.kinds import CriticBatch, CriticPenalty, LatentPenalty
from orthogen.layers.box import coarsen
from orthogen.layers.equalized import EqualizedConv2d
from orthogen.training.checkpoint import begin_with
from orthogen.training.distributed import Processes
from orthogen.training.feed import Feed
from orthogen.training.recipe import Adam
from orthogen.training.step import Game
from tiny_gan import BarData, digest, lines

FOUR_GPUS = (2048, 1024, 512, 256, 128, 96)


def test_the_schedule_is_the_published_one(shared_golden: Path) -> None:
    with np.load(shared_golden / "hessian-orojar" / "progan_schedule.npz") as file:
        table = file["table"]
    growth = og.Growth(batches=FOUR_GPUS)
    for kimg, lod, side, batch, _, _ in table:
        images = round(1000 * kimg)
        assert growth.lod(images, 128) == pytest.approx(lod, abs=1e-6)
        assert growth.side(images, 128) == side
        assert growth.batch(images, 128) == batch


def test_real_images_are_cross_faded_and_repeated_as_in_the_original(shared_golden: Path) -> None:
    with np.load(shared_golden / "hessian-orojar" / "progan_ops.npz") as file:
        golden = {name: torch.from_numpy(file[name]).double() for name in ("x_uint8", "lod0", "lod025", "lod15")}
    images = golden["x_uint8"] / 127.5 - 1
    torch.testing.assert_close(coarsen(images, 0.0), golden["lod0"], rtol=0, atol=1e-6)
    torch.testing.assert_close(coarsen(images, 0.25), golden["lod025"], rtol=0, atol=1e-6)
    # the original is handed images of the level, and enlarges them
    doubled = torch.nn.functional.interpolate(images, scale_factor=2, mode="nearest")
    torch.testing.assert_close(coarsen(doubled, 1.5), golden["lod15"], rtol=0, atol=1e-6)


def small(**changes: Any) -> og.Recipe:
    """ProGAN that grows from 4 to 8 pixels in six steps."""
    model = og.ProGan(og.Normal(3), channels=1, resolution=8, channel_base=64, channel_max=8)
    base = og.Recipe(
        "growing",
        model,
        BarData(),
        og.Objective(og.Wasserstein(), {"gp": og.Term(og.GradientPenalty())}),
        images=160,
        batch=8,
        growth=og.Growth(stable=32, fade=32, batches=(16, 8)),
        generator_optimizer=Adam(1e-2, (0.0, 0.99)),
        critic_optimizer=Adam(1e-2, (0.0, 0.99)),
        checkpoint_every=48,
        sample_every=0,
        ema=40,
    )
    return replace(base, **changes)


def start(made: og.Recipe) -> tuple[Game, Feed]:
    images, processes = made.data.open(), Processes(torch.device("cpu"))
    with torch.random.fork_rng():
        return Game(made, images, processes), Feed(images, made.images_at, made.seed, processes)


def test_batches_and_levels_change_together_and_every_network_grows() -> None:
    state, feed = start(small())
    found = []
    with feed:
        while state.images < 160:
            batch = feed(state.images)
            state.take_step(batch)
            networks = (*state.networks.values(), state.average.module)
            assert {network.lod.item() for network in networks} == {state.lod}
            found.append((state.images, len(batch), state.lod))
    assert found == [
        (16, 16, 1.0),
        (32, 16, 1.0),
        (48, 16, 1.0),  # from image 32 on, of which the share that is faded in is 0
        (56, 8, 0.5),
        (64, 8, 0.25),
        *((images, 8, 0.0) for images in range(72, 161, 8)),
    ]
    assert state.step == len(found)


def test_optimizers_start_anew_as_a_resolution_begins_and_as_it_is_there() -> None:
    for reset, expected in ((True, [1, 2, 3, 1, 2, 1, 2]), (False, [1, 2, 3, 4, 5, 6, 7])):
        state, feed = start(small(growth=og.Growth(stable=32, fade=32, batches=(16, 8), reset=reset)))
        counts = []
        with feed:
            for _ in expected:
                state.take_step(feed(state.images))
                layers = {"critic": "b4.dense1", "generator": "b4.conv1.conv"}
                moments = {name: player.tensors() for name, player in state.players.items()}
                counts.append([int(moments[name][f"network.{at}.weight/step"]) for name, at in layers.items()])
        assert counts == [[count, count] for count in expected]


def test_the_critic_sees_real_images_of_the_level() -> None:
    state, feed = start(small())
    seen = []
    state.critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with feed:
        for _ in range(7):
            batch, before = feed(state.images), len(seen)
            state.take_step(batch)
            torch.testing.assert_close(seen[before], coarsen(batch.images, state.lod), rtol=0, atol=0)
            level = coarsen(seen[before], 1.0) - seen[before]
            assert bool(level.abs().max() < 1e-6) is (state.lod == 1.0)  # pixels of 2 x 2 while there are 4


def test_rates_by_resolution() -> None:
    made = small(growth=og.Growth(stable=32, fade=32, rates=(1.0, 0.5)), decay_from=80)
    assert [made.rate_factor(images) for images in (0, 32, 40, 80, 120, 160)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.0]


def test_a_growing_run_resumes_bit_by_bit(tmp_path: Path) -> None:
    hessian = og.Term(og.HessianPenalty(), 0.1, layers=("b4.conv1", "b8.conv1"))
    terms = {"gp": og.Term(og.GradientPenalty()), "hp": hessian}
    made = small(objective=og.Objective(og.Wasserstein(), terms))
    whole = og.train(made, tmp_path / "whole", quiet=True, log_every=8)

    class Stop(Exception):
        pass

    for stop in (48, 56, 72):  # before, within and after the fade

        def halt(values: Any, stop: int = stop) -> None:
            if values["images"] >= stop:
                raise Stop

        for checkpoint_every in (8, 0):
            changed = replace(made, checkpoint_every=checkpoint_every)
            folder = tmp_path / f"{stop}-{checkpoint_every}"
            with pytest.raises(Stop):
                og.train(changed, folder, quiet=True, log_every=8, on_log=halt)
            again = og.train(changed, folder, quiet=True, log_every=8)
            assert lines(folder) == lines(tmp_path / "whole")
            assert digest(again) == digest(og.train(changed, tmp_path / f"whole-{checkpoint_every}", quiet=True))
    assert whole.generator(model=made.model).module.lod.item() == 0


class Watched(LatentPenalty):
    """Remembers which layers it sees; each is worth 1."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def terms(self, f, z, *, state=None, rng=None, probes=None):  # type: ignore[no-untyped-def]
        self.seen.append(f.layers)
        assert f.separable(z)  # the layers that are there can be tried
        return {layer: 0 * x.sum() + 1 for layer, x in zip(f.layers, f(z), strict=True)}


def test_layers_wait_and_enter_as_far_as_they_are_there() -> None:
    named, image, plain = Watched(), Watched(), Watched()
    terms = {
        "named": og.Term(named, layers=("b4.conv1", "b8.conv0")),
        "image": og.Term(image, layers=("output",)),
        "plain": og.Term(plain),
    }
    state, feed = start(small(objective=og.Objective(og.Wasserstein(), terms)))
    with feed:
        logged = [state.take_step(feed(state.images)) for _ in range(6)]
    total = [float(values["penalty/named"]) for values in logged]
    assert total == [1.0, 1.0, 1.0, 1.5, 1.75, 2.0]
    assert named.seen == [("b4.conv1",)] * 3 + [("b4.conv1", "b8.conv0")] * 3
    assert ["penalty/image" in values for values in logged] == [False] * 3 + [True] * 3
    assert [float(values["penalty/image"]) for values in logged[3:]] == [0.5, 0.75, 1.0]
    assert plain.seen == [("output",)] * 6
    assert [values["growth/lod"] for values in logged] == [1.0, 1.0, 1.0, 0.5, 0.25, 0.0]
    # the summands are logged unweighted
    assert float(logged[3]["penalty/named/b8.conv0"]) == 1.0


def test_a_layer_that_waits_may_have_a_weight() -> None:
    layers = ("b4.conv1", "b8.conv1")
    for kind in (og.HessianPenalty, og.OroJaR):
        terms = {"one": og.Term(kind(layer_weights={"b8.conv1": 2.0}), layers=layers)}
        state, feed = start(small(objective=og.Objective(og.Wasserstein(), terms)))
        with feed:
            logged = [state.take_step(feed(state.images)) for _ in range(6)]
        assert "penalty/one/b8.conv1" not in logged[0]
        last = {name: float(logged[-1][name]) for name in logged[-1] if name.startswith("penalty/one")}
        assert last["penalty/one"] == pytest.approx(
            last["penalty/one/b4.conv1"] + 2 * last["penalty/one/b8.conv1"], rel=1e-5
        )
    wrong = {"one": og.Term(og.OroJaR(layer_weights={"b8.conv0": 2.0}), layers=layers)}
    state, feed = start(small(objective=og.Objective(og.Wasserstein(), wrong)))
    with feed, pytest.raises(ValueError, match=r"layer_weights names \['b8.conv0'\]; the map has \['b4.conv1', 'b8"):
        state.take_step(feed(state.images))


def test_batches_that_the_critic_cannot_group_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a batch of 6 \(12 / 2 parts\) was given to minibatch_stddev; give a multiple"
    ):
        og.train(small(growth=og.Growth(batches=(16, 12)), accumulate=2), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_level_of_detail_is_not_averaged_over_processes() -> None:
    state, _ = start(small())
    lods = {id(network.lod) for network in state.networks.values()}
    assert lods.isdisjoint(id(buffer) for buffer in state.buffers)


def test_the_image_of_a_resolution_is_seen_while_it_is_there() -> None:
    watched = Watched()
    terms = {"watched": og.Term(watched, layers=("b4.torgb", "b8.torgb"))}
    state, feed = start(small(objective=og.Objective(og.Wasserstein(), terms)))
    with feed:
        total = [float(state.take_step(feed(state.images))["penalty/watched"]) for _ in range(7)]
    assert total == [1.0] * 7  # what the one gives up, the other takes
    both = ("b4.torgb", "b8.torgb")
    assert watched.seen == [("b4.torgb",)] * 3 + [both] * 2 + [("b8.torgb",)] * 2


def test_a_layer_that_never_will_be_there_is_an_error() -> None:
    term = og.Term(og.OroJaR(), layers=("b16.conv0",))
    with pytest.raises(ValueError, match=r"no layer is called 'b16.conv0'; nearest: b"):
        start(small(objective=og.Objective(og.Wasserstein(), {"orojar": term})))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 3}, "start=3.*a power of two"),
        ({"stable": 0, "fade": 0}, "one of them is above 0"),
        ({"stable": -1}, "stable=-1"),
        ({"batches": (8, 0)}, "at least 1 image"),
        ({"rates": (0.0,)}, "more than 0"),
    ],
)
def test_schedules_that_mean_nothing(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        og.Growth(**changes)


def test_recipes_that_cannot_grow() -> None:
    simple = og.SimpleGan(og.Normal(3), channels=3, resolution=32, width=0.1)
    with pytest.raises(ValueError, match="SimpleGan does not grow; leave growth out"):
        start(og.Recipe("x", simple, og.Shapes3d(resolution=32), growth=og.Growth()))
    with pytest.raises(
        ValueError, match=r"growth: lod is 2; this network has 0 .8 pixels. to 1 .4 pixels.; give another"
    ):
        start(small(growth=og.Growth(start=2)))
    with pytest.raises(ValueError, match=r"start=16.*never reaches 8 pixels"):
        small(growth=og.Growth(start=16))
    with pytest.raises(ValueError, match=r"growth.batches has 9, accumulate=2"):
        small(growth=og.Growth(batches=(16, 9)), accumulate=2)
    with pytest.raises(ValueError, match=r"batch=8, accumulate=0: the batch must be"):
        small(growth=og.Growth(batches=(16, 8)), accumulate=0)
    with pytest.raises(ValueError, match=r"lod is 1; this network has 0 \(4 pixels\)"):
        og.ProGan(resolution=4).grow(og.ProGan(resolution=4).build()["generator"], 1.0)


# ------------------------------------------------------------------------------- what the generator feels of a critic's
class Felt(CriticPenalty):
    """The mean image, in both players' losses; remembers what it was handed."""

    def __init__(self) -> None:
        self.latents: list[Tensor] = []
        self.offset = torch.nn.Parameter(torch.ones(()))

    def init(self, generator, data=None, critic=None):  # type: ignore[no-untyped-def]
        assert critic is not None
        return torch.nn.ParameterList([self.offset])

    def __call__(self, critic, batch, *, state=None, rng=None):  # type: ignore[no-untyped-def]
        assert isinstance(batch, CriticBatch)
        self.latents.append(batch.fake_latents)
        return batch.fake_logits.mean() * state[0]

    def of_generator(self, critic, fake, latents, labels=None, *, state=None, rng=None):  # type: ignore[no-untyped-def]
        assert fake.requires_grad
        assert not state[0].requires_grad
        assert not any(parameter.requires_grad for parameter in critic.parameters())
        self.latents.append(latents)
        return fake.mean() * state[0]


def test_the_generator_feels_what_a_critic_penalty_says_to_it() -> None:
    made = small(growth=None, objective=og.Objective(og.Wasserstein(), {}))
    found = {}
    for weight in (0.0, 1e4):
        felt = Felt()
        term = og.Term(felt, weight)
        state, feed = start(replace(made, objective=og.Objective(og.Wasserstein(), {"felt": term})))
        with feed:
            values = state.take_step(feed(0))
        found[weight] = values
        assert ("penalty/felt/generator" in values) == bool(weight)
        if weight:
            assert [x.shape for x in felt.latents] == [(8, 3), (8, 3)]
            assert not torch.equal(*felt.latents)
            assert felt.offset.requires_grad
    assert float(found[1e4]["norm/generator"]) > 10 * float(found[0.0]["norm/generator"])


def test_the_head_of_info_gan_learns_to_read_the_latent(tmp_path: Path) -> None:
    term = og.Term(og.InfoGanHead(layer="b4.stddev", width=8))
    terms = {"gp": og.Term(og.GradientPenalty()), "info": term}
    made = small(objective=og.Objective(og.Wasserstein(), terms), images=2000, growth=og.Growth(stable=320, fade=320))
    run = og.train(made, tmp_path / "run", quiet=True, log_every=200)
    logged = [line["penalty/info"] for line in run.log()]
    assert logged[-1] < 0.75 * logged[0]
    assert run.log()[-1]["penalty/info/generator"] > 0
    with pytest.raises(ValueError, match=r"InfoGanHead\(layer='b16'\): the critic has no such layer; it has b4"):
        start(replace(made, objective=og.Objective(og.Wasserstein(), {"x": og.Term(og.InfoGanHead(layer="b16"))})))
    with pytest.raises(ValueError, match=r"codes=4\): the latent has 3 dimensions"):
        start(replace(made, objective=og.Objective(og.Wasserstein(), {"x": og.Term(og.InfoGanHead(codes=4))})))


def test_the_head_reads_what_the_last_layer_of_any_kind_is_given() -> None:
    critic = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), EqualizedConv2d(4, 1, 1))
    G = small().model.adapt(small().model.build()["generator"])
    head = og.InfoGanHead(width=8).init(G, critic=critic)
    assert head[0].weight.shape[1] == 4
    with pytest.raises(ValueError, match=r"make it with state = penalty.init\(generator, critic=critic\)"):
        og.InfoGanHead().of_generator(critic, torch.zeros(2, 1, 8, 8), torch.zeros(2, 3))


def test_drift_is_of_real_logits() -> None:
    logits = torch.tensor([[1.0], [2.0], [-1.0]])
    images = torch.zeros(3, 1, 4, 4)
    assert og.Drift()(torch.nn.Identity(), CriticBatch(images, images, logits, 100 * logits)).item() == 2.0


# ------------------------------------------------------------------------------------------- beginning with another run
def test_a_run_begins_with_another_runs_weights(tmp_path: Path) -> None:
    first = og.train(small(), tmp_path / "first", quiet=True)
    made = small(name="tuned", growth=None, initial=str(tmp_path / "first"), images=64, seed=5)
    tuned = og.train(made, tmp_path / "tuned", quiet=True, log_every=8)
    # at a learning rate of 0, nothing moves: it is the first run's
    still = replace(made, generator_optimizer=Adam(0.0), critic_optimizer=Adam(0.0), name="still")
    same = og.train(still, tmp_path / "still", quiet=True)
    for name in ("generator", "critic"):
        for key, value in first.network(name, model=made.model).state_dict().items():
            assert torch.equal(same.network(name, model=made.model).state_dict()[key], value), key
    average = first.generator(model=made.model).module.state_dict()
    assert any(
        not torch.equal(x, average[key]) for key, x in tuned.generator(model=made.model).module.state_dict().items()
    )
    assert torch.equal(same.network("generator", model=made.model).lod, torch.tensor(0.0))

    class Stop(Exception):
        pass

    def halt(values: Any) -> None:
        if values["images"] >= 24:
            raise Stop

    eager = replace(made, checkpoint_every=8)
    with pytest.raises(Stop):
        og.train(eager, tmp_path / "parts", quiet=True, log_every=8, on_log=halt)
    assert digest(og.train(eager, tmp_path / "parts", quiet=True)) == digest(
        og.train(eager, tmp_path / "eager", quiet=True)
    )


@pytest.mark.parametrize(
    ("its", "its_lod", "own", "lod"), [(None, 0.0, og.Growth(), 1.0), (og.Growth(), 1.0, og.Growth(), 1.0)]
)
def test_a_run_begins_at_its_own_level_whatever_that_of_the_other_was(
    its: og.Growth | None, its_lod: float, own: og.Growth | None, lod: float, tmp_path: Path
) -> None:
    first = og.train(small(growth=its, images=16), tmp_path / "first", quiet=True)
    assert first.network("critic", model=small().model).lod.item() == its_lod
    state, _ = start(small(growth=own))
    begin_with(state, str(first.folder))
    assert state.lod == lod
    assert {net.lod.item() for net in (*state.networks.values(), state.average.module)} == {lod}
    assert {net.level for net in (*state.networks.values(), state.average.module)} == {1 - int(lod)}


def test_a_run_that_was_growing_is_not_tuned_at_full_resolution(tmp_path: Path) -> None:
    og.train(small(images=16), tmp_path / "first", quiet=True)
    tuned = small(name="tuned", growth=None, initial=str(tmp_path / "first"))
    with pytest.raises(ValueError, match=r"initial: .*first was still growing: its level of detail is 1, and nothing"):
        og.train(tuned, tmp_path / "tuned", quiet=True)


def test_runs_that_nothing_can_begin_with(tmp_path: Path) -> None:
    og.train(small(), tmp_path / "first", quiet=True)
    other = small(initial=str(tmp_path / "first"), model=replace(small().model, channel_max=4), growth=None)
    with pytest.raises(
        ValueError, match=r"initial: the generator of .*first is another network \(.{9,200} \.\.\.\); give"
    ):
        og.train(other, tmp_path / "other", quiet=True)
    with pytest.raises(FileNotFoundError, match=r"initial: .*nowhere does not exist; give the folder of a run"):
        og.train(small(initial=str(tmp_path / "nowhere")), tmp_path / "none", quiet=True)
    with pytest.raises(ValueError, match=r"initial: .* is no run folder"):
        og.train(small(initial=str(tmp_path)), tmp_path / "none", quiet=True)
