"""Scores class by class on the page: a picture from frequent to rare, and a table with head, medium and tail."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orthogen.core.score import NORMAL_95, Score
from orthogen.reporting.figures import PALETTE, brief, frame
from orthogen.reporting.record import RunRecord
from orthogen.reporting.svg import INK, STYLE, element

__all__ = ["ClassView", "Group", "class_figure", "class_views"]

_GROUPS = ("head", "medium", "tail")
_COLUMNS = ("value", "ratio")  # what scores call their column of one number per class
_NAMED = 20  # classes that the axis names one by one, and the table shows at once
_SPREAD = 0.5  # of the distance between two classes, over which the runs stand side by side

Spread = Mapping[int, Score]  # a score for each class


@dataclass(frozen=True)
class Group:
    """Head, medium or tail; or all classes, where they are in no groups.

    Attributes:
        name: what it is called.
        images: training images of its classes, in words; empty where nobody said.
        means: the mean over its classes in each run, as text; empty where there is none.
        classes: name, training images, and the score in each run, as text.
    """

    name: str
    images: str
    means: list[str]
    classes: list[tuple[str, str, list[str]]]


@dataclass(frozen=True)
class ClassView:
    """One score of all runs, class by class.

    Attributes:
        name: of the score.
        svg: the picture.
        groups: of the table, from frequent to rare.
        counted: whether it is known how many training images classes have, so that they are ordered by it.
        many: whether there are too many classes to show all at once.
        notes: what should be known, with the number of the run it is of.
    """

    name: str
    svg: Markup
    groups: list[Group]
    counted: bool
    many: bool
    notes: list[tuple[int, str]]


def class_views(runs: Sequence[RunRecord]) -> list[ClassView]:
    """Every score of the runs that has a number for each class (`PerClass`, `IntraClassDiversity`)."""
    tables = [{score.name: score for score in run.scores if _spread(score)} for run in runs]
    return [_view(name, runs, tables) for name in dict.fromkeys(name for table in tables for name in table)]


def _spread(score: Score) -> Spread:
    """The finite ones of its numbers by class; those of the metric that stands in where all classes are refused."""
    labels = score.parts.get("classes")
    for column in (*_COLUMNS, *(f"instead_{name}" for name in _COLUMNS)):
        values = score.parts.get(column)
        if not isinstance(labels, list) or not isinstance(values, list) or len(values) != len(labels):
            continue
        errors = score.parts.get("stderr" if column == "value" else f"{column}_stderr") or [None] * len(labels)
        if column.startswith("instead_"):
            errors = score.parts.get("instead_stderr") or errors
        found = {
            int(label): Score(float(value), None if error is None else float(error))
            for label, value, error in zip(labels, values, errors, strict=True)
            if value is not None and math.isfinite(value)
        }
        if found:
            return found
    return {}


def _counts(runs: Sequence[RunRecord]) -> dict[int, int]:
    """Training images by class: as a score's protocol has them, or else as they were logged."""
    for run in runs:
        for score in run.scores:
            counts = score.protocol.get("counts")
            if isinstance(counts, list) and counts:
                return dict(enumerate(map(int, counts)))
    logged = {
        key.rpartition("/")[2]: int(values[0])
        for run in runs
        for key, (_, values) in run.log.items()
        if "/images/" in key and key.rpartition("/")[2].isdecimal() and len(values)
    }
    return {int(label): count for label, count in logged.items()}


def _members(runs: Sequence[RunRecord]) -> dict[str, list[int]]:
    """The classes of each group, by the first score that has groups."""
    for run in runs:
        for score in run.scores:
            found = {name: score.parts.get(f"{name}_classes") for name in _GROUPS}
            if any(found.values()):
                return {name: list(labels or ()) for name, labels in found.items()}
    return {}


def _view(name: str, runs: Sequence[RunRecord], tables: Sequence[Mapping[str, Score]]) -> ClassView:
    scores = [table.get(name) for table in tables]
    spreads = [_spread(score) if score else {} for score in scores]
    counts, members = _counts(runs), _members(runs)
    present = sorted({label for spread in spreads for label in spread})
    rest = [label for label in present if not any(label in labels for labels in members.values())]
    grouped = {key: [label for label in labels if label in present] for key, labels in members.items()}
    grouped = {key: _ordered(labels, counts) for key, labels in {**grouped, "all classes": rest}.items() if labels}
    groups = [
        Group(
            key if key == "all classes" else f"{key}, {len(labels)} {'class' if len(labels) == 1 else 'classes'}",
            _range([counts[label] for label in labels if label in counts]),
            [_mean([spread[label] for label in labels if label in spread]) for spread in spreads],
            [
                (
                    f"class {label}",
                    f"{counts[label]:,}" if label in counts else "",
                    [str(spread[label]) if label in spread else "–" for spread in spreads],
                )
                for label in labels
            ],
        )
        for key, labels in grouped.items()
    ]
    with rc_context(STYLE):
        figure = class_figure(spreads, grouped, counts, [run.name for run in runs])
        svg = Markup(element(figure, f"{name}, class by class, from frequent to rare classes"))
    notes = [(i, str(score.parts["note"])) for i, score in enumerate(scores) if score and score.parts.get("note")]
    return ClassView(name, svg, groups, bool(counts), len(present) > _NAMED, notes)


def _ordered(labels: Sequence[int], counts: Mapping[int, int]) -> list[int]:
    """From frequent to rare, as far as it is known."""
    return sorted(labels, key=lambda label: (-counts.get(label, 0), label))


def _range(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    return f"{max(counts):,}" if max(counts) == min(counts) else f"{max(counts):,} to {min(counts):,}"


def _mean(scores: Sequence[Score]) -> str:
    """The mean of independent scores with its standard error, as text."""
    if not scores:
        return "–"
    errors = [score.stderr for score in scores if score.stderr is not None]
    error = math.hypot(*errors) / len(scores) if len(errors) == len(scores) else None
    return str(Score(sum(score.value for score in scores) / len(scores), error))


def class_figure(
    spreads: Sequence[Spread], groups: Mapping[str, Sequence[int]], counts: Mapping[int, int], names: Sequence[str]
) -> Figure:
    """A dot per class and run with its interval of 95 %, from frequent to rare; a line for each mean of a group.

    Args:
        spreads: a score for each class, by run.
        groups: classes in the order they are drawn in.
        counts: training images of each class, as far as they are known.
        names: of the runs.
    """
    order = [label for labels in groups.values() for label in labels]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot(facecolor="none")
        there = [i for i, spread in enumerate(spreads) if spread]
        for place, i in enumerate(there):
            shift = _SPREAD * ((place + 0.5) / len(there) - 0.5)
            _dots(axes, spreads[i], order, shift, PALETTE[i % len(PALETTE)])
            _means(axes, spreads[i], groups, PALETTE[i % len(PALETTE)])
        begins = np.cumsum([0, *(len(labels) for labels in groups.values())])
        for name, begin, end in zip(groups, begins[:-1], begins[1:], strict=True):
            if len(groups) > 1:
                axes.text((begin + end - 1) / 2, 1.02, name, ha="center", transform=axes.get_xaxis_transform())
            if begin:
                axes.axvline(begin - 0.5, color=INK, linewidth=0.7, alpha=0.3)
        axes.set_xlim(-0.6, len(order) - 0.4)
        if any(score.value >= 0 for spread in spreads for score in spread.values()):
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
        if len(order) <= _NAMED:
            said = [f"{label}\n{counts[label]:,}" if label in counts else str(label) for label in order]
            axes.set_xticks(range(len(order)), said)
        else:
            axes.set_xticks([])
        frame(axes, "class, and its training images" if counts and len(order) <= _NAMED else "classes")
        axes.tick_params(axis="x", length=0)
        if len(there) > 1:
            handles = [Line2D([], [], color=PALETTE[i % len(PALETTE)], marker="o", label=names[i]) for i in there]
            figure.legend(handles=handles, loc="outside upper left", ncols=len(there), handlelength=1.1)
        return figure


def _dots(axes: Axes, spread: Spread, order: Sequence[int], shift: float, color: str) -> None:
    places = [i for i, label in enumerate(order) if label in spread]
    found = [spread[order[i]] for i in places]
    axes.errorbar(
        [i + shift for i in places],
        [score.value for score in found],
        yerr=[NORMAL_95 * (score.stderr or 0.0) for score in found],
        fmt="o",
        color=color,
        markersize=5.0 if len(order) <= _NAMED else 2.4,
        elinewidth=1.3,
        markeredgewidth=0,
    )


def _means(axes: Axes, spread: Spread, groups: Mapping[str, Sequence[int]], color: str) -> None:
    begin = 0
    for labels in groups.values():
        found = [spread[label].value for label in labels if label in spread]
        if found:
            axes.hlines(sum(found) / len(found), begin - 0.45, begin + len(labels) - 0.55, color=color, alpha=0.45)
        begin += len(labels)
