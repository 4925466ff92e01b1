"""Spectral norms of classes over training, and how much their groups of channels resemble one another, as pictures."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from orthogen.core.groups import group_correlation
from orthogen.core.shapes import Float
from orthogen.reporting.figures import PALETTE, lines
from orthogen.reporting.record import RunRecord
from orthogen.reporting.svg import STYLE, element

__all__ = ["correlation_figure", "explosion_figure", "explosion_pictures", "spectral_keys"]

_ACROSS = 3  # panels side by side
_KEY = re.compile(r"(?P<rule>.+)/(?P<target>gain|bias)/(?P<layer>[^/]+)/(?P<what>\d+|mean|max)")
_OTHER = re.compile(r"(?P<rule>.+)/(?:(?P<what>images|away)/(?P<label>\d+)|breaking_away)")
_FREQUENCY = LinearSegmentedColormap.from_list("frequency", ["#c2362b", PALETTE[1], "#b3a58f", "#7f95a8", PALETTE[0]])
_LIKENESS = LinearSegmentedColormap.from_list("likeness", ["#1d4166", PALETTE[0], "#f4f7fa", PALETTE[1], "#7d2218"])
_OVERALL = ("mean", "max")
_RANGE = 0.06  # of the colors of a correlation, as in the authors' figures

Series = tuple[np.ndarray, np.ndarray]


class _Watched(NamedTuple):
    """What a `SpectralMonitor` logged of gains or biases."""

    rule: str
    target: str
    layers: Mapping[str, Mapping[str, Series]]  # by layer, then by class, "mean" or "max"
    images: Mapping[int, float]  # of each class, where they were known
    away: Mapping[int, float]  # when a class was said to break away, in images shown


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

    Colors go from rare (red) to frequent (blue) classes, by the logarithm of how many images they have, or by their
    labels where that was not logged; a dot is where a class was said to break away. Where no class was logged, as of
    many whose numbers of images nobody gave, there are the mean over classes and the largest norm.

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


def correlation_figure(
    vectors: Mapping[str, Float[Tensor, "classes c"]],
    classes: Sequence[int],
    names: Sequence[str] = (),
    limit: float = _RANGE,
) -> Figure:
    """How much the groups of channels resemble one another, see `orthogen.core.groups.group_correlation`.

    A row of panels per class, a column per layer; the diagonal is left blank. Groups of a class that collapses resemble
    one another: its panel has strong colors off the diagonal.

    Args:
        vectors: gain offsets or biases of all classes, by layer; ``{name: gain() for name, (gain, _) in
            class_vectors(module).items()}`` gives them (`orthogen.layers.class_vectors`).
        classes: those that are shown.
        names: of all classes.
        limit: the correlation that the strongest colors stand for.

    Raises:
        ValueError: there is no layer, or no class, or not that one.
    """
    count = min((len(each) for each in vectors.values()), default=0)
    if not vectors or not classes or not all(0 <= label < count for label in classes):
        raise ValueError(
            f"correlation_figure was given {len(vectors)} layers and the classes {list(classes)}; give layers and some "
            f"of the classes 0 to {max(0, count - 1)}"
        )
    with rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 1.25 * len(vectors), 0.45 + 1.2 * len(classes)), layout="constrained")
        figure.patch.set_alpha(0)
        panels = figure.subplots(len(classes), len(vectors), squeeze=False)
        for column, (layer, rows) in enumerate(vectors.items()):
            matrices = group_correlation(rows.detach().double().cpu()).numpy()
            for row, label in enumerate(classes):
                matrix = matrices[label].copy()
                np.fill_diagonal(matrix, np.nan)
                axes = panels[row, column]
                axes.imshow(matrix, cmap=_LIKENESS, vmin=-limit, vmax=limit, interpolation="none")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(_short(layer), fontsize=8.0, pad=4)
                if column == 0:
                    axes.set_ylabel(names[label] if names else f"class {label}", fontsize=8.5)
        return figure


def _watched(run: RunRecord) -> Iterator[_Watched]:
    """What each monitor logged of gains, and of biases."""
    found: dict[tuple[str, str], dict[str, dict[str, Series]]] = {}
    for key, series in run.log.items():
        if match := _KEY.fullmatch(key):
            layers = found.setdefault((match["rule"], match["target"]), {})
            layers.setdefault(match["layer"], {})[match["what"]] = series
    for (rule, target), layers in found.items():
        others: dict[str, dict[int, Series]] = {"images": {}, "away": {}}
        for key, series in run.log.items():
            match = _OTHER.fullmatch(key)
            if match and match["rule"] == rule and match["what"]:
                others[match["what"]][int(match["label"])] = series
        images = {label: float(counts[0]) for label, (_, counts) in others["images"].items()}
        away = {label: float(when[0]) for label, (when, _) in others["away"].items()}
        yield _Watched(rule, target, layers, images, away)


def _explosion(watched: _Watched) -> Figure:
    labels = sorted({int(what) for series in watched.layers.values() for what in series if what.isdigit()})
    colors = _colors(labels, watched.images)
    down = -(-len(watched.layers) // _ACROSS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.6 + 2.0 * down), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.09)  # type: ignore[union-attr, call-arg]
        figure.patch.set_alpha(0)
        values = np.concatenate([values for each in watched.layers.values() for _, values in each.values()])
        top = values[np.isfinite(values)].max(initial=0.0)
        for place, (layer, series) in enumerate(watched.layers.items()):
            axes = figure.add_subplot(down, _ACROSS, place + 1, facecolor="none")
            _panel(axes, series, labels, colors, watched.away)
            axes.set_ylim(0, 1.05 * top or 1.0)  # layers compare
            axes.set_title(_short(layer, 34), loc="left", fontsize=9.5, pad=5)
        handles = [Line2D([], [], color=colors[label], label=_told(label, watched.images)) for label in labels] or [
            Line2D([], [], color=color, label=what) for what, color in zip(_OVERALL, PALETTE, strict=False)
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=min(5, len(handles)), handlelength=1.1, columnspacing=1.2
        )
        return figure


def _panel(
    axes: Axes,
    series: Mapping[str, Series],
    labels: Sequence[int],
    colors: Mapping[int, str],
    away: Mapping[int, float],
) -> None:
    shown = {str(label): series[str(label)] for label in labels if str(label) in series}
    if shown:
        lines(axes, shown, colors=[colors[int(label)] for label in shown], log=False)
    else:
        lines(axes, {what: series[what] for what in _OVERALL if what in series}, log=False)
    for label, when in away.items():
        if str(label) in shown:
            x, y = shown[str(label)]
            axes.plot(when, np.interp(when, x, y), "o", color=colors[label], markersize=4.5, zorder=3)


def _colors(labels: Sequence[int], images: Mapping[int, float]) -> dict[int, str]:
    """From red for the rarest class to blue for the most frequent one."""
    values = [np.log(max(1.0, images[label])) if label in images else -label for label in labels]
    low, high = min(values, default=0.0), max(values, default=0.0)
    return {
        label: to_hex(_FREQUENCY((value - low) / (high - low) if high > low else 1.0))
        for label, value in zip(labels, values, strict=True)
    }


def _told(label: int, images: Mapping[int, float]) -> str:
    return f"class {label}" + (f", {images[label]:,.0f} images" if label in images else "")


def _short(layer: str, most: int = 16) -> str:
    return layer if len(layer) <= most else "…" + layer[1 - most :]
