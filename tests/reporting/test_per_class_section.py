"""Scores class by class on the page."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import orthogen as og
from orthogen.core.features import Features
from orthogen.core.score import Score
from orthogen.core.score_file import merge
from orthogen.reporting.per_class import class_figure, class_views
from orthogen.reporting.record import RunRecord
from tiny_classes import classes

COUNTS = (500, 200, 30, 6)


def features(shift: float) -> tuple[Features, Features]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    real, fake = (torch.randn(400, 3, generator=rng) for _ in range(2))
    moved = fake * (1 - 0.2 * labels[:, None]) + shift * labels[:, None]
    return Features(400, real, labels=labels), Features(400, moved, labels=labels)


def scores(shift: float, least: int = 50) -> tuple[Score, ...]:
    given = features(shift)
    return og.PerClass("Fid", least=least, counts=COUNTS)(*given), og.IntraClassDiversity()(*given)


def record(name: str, *found: Score, log: dict[str, tuple[np.ndarray, np.ndarray]] | None = None) -> RunRecord:
    return RunRecord(Path(name), scores=found, log=log or {})


def test_head_medium_and_tail_are_means_of_their_classes():
    per_class, diversity = scores(1.0)
    view, other = class_views([record("a", per_class, diversity)])
    assert (view.name, other.name) == ("Frechet distance by class", "diversity within classes")
    assert [group.name for group in view.groups] == ["head, 2 classes", "tail, 2 classes"]
    assert [group.images for group in view.groups] == ["500 to 200", "30 to 6"]
    parts = per_class.parts
    assert view.groups[1].means == [str(Score(parts["tail"], parts["tail_stderr"]))]
    assert view.groups[1].classes == [
        ("class 2", "30", [str(Score(parts["value"][2], parts["stderr"][2]))]),
        ("class 3", "6", [str(Score(parts["value"][3], parts["stderr"][3]))]),
    ]
    # the groups and counts of the one serve the other, which has none of its own
    ratio = diversity.parts["ratio"]
    mean = og.Score((ratio[2] + ratio[3]) / 2, np.hypot(*diversity.parts["ratio_stderr"][2:]).item() / 2)
    assert other.groups[1].means == [str(mean)]
    assert [name for name, _, _ in other.groups[0].classes] == ["class 0", "class 1"]


def test_runs_side_by_side_and_what_one_lacks():
    (one, _), (two, _) = scores(1.0), scores(0.1)
    (view,) = class_views([record("a", one), record("b"), record("c", two)])
    assert [values[1] for group in view.groups for _, _, values in group.classes] == ["–"] * 4
    assert view.groups[0].means[1] == "–"
    assert float(view.groups[1].means[2].split()[0]) < float(view.groups[1].means[0].split()[0])


def test_classes_that_were_refused_are_not_mixed_with_the_others():
    per_class, _ = scores(1.0, least=1000)
    (view,) = class_views([record("a", per_class)])
    assert view.name == "kernel distance by class"  # all were refused: what stood in is the value
    instead = per_class.parts["instead_value"]
    assert view.groups[0].classes[0][2][0].startswith(f"{instead[0]:.1f}"[:3])
    assert view.notes == [(0, "4 of 4 classes have fewer than 1,000 images and got Kid")]
    some = dataclasses.replace(per_class, parts={**per_class.parts, "value": [1.0, 2.0, None, 3.0]})
    (view,) = class_views([record("a", some)])
    assert [name for group in view.groups for name, _, _ in group.classes] == ["class 0", "class 1", "class 3"]


def test_counts_that_were_logged_order_the_classes_too():
    _, diversity = scores(1.0)
    log = {f"spectral/images/{label}": (np.array([8.0]), np.array([float(n)])) for label, n in enumerate((5, 9, 7, 8))}
    (view,) = class_views([record("a", diversity, log=log)])
    (group,) = view.groups
    assert (group.name, group.images, view.counted) == ("all classes", "9 to 5", True)
    assert [name for name, _, _ in group.classes] == ["class 1", "class 3", "class 2", "class 0"]
    (view,) = class_views([record("a", diversity)])
    assert not view.counted
    assert [images for _, images, _ in view.groups[0].classes] == [""] * 4


def test_what_is_by_class_and_damaged_is_left_out():
    score = Score(1.0, name="odd", parts={"classes": [0, 1], "value": [1.0]})
    assert class_views([record("a", score, Score(2.0, name="plain"))]) == []
    empty = Score(1.0, name="empty", parts={"classes": [0, 1], "value": [None, float("nan")]})
    assert class_views([record("a", empty)]) == []


def test_the_picture_has_a_dot_for_each_class_and_a_line_for_each_mean():
    spread = {label: Score(float(label), 0.1) for label in range(4)}
    figure = class_figure([spread, {}], {"head": [0, 1], "tail": [3, 2]}, {0: 9, 1: 8, 3: 7}, ["a", "b"])
    (axes,) = figure.axes
    (dots,) = axes.containers
    assert list(dots.lines[0].get_ydata()) == [0, 1, 3, 2]
    means = [path.vertices[:, 1].tolist() for lines in axes.collections[1:] for path in lines.get_paths()]
    assert [0.5, 0.5] in means
    assert [2.5, 2.5] in means
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0\n9", "1\n8", "3\n7", "2"]
    assert [text.get_text() for text in axes.texts] == ["head", "tail"]


@pytest.mark.parametrize("count", [4, 40])
def test_on_the_page(tmp_path: Path, count: int):
    run = og.train(classes(images=80), tmp_path / "run", quiet=True)
    given = [Features(10 * count, torch.randn(10 * count, 2), labels=torch.arange(10 * count) % count) for _ in "ab"]
    merge(run.folder, [og.PerClass("Fid", least=2, counts=tuple(range(10, 10 + 3 * count, 3)))(*given)])
    page = og.report(run.folder).read_text()
    assert "Class by class" in page
    assert f"class {count - 1}</th>" in page
    assert ("Every class" in page) == (count == 40)
    assert ("training images" in page) == (count == 4)  # a protocol of many classes holds a hash of their counts
