"""Spectral norms of classes over training, and how much their images differ, as a picture."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orthogen.reporting.figures import PALETTE, lines
from orthogen.reporting.record import RunRecord
from orthogen.reporting.svg import INK, STYLE, element

__all__ = ["explosion_figure", "explosion_pictures", "spectral_keys"]

_ACROSS = 3  # panels side by side
_KEY = re.compile(r"(?P<rule>.+)/(?P<target>gain|bias)/(?P<layer>[^/]+)/(?P<what>\d+|mean|max)")
_OTHER = re.compile(r"(?P<rule>.+)/(?:(?P<what>images|away|diversity)/(?P<label>\d+)|breaking_away)")
_FREQUENCY = LinearSegmentedColormap.from_list("frequency", ["#c2362b", PALETTE[1], "#b3a58f", "#7f95a8", PALETTE[0]])
_OVERALL = ("mean", "max")
_MEAN: Any = {"color": INK, "linewidth": 1.1, "linestyle": (0, (4, 2)), "alpha": 0.75}
*_COLORS, _GRAY = PALETTE
_FEW = 10  # classes that can be told apart by a range of colors
_COLUMNS = 5  # of the legend, at most

Series = tuple[np.ndarray, np.ndarray]


class _Watched(NamedTuple):
    """What a `SpectralMonitor` logged of gains or biases."""

    rule: str
    target: str
    layers: Mapping[str, Mapping[str, Series]]  # by layer, then by class, "mean" or "max"
    images: Mapping[int, float]  # of each class, where they were known
    away: Mapping[int, float]  # when a class was said to break away, in images shown
    diversity: Mapping[str, Series]  # of images, by class


def spectral_keys(runs: Sequence[RunRecord]) -> set[str]:
    """The keys of the logs that the pictures show."""
    found = set()
    for run in runs:
        rules = {each.rule for each in _watched(run)}
        for key in run.log:
            match = _KEY.fullmatch(key) or _OTHER.fullmatch(key)
            if match and match["rule"] in rules:
                found.add(key)
    return found


def explosion_pictures(runs: Sequence[RunRecord]) -> list[tuple[str, Markup]]:
    """`explosion_figure` of each run that has something to show, as a title and an SVG element."""
    pictures = []
    for run in runs:
        for each in _watched(run):
            title = f"spectral norms of {each.target}s by class" + (f", {run.name}" if len(runs) > 1 else "")
            with rc_context(STYLE):
                pictures.append((title, Markup(element(_explosion(each), f"{title}, over images"))))
    return pictures


def explosion_figure(run: RunRecord, target: str = "gain") -> Figure | None:
    """The norms that a `SpectralMonitor` logged: a panel per layer, a line per class, over images shown.

    Of up to ten classes colors go from rare (red) to frequent (blue), by the logarithm of how many images they have, or
    by their labels where that was not logged. Of more classes those that broke away are in color, in their order, and
    the others in gray. A dot is where a class was said to break away. The dashed line is the
    mean over all classes, of which the rarest alone are logged where there are many; where none was, as of many whose
    numbers of images nobody gave, there are the mean and the largest norm. A last panel shows how much images of a
    class differ, where that was logged: a class that collapses falls there as its norms rise.

    Args:
        run: a run folder, read by `orthogen.reporting.record.read_run`.
        target: "gain" or "bias".

    Returns:
        The figure, to be saved; None where the run logged nothing of it.
    """
    for each in _watched(run):
        if each.target == target:
            return _explosion(each)
    return None


def _watched(run: RunRecord) -> Iterator[_Watched]:
    """What each monitor logged of gains, and of biases."""
    found: dict[tuple[str, str], dict[str, dict[str, Series]]] = {}
    for key, series in run.log.items():
        if match := _KEY.fullmatch(key):
            layers = found.setdefault((match["rule"], match["target"]), {})
            layers.setdefault(match["layer"], {})[match["what"]] = series
    for (rule, target), layers in found.items():
        others: dict[str, dict[int, Series]] = {"images": {}, "away": {}, "diversity": {}}
        for key, series in run.log.items():
            match = _OTHER.fullmatch(key)
            if match and match["rule"] == rule and match["what"]:
                others[match["what"]][int(match["label"])] = series
        images = {label: float(counts[0]) for label, (_, counts) in others["images"].items()}
        away = {label: float(when[0]) for label, (when, _) in others["away"].items()}
        diversity = {str(label): series for label, series in sorted(others["diversity"].items())}
        yield _Watched(rule, target, layers, images, away, diversity)


def _explosion(watched: _Watched) -> Figure:
    labels = sorted({int(what) for series in watched.layers.values() for what in series if what.isdigit()})
    colors = _colors(labels, watched.images, watched.away)
    handles = _handles(labels, colors, watched)
    panels, told = len(watched.layers) + bool(watched.diversity), -(-len(handles) // _COLUMNS)
    down = -(-panels // _ACROSS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.4 + 0.17 * told + 2.0 * down), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.09)  # type: ignore[union-attr, call-arg]
        figure.patch.set_alpha(0)
        values = np.concatenate([values for each in watched.layers.values() for _, values in each.values()])
        top = values[np.isfinite(values)].max(initial=0.0)
        for place, (layer, series) in enumerate(watched.layers.items()):
            axes = figure.add_subplot(down, _ACROSS, place + 1, facecolor="none")
            _panel(axes, series, labels, colors, watched.away)
            axes.set_ylim(0, 1.05 * top or 1.0)  # layers compare
            axes.set_title(_short(layer), loc="left", fontsize=9.5, pad=5)
        if watched.diversity:
            axes = figure.add_subplot(down, _ACROSS, (panels, _ACROSS * down), facecolor="none")
            _panel(axes, watched.diversity, labels, colors, watched.away)
            axes.set_ylim(bottom=0)
            axes.set_title("difference of two images of a class", loc="left", fontsize=9.5, pad=5)
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=-(-len(handles) // max(1, told)),
            handlelength=1.1,
            columnspacing=1.2,
        )
        return figure


def _handles(labels: Sequence[int], colors: Mapping[int, str], watched: _Watched) -> list[Line2D]:
    """What the legend shows: each class that has a color of its own, the others together, and the mean."""
    if not labels:
        return [Line2D([], [], color=color, label=what) for what, color in zip(_OVERALL, PALETTE, strict=False)]
    gray = [label for label in labels if colors[label] == _GRAY]
    handles = [
        Line2D([], [], color=colors[label], label=_told(label, watched.images)) for label in colors if label not in gray
    ]
    if gray:
        counts = sorted({watched.images[label] for label in gray if label in watched.images})
        span = f", {' to '.join(f'{count:,.0f}' for count in counts[:: max(1, len(counts) - 1)])} images"
        others = "others of the rarest" if len(gray) < len(labels) else "of the rarest classes"
        handles.append(Line2D([], [], color=_GRAY, label=f"{len(gray)} {others}{span if counts else ''}"))
    return [*handles, Line2D([], [], **_MEAN, label="mean of all classes")]


def _panel(
    axes: Axes,
    series: Mapping[str, Series],
    labels: Sequence[int],
    colors: Mapping[int, str],
    away: Mapping[int, float],
) -> None:
    first = sorted(labels, key=lambda label: label in away)  # those that broke away are drawn over the others
    shown = {str(label): series[str(label)] for label in first if str(label) in series}
    if shown:
        lines(axes, shown, colors=[colors[int(label)] for label in shown], log=False)
        if "mean" in series:
            axes.plot(*series["mean"], **_MEAN)
    else:
        lines(axes, {what: series[what] for what in _OVERALL if what in series}, log=False)
    for label, when in away.items():
        if str(label) in shown:
            x, y = shown[str(label)]
            axes.plot(when, np.interp(when, x, y), "o", color=colors[label], markersize=4.5, zorder=3)


def _colors(labels: Sequence[int], images: Mapping[int, float], away: Mapping[int, float]) -> dict[int, str]:
    """Of few classes from blue for the most frequent to red for the rarest; of many, those that broke away."""
    if len(labels) > _FEW:
        broken = sorted((label for label in labels if label in away), key=away.__getitem__)
        return dict(zip(broken, cycle(_COLORS), strict=False)) | {
            label: _GRAY for label in labels if label not in broken
        }
    values = [np.log(max(1.0, images[label])) if label in images else -label for label in labels]
    low, high = min(values, default=0.0), max(values, default=0.0)
    return {
        label: to_hex(_FREQUENCY((value - low) / (high - low) if high > low else 1.0))
        for label, value in zip(labels, values, strict=True)
    }


def _told(label: int, images: Mapping[int, float]) -> str:
    return f"class {label}" + (f", {images[label]:,.0f} images" if label in images else "")


def _short(layer: str, most: int = 34) -> str:
    return layer if len(layer) <= most else "…" + layer[1 - most :]
