"""A generator measured while it is trained: by the protocol of `measure`, without a trace in the run."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.core.kinds import Data, ImageSet, Validation
from orthogen.core.score_file import read
from orthogen.evaluation.validating import Validate
from tiny_classes import SpotData, Spots, TinyClassGan, classes
from tiny_gan import BarData, TinyGan, digest, everything, lines, recipe

TESTS = Path(__file__).parents[1]
TEST = SpotData((20, 20, 20), seed=2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTHOGEN_CACHE", str(tmp_path / "cache"))


def spotted(**changes: Any) -> og.Recipe:
    """The conditional GAN, validated every fourth step on images that it does not see."""
    how = Validate("Kid", TEST, n=60, extractor="Pixels")
    return classes(**{"validation": how, "validate_every": 32, "ema": 20, **changes})


def test_the_last_score_is_what_measure_says_of_the_run(tmp_path: Path) -> None:
    run = og.train(spotted(), tmp_path / "run", quiet=True)
    last, best = read(run.folder)
    assert (last.name, best.name) == ("kernel distance", "Best kernel distance")
    G = og.load(run.folder, model=TinyClassGan())
    (same,) = og.measure(G, ["Kid"], data=TEST, n=60, extractor="Pixels", quiet=True)
    assert (last.value, last.stderr, last.n) == (same.value, same.stderr, 60)
    assert last.protocol == {**same.protocol, "selection": "none: the last of the run"}
    assert last.about == {"seed": 0, "trained_images": 240}
    seen = {line["images"]: line.get("validation/kernel distance") for line in run.log()}
    seen = {images: value for images, value in seen.items() if value is not None}
    assert list(seen) == [32, 64, 96, 128, 160, 192, 224, 240]
    assert seen[240] == last.value
    assert min(seen.values()) == best.value == seen[best.about["trained_images"]]
    chosen = "the best of 8 validations, selected on the validation data itself"
    assert best.protocol == {**same.protocol, "selection": chosen}


def test_the_best_checkpoint_stays_and_gives_the_best_score(tmp_path: Path) -> None:
    made = spotted(objective=og.Objective(og.Hinge(), {"r1": og.Term(og.R1(), 1e3, start=100)}), checkpoint_every=32)
    run = og.train(made, tmp_path / "run", keep=1, quiet=True)
    best, newest = run.best, run.newest
    assert best is not None
    assert newest is not None
    score = read(run.folder)[1]
    assert best.images == score.about["trained_images"]
    assert {checkpoint.images for checkpoint in run.checkpoints} == {best.images, newest.images}
    G = og.load(best.path, model=TinyClassGan())
    (again,) = og.measure(G, ["Kid"], data=TEST, n=60, extractor="Pixels", quiet=True)
    assert again.value == score.value


def test_validation_leaves_no_trace_in_the_run(tmp_path: Path) -> None:
    """Batch norm, dropout, a learned penalty, bfloat16: each weight, moment and random state is the same without it."""
    how = Validate("Kid", n=20, extractor="Pixels")
    state = torch.get_rng_state()
    plain = og.train(everything(), tmp_path / "plain", quiet=True)
    watched = og.train(everything(validation=how, validate_every=24), tmp_path / "watched", quiet=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert digest(plain) == digest(watched)
    assert len(read(watched.folder)) == 2
    assert not (plain.folder / "scores.json").exists()


@dataclass(frozen=True)
class Looking(Validation):
    """Notes what it is shown, and draws from torch's global generator, which it should not."""

    def score(self, generator: og.Generator, data: ImageSet, *, seed: int) -> og.Score:
        SEEN.append((generator.module, generator.module.training, len(data), seed, torch.rand(()).item()))
        return og.Score(float(len(SEEN) % 3), name="looks", parts={"tail": 2.0, "tail_stderr": 0.5, "k": 3.0})


SEEN: list[tuple[Any, bool, int, int, float]] = []


def test_what_is_validated_is_the_average_and_draws_are_its_own(tmp_path: Path) -> None:
    SEEN.clear()
    run = og.train(classes(validation=Looking(), validate_every=80, ema=20, seed=3), tmp_path / "run", quiet=True)
    assert len(SEEN) == 3
    module, training, count, seed, _ = SEEN[-1]
    assert run.newest is not None
    assert all(torch.equal(x, run.newest.generator_tensors()[name]) for name, x in module.state_dict().items())
    assert not torch.equal(module.table.weight, run.newest.tensors("network/generator/")["table.weight"])
    assert (training, count, seed) == (True, 60, 3)
    assert len({drawn for *_, drawn in SEEN}) == 1  # the same at every validation
    plain = og.train(classes(ema=20, seed=3), tmp_path / "plain", quiet=True)
    assert digest(plain) == digest(run)
    logged = [line for line in run.log() if "validation/looks" in line]
    assert [line["validation/looks"] for line in logged] == [1.0, 2.0, 0.0]
    assert logged[0]["validation/looks/tail"] == 2.0
    assert "validation/looks/k" not in logged[0]  # which has no error, and is a setting


@dataclass(frozen=True)
class Listed(Validation):
    values: tuple[float, ...] = (math.nan, 3.0, math.nan, 2.0, 5.0)

    def score(self, generator: og.Generator, data: ImageSet, *, seed: int) -> og.Score:
        SEEN.append((generator, True, 0, seed, 0.0))
        return og.Score(self.values[len(SEEN) - 1], name="listed")


def test_what_is_no_number_is_never_the_best_for_long(tmp_path: Path) -> None:
    SEEN.clear()
    run = og.train(classes(validation=Listed(), validate_every=48, sample_every=0), tmp_path / "run", quiet=True)
    assert [score.value for score in read(run.folder)] == [5.0, 2.0]
    assert run.best is not None
    assert run.best.images == 192


def test_stopped_and_continued_it_ends_where_an_uninterrupted_run_ends(tmp_path: Path) -> None:
    whole = og.train(spotted(), tmp_path / "whole", quiet=True)

    class Stop(Exception):
        pass

    for until in (1, 2, 4):
        seen: list[object] = []

        def call(values: object, seen: list[object] = seen, until: int = until) -> None:
            seen.append(values)
            if len(seen) == until:
                raise Stop

        with pytest.raises(Stop):
            og.train(spotted(), tmp_path / "parts", quiet=True, on_log=call)
    parts = og.train(spotted(), tmp_path / "parts", quiet=True)
    assert digest(parts) == digest(whole)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert read(parts.folder) == read(whole.folder)
    assert parts.best is not None
    assert whole.best is not None
    assert parts.best.images == whole.best.images


def test_killed_between_the_last_checkpoint_and_the_scores_it_still_tells_them(tmp_path: Path) -> None:
    run = og.train(spotted(), tmp_path / "run", quiet=True)
    told = read(run.folder)
    (run.folder / "scores.json").unlink()
    about = (run.folder / "run.json").read_text()
    (run.folder / "run.json").write_text(about.replace(f'"finished": "{run.about["finished"]}"', '"finished": null'))
    assert read(og.train(spotted(), tmp_path / "run", quiet=True).folder) == told


def test_the_tail_is_the_tail_of_the_training_images(tmp_path: Path) -> None:
    """The validation images are evenly spread, and say nothing of which classes are rare."""
    how = Validate(og.PerClass("Fid", least=5, bins=(15, 25)), TEST, n=60, extractor="Pixels")
    run = og.train(spotted(validation=how, validate_every=0), tmp_path / "run", quiet=True)
    parts = read(run.folder)[0].parts
    assert (parts["tail_classes"], parts["medium_classes"], parts["head_classes"]) == ([2], [1], [0])
    name = "validation/Frechet distance by class"
    assert run.log()[-1][f"{name}/tail"] == pytest.approx(parts["value"][2])


def test_without_data_of_its_own_it_looks_at_the_training_images(tmp_path: Path) -> None:
    run = og.train(recipe(validation=Validate("Kid", n=20, extractor="Pixels")), tmp_path / "run", quiet=True)
    assert read(run.folder)[0].protocol["reference"]["of"] == 50


def test_two_processes_say_what_one_says(tmp_path: Path) -> None:
    script = str(TESTS / "training" / "validation_in_two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):  # found by process 0, raised by both
        assert (tmp_path / f"refused{rank}").read_text().startswith("validation: Cifar10: no path was given")
    two = read(open_run(tmp_path / "two").folder)[0]
    one = read(og.train(spotted(sample_every=0), tmp_path / "one", quiet=True).folder)[0]
    assert two.value == pytest.approx(one.value, rel=1e-3)
    assert [line["images"] for line in lines(tmp_path / "two")] == [line["images"] for line in lines(tmp_path / "one")]


# ---------------------------------------------------------------------------------------------- mistakes
@dataclass(frozen=True)
class Mislabeled(Data):
    """Spots with a label too many."""

    label: int = 3

    def open(self) -> ImageSet:
        images = Spots((30, 20, 10), 1, 128)
        images._labels[7] = self.label
        return images


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        (
            {"validation": Validate("Kid", og.Cifar10(), extractor="Pixels")},
            FileNotFoundError,
            r"validation: Cifar10: no path was given; give the folder with",
        ),
        (
            {"validation": Validate(data=TEST, extractor=og.Inception("none.pth"))},
            FileNotFoundError,
            r"validation: none.pth does not exist",
        ),
        (
            {"validation": Validate("Kid", SpotData((5, 5)), extractor="Pixels")},
            ValueError,
            r"its data has 1 channels, 8 pixels and 2 classes and that of training 1 channels, 8 pixels and 3 classes",
        ),
        (
            {"data": SpotData((30, 0, 10))},
            ValueError,
            r"class 1 \(class 1\) has no images, so there is nothing to learn of it; leave it out of data and model",
        ),
        (
            {"data": Mislabeled(3)},
            ValueError,
            "the data has 3 classes and labels from 0 to 3; labels must be from 0 to 2",
        ),
        (
            {"data": Mislabeled(-1)},
            ValueError,
            "the data has 3 classes and labels from -1 to 2; labels must be from 0 to 2",
        ),
        (
            {"objective": og.Objective(og.Hinge(), {"gsr": og.Term(og.GroupSpectral())})},
            ValueError,
            "GroupSpectral: TinyConditional has no conditional norm of orthogen; for others give",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(tmp_path, changes, kind, said):
    with pytest.raises(kind, match=said) as caught:
        og.train(spotted(**changes), tmp_path / "run", quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_classes_it_was_begun_with(tmp_path: Path) -> None:
    og.train(classes(images=80), tmp_path / "run", quiet=True)
    other = replace(classes(images=80), model=TinyClassGan(classes=4), data=SpotData((30, 20, 10, 5)))
    with pytest.raises(ValueError, match=r"holds a run of another recipe: model.classes is 3 there and 4 here; give"):
        og.train(other, tmp_path / "run", quiet=True)


def test_a_folder_that_got_another_class_since(tmp_path: Path) -> None:
    from PIL import Image

    def photograph(label: str) -> None:
        (tmp_path / "images" / label).mkdir(parents=True)
        Image.new("L", (8, 8), 90).save(tmp_path / "images" / label / "0.png")

    for label in ("cat", "dog", "frog"):
        photograph(label)
    made = classes(data=og.ImageFolder(tmp_path / "images", resolution=8, channels=1), images=80)
    og.train(made, tmp_path / "run", quiet=True)
    photograph("hare")
    with pytest.raises(
        ValueError, match=r"TinyClassGan takes 3 classes and ImageFolder has 4 classes; give model.class"
    ):
        og.train(made, tmp_path / "run", quiet=True)


@pytest.mark.parametrize("sampling", [og.Shuffled(), og.ClassBalanced(), og.EffectiveNumber()], ids=repr)
def test_classes_and_data_of_fewer_images_than_the_batch_are_shown_again(tmp_path: Path, sampling) -> None:
    made = classes(data=SpotData((5, 2, 1)), batch=16, images=160, sampling=sampling)
    assert og.train(made, tmp_path / "run", quiet=True).log()[-1]["images"] == 160


def test_an_empty_class_is_no_mistake_where_it_is_never_drawn(tmp_path: Path) -> None:
    og.train(classes(data=SpotData((30, 0, 10)), fake_labels="data", images=80), tmp_path / "run", quiet=True)


def test_metrics_that_are_high_for_good_images_select_the_worst() -> None:
    with pytest.raises(ValueError, match=r"Validate\(metric=InceptionScore\): the best is the lowest, and this one is"):
        Validate("InceptionScore")
    with pytest.raises(TypeError, match="Validate: nothing here is called 'Fad'; nearest: Fid"):
        Validate("Fad")
    with pytest.raises(TypeError, match=r"Validate was given Activeness\(.*; it takes a metric of real and generated"):
        Validate("Activeness")
    with pytest.raises(ValueError, match=r"Validate\(n=1\): at least 2 images are needed"):
        Validate(n=1)


def test_a_generator_that_diverged_is_said_as_everywhere(tmp_path: Path) -> None:
    from orthogen.training.recipe import Adam

    made = recipe(
        model=TinyGan(),
        data=BarData(),
        generator_optimizer=Adam(1e38),
        critic_optimizer=Adam(1e38),
        validation=Validate("Kid", n=20, extractor="Pixels"),
        validate_every=8,
    )
    with pytest.raises(FloatingPointError, match="not finite"):
        og.train(made, tmp_path / "run", quiet=True)


def test_pixels_are_means_of_parts() -> None:
    see = og.Pixels(2).load(torch.device("cpu")).see
    images = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    images[:, :, :2, 2:] = 255
    features, logits = see(images)
    assert features.tolist() == [[-1.0, 1.0, -1.0, -1.0]]
    assert logits is None
    with pytest.raises(ValueError, match=r"Pixels\(side=0\): give a side of at least 1 pixel"):
        og.Pixels(0)


def test_labels_are_told_apart_from_none() -> None:
    assert BarData().open().class_counts() is None
    counts: Tensor | None = TEST.open().class_counts()
    assert counts is not None
    assert counts.tolist() == [20, 20, 20]
