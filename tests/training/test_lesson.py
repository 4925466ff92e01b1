"""Training of classifiers: what a step is, what is tested, and what is kept."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.core.kinds import ImageSet, Model
from orthogen.core.score_file import read
from orthogen.training.distributed import Processes
from orthogen.training.feed import Feed
from orthogen.training.lesson import Lesson
from orthogen.training.recipe import Adam, Sgd
from tiny_classes import SpotData, Spots, TinyClassifier, lesson
from tiny_gan import BarData, TinyGan, digest, lines


def start(recipe: og.ClassifierRecipe) -> tuple[Lesson, Feed]:
    images, processes = recipe.data.open(), Processes(torch.device("cpu"))
    with torch.random.fork_rng():
        return Lesson(recipe, images, processes), Feed(images, recipe.images_at, recipe.seed, processes)


def same(a: nn.Module, b: nn.Module, tolerance: float) -> bool:
    theirs = b.state_dict()
    return all(torch.allclose(x, theirs[name], atol=tolerance, rtol=0) for name, x in a.state_dict().items())


def still(**changes: object) -> og.ClassifierRecipe:
    """A lesson that draws nothing after it has begun."""
    return lesson(model=TinyClassifier(dropout=0.0), penalties={}, rules={}, augmentation=None, **changes)


def test_a_step_is_what_a_hand_written_loop_does() -> None:
    made = still(clip=0.5, drops=(32,))
    state, feed = start(made)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TinyClassifier(dropout=0.0).build()["classifier"]
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    average = {name: x.clone() for name, x in net.state_dict().items()}
    with feed:
        for step in range(4):
            batch = feed(state.images)
            sgd.param_groups[0]["lr"] = 0.1 if step < 2 else 0.01
            sgd.zero_grad()
            with torch.random.fork_rng():
                nn.functional.cross_entropy(net(batch.images), batch.labels).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            sgd.step()
            average = {n: w + (average[n] - w) * 0.5 ** (16 / 40) if w.is_floating_point() and "running" not in n else w
                       for n, w in net.state_dict().items()}  # fmt: skip
            values = state.take_step(batch)
            assert values["rate/classifier"] == pytest.approx(0.1 if step < 2 else 0.01)
    assert same(state.classifier, net, 1e-6)
    for name, x in state.average.module.state_dict().items():
        assert torch.allclose(x, average[name], atol=1e-6)


def test_accumulated_parts_are_one_batch_where_nothing_mixes_it() -> None:
    ends = []
    for parts in (1, 4):
        state, feed = start(still(accumulate=parts))
        state.classifier.eval()  # batch norm on running averages, no dropout
        with feed:
            values = [state.take_step(feed(state.images)) for step in range(3)]
        ends.append((state.classifier, values))
    assert same(ends[0][0], ends[1][0], 1e-6)
    for one, other in zip(ends[0][1], ends[1][1], strict=True):
        assert {k: float(v) for k, v in one.items()} == pytest.approx({k: float(v) for k, v in other.items()}, rel=1e-4)


def test_it_learns_and_says_how_well(tmp_path: Path) -> None:
    made = lesson(images=1600, penalties={}, rules={}, augmentation=None, drops=(), ema=0)
    run = og.train(made, tmp_path / "run", quiet=True)
    last, best = read(run.folder)
    assert (last.name, best.name) == ("Test error", "Best test error")
    assert last.n == 60
    assert last.value < 0.2  # chance is 2/3
    assert last.stderr == pytest.approx((last.value * (1 - last.value) / 60) ** 0.5)
    assert best.value <= last.value
    assert last.protocol == {
        "data": "SpotData",
        "images": 60,
        "resolution": 8,
        "classes": "3: class 0, class 1, class 2",
        "precision": "float32",
        "selection": "none: the last of the run",
    }
    assert best.protocol["selection"] == "the best of 25 tests, selected on the test images themselves"
    tested = [line["error/test"] for line in run.log() if "error/test" in line]
    assert len(tested) == 25
    assert tested[-1] == pytest.approx(last.value)
    assert min(tested) == pytest.approx(best.value)


def test_what_is_tested_is_the_share_of_wrong_answers_of_the_averaged_network(tmp_path: Path) -> None:
    run = og.train(lesson(), tmp_path / "run", quiet=True)
    images = lesson().test.open()
    index = torch.arange(60)
    net = TinyClassifier().build()["classifier"].eval()
    assert run.newest is not None
    net.load_state_dict(run.newest.generator_tensors())
    with torch.no_grad():
        wrong = net(images.images(index) / 127.5 - 1).argmax(1) != images.labels(index)
    assert read(run.folder)[0].value == pytest.approx(wrong.float().mean().item())


def test_the_best_checkpoint_stays(tmp_path: Path) -> None:
    run = og.train(lesson(images=640, checkpoint_every=64), tmp_path / "run", keep=1, quiet=True)
    best = run.best
    assert best is not None
    assert best.images == read(run.folder)[1].about["trained_images"]
    assert run.newest is not None
    assert {checkpoint.images for checkpoint in run.checkpoints} == {best.images, run.newest.images}
    assert og.train(lesson(images=640, checkpoint_every=64), tmp_path / "run", quiet=True).best == best


def test_stopped_and_continued_it_ends_where_an_uninterrupted_run_ends(tmp_path: Path) -> None:
    seen = og.ConditioningMonitor(("0",), every=3)  # which counts steps, and SGD does not
    made = lesson(precision="bfloat16", rules={**lesson().rules, "seen": seen})
    whole = og.train(made, tmp_path / "whole", quiet=True)

    class Stop(Exception):
        pass

    def stop(values: object) -> None:
        raise Stop

    for until in (1, 3):
        seen: list[object] = []

        def call(values: object, seen: list[object] = seen, until: int = until) -> None:
            seen.append(values)
            if len(seen) == until:
                stop(values)

        with pytest.raises(Stop):
            og.train(made, tmp_path / "parts", quiet=True, on_log=call)
    parts = og.train(made, tmp_path / "parts", quiet=True)
    assert digest(parts) == digest(whole)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert read(parts.folder) == read(whole.folder)


def test_penalties_rules_and_augmentation_are_at_work() -> None:
    state, feed = start(lesson())
    with feed:
        values = state.take_step(feed(0))
        again = state.take_step(feed(state.images))
    assert {"penalty/ol", "nog/norm", "nog/cosine", "olr/rate", "olr/at_base", "error/train"} <= set(values)
    assert "penalty/ol" not in again  # every second step
    plain, other = start(lesson(augmentation=None))
    with other:
        assert float(plain.take_step(other(0))["loss/classifier"]) != float(values["loss/classifier"])


def test_other_optimizers(tmp_path: Path) -> None:
    for optimizer in (Adam(1e-3), Sgd(0.1, momentum=0.0), Sgd(0.1, nesterov=True)):
        state, feed = start(still(optimizer=optimizer))
        with feed:
            losses = [float(state.take_step(feed(0))["loss/classifier"]) for _ in range(8)]
        assert losses[-1] < losses[0]


def test_a_classifier_is_had_back_and_is_no_generator(tmp_path: Path) -> None:
    run = og.train(lesson(ema=0), tmp_path / "run", quiet=True)
    network = open_run(run.folder).network(model=TinyClassifier())
    assert not network.training
    assert run.newest is not None
    assert all(torch.equal(x, run.newest.generator_tensors()[name]) for name, x in network.state_dict().items())
    with pytest.raises(ValueError, match="has no critic; its model builds classifier"):
        run.network("critic", model=TinyClassifier())
    with pytest.raises(ValueError, match="holds a classifier, which has no latent to draw images from"):
        og.load(run.folder, model=TinyClassifier())
    with pytest.raises(ValueError, match="holds a classifier, which has no latent to draw images from"):
        og.load(run.newest.path, model=TinyClassifier())
    assert not (run.folder / "samples").exists()
    json.loads((run.folder / "run.json").read_text())
    page = og.report(run.folder).read_text(encoding="utf-8")
    assert "Test error" in page
    assert "Traversals could not be drawn" not in page
    assert "There are no sample grids" not in page
    assert "of the test images" in page


@dataclass(frozen=True)
class Other(SpotData):
    """Spots with a last label, channels or class names of their own."""

    label: int = 2
    channels: int = 1
    classes: tuple[str, ...] = ("class 0", "class 1", "class 2")

    def open(self) -> ImageSet:
        images = super().open()
        assert isinstance(images, Spots)
        images.channels, images.classes = self.channels, self.classes
        images._labels[-1] = self.label
        return images


@dataclass(frozen=True)
class Flat(Model):
    classes: int = 3

    def build(self) -> dict[str, nn.Module]:
        return {"classifier": nn.Flatten()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model": TinyGan()},
            "TinyGan builds critic, generator; a ClassifierRecipe takes a model that builds a classif",
        ),
        ({"model": TinyClassifier(classes=4)}, "TinyClassifier tells 4 classes apart and SpotData has 3 classes"),
        ({"test": SpotData((5, 5))}, "TinyClassifier tells 3 classes apart and SpotData has 2 classes"),
        ({"data": BarData()}, "TinyClassifier tells 3 classes apart and BarData has no class labels"),
        ({"data": Other(label=3)}, "the data has 3 classes and labels from 0 to 3; labels must be from 0 to 2"),
        ({"test": Other(label=-1)}, "the data has 3 classes and labels from -1 to 2; labels must be from 0 to 2"),
        ({"test": Other(classes=("class 0", "b", "c"))}, "test: class 1 is 'b', and in training it is 'class 1'; give"),
        ({"test": Other(channels=3)}, "test: its images are 3x8x8 and those of training 1x8x8"),
        ({"test": SpotData((0, 0, 0))}, "test: the data set is empty; give one with at least one image"),
        (
            {"data": Other(channels=3), "test": Other(channels=3)},
            "TinyClassifier does not take images of 3x8x8 .* expected input.* to have 1 channels, but got 3",
        ),
        ({"model": Flat()}, r"Flat makes \(2, 64\) of two images of 1x8x8 .*; it says that it tells 3 classes apart"),
        ({"augmentation": og.AdaptiveAugment()}, "AdaptiveAugment follows a critic, which a classifier does not have"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        og.train(lesson(**changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_missing_test_set_is_said_to_be_that(tmp_path):
    with pytest.raises(FileNotFoundError, match="test: Cifar10: no path was given; give the folder"):
        og.train(lesson(test=og.Cifar10()), tmp_path / "run", quiet=True)


def test_a_penalty_on_latents_is_refused():
    with pytest.raises(ValueError, match="orojar: OroJaR sees latents or a critic, which a classifier does not have"):
        lesson(penalties={"orojar": og.Term(og.OroJaR())})


def test_what_is_no_recipe_is_refused(unchecked):
    with pytest.raises(TypeError, match="train was given a str; it takes a Recipe, ClassifierRecipe or VaeRecipe"):
        og.train(replace(lesson()).name, "runs/none", quiet=True)  # type: ignore[arg-type]
