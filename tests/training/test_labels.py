"""Class labels in training: both players see them, penalties too, and several critic steps see batches of their own."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import CriticBatch, CriticPenalty, LatentPenalty
from orthogen.training.distributed import Processes
from orthogen.training.feed import Feed
from orthogen.training.step import Game
from tiny_classes import SpotData, TinyClassGan, classes
from tiny_gan import BarData, digest, lines, recipe
from training.test_steps import same


def start(made: og.Recipe) -> tuple[Game, Feed]:
    images, processes = made.data.open(), Processes(torch.device("cpu"))
    with torch.random.fork_rng():
        return Game(made, images, processes), Feed(images, made.images_at, made.seed, processes)


def test_a_step_is_what_a_hand_written_loop_does() -> None:
    made = classes(critic_steps=2)
    state, feed = start(made)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = TinyClassGan().build()
    G, D = built["generator"], built["critic"]
    streams = og.core.rng.Rngs(0)
    g_opt, d_opt = (torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999)) for m in (G, D))
    relu = nn.functional.relu

    def draw() -> tuple[Tensor, Tensor]:
        labels = torch.multinomial(torch.ones(3), 8, replacement=True, generator=streams["label"])
        return torch.randn(8, 3, generator=streams["latent"]), labels

    with feed:
        for step in range(3):
            batch = feed(state.images)
            assert batch.labels is not None
            assert len(batch) == 16
            for x, y in zip(batch.images.chunk(2), batch.labels.chunk(2), strict=True):
                d_opt.zero_grad()
                z, labels = draw()
                fake = G(z, labels).detach()
                (relu(1 - D(x, y)).mean() + relu(1 + D(fake, labels)).mean()).backward()
                d_opt.step()
            g_opt.zero_grad()
            z, labels = draw()
            (-D(G(z, labels), labels).mean()).backward()
            g_opt.step()
            state.take_step(batch)
            assert state.images == 16 * (step + 1)
            assert state.step == step + 1
    assert same(state.networks["generator"], G, 1e-6)
    assert same(state.critic, D, 1e-6)


class Seen(CriticPenalty):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.batches: list[CriticBatch] = []

    def __call__(self, critic, batch, *, state=None, rng=None):  # type: ignore[no-untyped-def]
        self.batches.append(batch)
        return critic(batch.fake, batch.fake_labels).mean() * 0


class SeenLatents(LatentPenalty):
    def terms(self, f, z, *, state=None, rng=None, probes=None):  # type: ignore[no-untyped-def]
        return {"image": f(z)[0].square().mean()}


def test_penalties_see_the_labels_of_their_own_images() -> None:
    seen = Seen()
    terms = {"seen": og.Term(seen, every=2), "latent": og.Term(SeenLatents(), batch=4), "r1": og.Term(og.R1())}
    made = classes(objective=og.Objective(og.Hinge(), terms), critic_steps=3, accumulate=2)
    state, feed = start(made)
    with feed:
        state.take_step(feed(0))
        state.take_step(feed(state.images))
    assert len(seen.batches) == 2 * 3  # three of six critic steps, two parts each
    for batch in seen.batches:
        assert torch.equal(batch.real[:, 0].mean(dim=1).argmax(dim=1), batch.real_labels)  # the bright column
        assert batch.fake_labels is not None
        assert batch.fake_labels.shape == (4,)


class One(CriticPenalty):
    def __call__(self, critic, batch, *, state=None, rng=None):  # type: ignore[no-untyped-def]
        return critic(batch.fake, batch.fake_labels).mean() * 0 + 1.0


def test_a_lazy_penalty_of_the_critic_is_logged_as_large_as_it_is() -> None:
    made = classes(objective=og.Objective(og.Hinge(), {"one": og.Term(One(), every=3)}), critic_steps=2)
    state, feed = start(made)
    with feed:
        logged = [state.take_step(feed(state.images)).get("penalty/one") for step in range(3)]
    assert [None if each is None else float(each) for each in logged] == [1.0, 1.0, None]  # critic steps 0 and 3


def test_labels_of_fakes_are_uniform_or_as_in_the_data() -> None:
    counts = (80, 15, 5)
    for how, shares in (("uniform", (1 / 3, 1 / 3, 1 / 3)), ("data", (0.8, 0.15, 0.05))):
        state, feed = start(classes(data=SpotData(counts), fake_labels=how, batch=100, images=1000))
        feed.close()
        drawn = torch.cat([state.labels() for _ in range(60)])
        assert torch.allclose(drawn.bincount() / len(drawn), torch.tensor(shares), atol=0.02)


def test_a_run_with_labels_resumes_bit_by_bit(tmp_path) -> None:
    made = classes(critic_steps=2, ema=40, ema_start=100, fake_labels="data")
    whole = og.train(made, tmp_path / "whole", quiet=True)

    class Stop(Exception):
        pass

    def stop(values: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        og.train(made, tmp_path / "parts", quiet=True, on_log=stop, log_every=96)
    og.train(made, tmp_path / "parts", quiet=True)
    assert digest(og.train(made, tmp_path / "parts", quiet=True)) == digest(whole)
    assert lines(tmp_path / "whole")[-1] == lines(tmp_path / "parts")[-1]


def test_the_average_starts_late() -> None:
    state, feed = start(classes(ema=40, ema_start=16))
    with feed:
        state.take_step(feed(0))
        state.take_step(feed(state.images))
        assert same(state.average.module, state.networks["generator"], 0.0)
        state.take_step(feed(state.images))
        assert not same(state.average.module, state.networks["generator"], 0.0)


def test_samples_show_every_class(tmp_path) -> None:
    run = og.train(classes(images=120, sample_every=0), tmp_path, quiet=True)
    assert len(run.samples) == 1


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            classes(model=TinyClassGan(classes=5)),
            "TinyClassGan takes 5 classes and SpotData has 3 classes; give model.cl",
        ),
        (classes(data=BarData()), "TinyClassGan takes 3 classes and BarData has no class labels; give labeled data"),
    ],
)
def test_classes_that_do_not_fit_are_refused(tmp_path, made, said):
    with pytest.raises(ValueError, match=said):
        og.train(made, tmp_path / "run", quiet=True)


def test_no_critic_step_is_refused():
    with pytest.raises(ValueError, match="critic_steps=0: the critic takes at least 1 step"):
        replace(recipe(), critic_steps=0)


def test_several_steps_and_parts_without_labels(tmp_path) -> None:
    run = og.train(recipe(critic_steps=2, accumulate=2, images=64), tmp_path, quiet=True)
    assert run.log()[-1]["images"] == 64
