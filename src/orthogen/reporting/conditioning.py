"""How well conditioned layers were over training, and which learning rates were used: one picture for all runs."""

import re
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from orthogen.reporting.figures import PALETTE, frame, lines
from orthogen.reporting.record import RunRecord
from orthogen.reporting.svg import STYLE, element

__all__ = ["conditioning_figure", "conditioning_picture", "shown_keys"]

PANELS = {  # what `ConditioningMonitor` logs, by the last part of the key
    "condition": "condition at the true rank",
    "effective_rank": "effective rank",
    "ridge_condition": "condition with the ridge",
    "weight_norm": "norm of the weight",
    "defect": "defect of orthogonality",
}
BINS = {  # what `OptimalLearningRate` logs, by where a decade of used / scheduled rate begins
    "share/0": "0",
    "share/0.0001": "10⁻⁴",
    "share/0.001": "0.001",
    "share/0.01": "0.01",
    "share/0.1": "0.1",
    "at_base": "1",
}
_ACROSS = 3  # panels side by side
_MONITORED = re.compile(rf"(?:(?P<where>.+)/)?(?P<what>{'|'.join(PANELS)})")
_USED = re.compile(rf"(?P<rule>.+)/(?P<bin>{'|'.join(map(re.escape, BINS))})")


def shown_keys(runs: Sequence[RunRecord]) -> set[str]:
    """The keys of the log that the picture shows."""
    return {key for run in runs for key in run.log if _MONITORED.fullmatch(key) or _rule(run, key)}


def conditioning_picture(runs: Sequence[RunRecord]) -> Markup:
    """`conditioning_figure` as an SVG element; empty where nothing of it was logged."""
    with rc_context(STYLE):
        figure = conditioning_figure(runs)
        return Markup("" if figure is None else element(figure, "conditioning of layers over images, and used rates"))


def conditioning_figure(runs: Sequence[RunRecord]) -> Figure | None:
    """A panel for each quantity of `ConditioningMonitor`, over images; and one for the rates of `OptimalLearningRate`.

    There is a line per run, or per run and layer where several were watched. Values of more than a factor of 30 are on
    a logarithmic axis. The last panel is a histogram: in which share of all steps (and layers) the rate used was the
    scheduled one (1), or from 0.1 of it on, from 0.01 of it on, ..., with a bar per run and rule.

    Returns:
        The figure, to be saved; None where no run logged any of it.
    """
    curves = {what: _lines(runs, what) for what in PANELS}
    drawn = [what for what in PANELS if curves[what]]
    used = _histograms(runs)
    total = len(drawn) + bool(used)
    if not total:
        return None
    names = list(dict.fromkeys([name for what in drawn for name in curves[what]] + list(used)))
    places = [run.name for run in runs] if {run.name for run in runs} >= set(names) else names  # as on the whole page
    colors = {name: PALETTE[places.index(name) % len(PALETTE)] for name in names}
    down = -(-total // _ACROSS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.35 + 2.15 * down), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.09)  # type: ignore[union-attr, call-arg]
        figure.patch.set_alpha(0)
        for i, what in enumerate(drawn):
            axes = figure.add_subplot(down, _ACROSS, i + 1, facecolor="none")
            lines(axes, curves[what], colors=[colors[name] for name in curves[what]])
            axes.set_title(PANELS[what], loc="left", fontsize=9.5, pad=5)
        if used:
            axes = figure.add_subplot(down, _ACROSS, total, facecolor="none")
            _bars(axes, used, [colors[name] for name in used])
            axes.set_title("steps by the rate used", loc="left", fontsize=9.5, pad=5)
        if len(names) > 1:
            handles = [Line2D([], [], color=colors[name], label=name) for name in names]
            columns = max(1, min(len(names), 135 // (6 + max(map(len, names)))))
            figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.1, columnspacing=1.2)
        return figure


def _lines(runs: Sequence[RunRecord], what: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The series of one quantity: by run, or by run and layer where there are several."""
    found: list[tuple[RunRecord, str, str]] = []
    for run in runs:
        for key in run.log:
            match = _MONITORED.fullmatch(key)
            if match and match["what"] == what:
                found.append((run, match["where"] or "", key))
    wheres = {where for _, where, _ in found}
    return {_named(run, where, len(runs), len(wheres)): run.log[key] for run, where, key in found}


def _named(run: RunRecord, where: str, runs: int, wheres: int) -> str:
    """A line's name: the run, the place, or both, as far as there are several."""
    return ", ".join(part for part, several in ((run.name, runs > 1 or wheres < 2), (where, wheres > 1)) if several)


def _rule(run: RunRecord, key: str) -> str:
    """The rule whose histogram a key is of; none where it logged no shares."""
    match = _USED.fullmatch(key)
    return match["rule"] if match and f"{match['rule']}/share/0" in run.log else ""


def _histograms(runs: Sequence[RunRecord]) -> dict[str, np.ndarray]:
    """The mean share of each bin over the whole log, by run and rule."""
    found = [(run, rule) for run in runs for rule in dict.fromkeys(_rule(run, key) for key in run.log) if rule]
    several = len({rule for _, rule in found})
    return {
        _named(run, rule, len(runs), several): np.array([_mean(run, f"{rule}/{name}") for name in BINS])
        for run, rule in found
    }


def _mean(run: RunRecord, key: str) -> float:
    """Of a series' finite values; 0 where there is none."""
    _, values = run.log.get(key, (None, np.empty(0)))
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else 0.0


def _bars(axes: Axes, histograms: dict[str, np.ndarray], colors: Sequence[str]) -> None:
    """Bars side by side in each bin."""
    places, width = np.arange(len(BINS)), 0.84 / len(histograms)
    for i, (shares, color) in enumerate(zip(histograms.values(), colors, strict=True)):
        axes.bar(places - 0.42 + (i + 0.5) * width, shares, width, color=color)
    axes.set_xticks(places, list(BINS.values()))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    frame(axes, "used / scheduled rate, from this on")
    axes.tick_params(axis="x", length=0)
