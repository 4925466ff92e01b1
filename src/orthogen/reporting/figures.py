"""Charts as inline SVG: small, alike, and at home on light and dark pages.

Text stays text and takes the page's font; ink is ``currentColor``; nothing outside is referred to. matplotlib draws on
`Figure` objects of its own, never on pyplot's global ones.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orthogen.reporting.svg import INK, STYLE, element

__all__ = ["PALETTE", "bars", "brief", "curves", "frame", "lines"]

PALETTE = ("#3b76af", "#d9703c", "#3f9a6b", "#a7609c", "#b8952f", "#4aa3b8", "#8a8f98")
_POINTS = 120  # of a line; more than that is averaged in bins, with a band from the lowest to the highest
_DECADES = 30.0  # a series of positive values that spans more than this factor is drawn on a log axis


def brief(value: float) -> str:
    """A number as short as an axis wants it.

    Example:
        >>> [brief(v) for v in (0.0, 0.25, 1500.0, 88e3, 3e6, 2e-7)]
        ['0', '0.25', '1.5k', '88k', '3M', '2e−07']
    """
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if factor <= abs(value) < 1e9:
            return f"{value / factor:.4g}{unit}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def _power(value: float) -> str:
    """A label of a log axis: plain near one, a power of ten elsewhere, nothing between the decades."""
    exponent = math.log10(value)
    if abs(exponent - round(exponent)) > 1e-6:
        return ""
    if -3 <= exponent <= 3:
        return f"{value:g}"
    return "10" + str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _binned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, mean, lowest and highest of at most `_POINTS` bins of neighbors; a bin without finite values is NaN."""
    if len(x) <= _POINTS:
        return x, y, y, y
    parts = np.array_split(np.arange(len(x)), _POINTS)
    rows = []
    for part in parts:
        good = y[part][np.isfinite(y[part])]
        values = (good.mean(), good.min(), good.max()) if len(good) else (math.nan,) * 3
        rows.append((x[part].mean(), *values))
    columns = np.array(rows).T
    return columns[0], columns[1], columns[2], columns[3]


def _log_axis(series: Sequence[np.ndarray]) -> bool:
    values = np.concatenate([np.empty(0), *(y[np.isfinite(y)] for y in series)])
    return bool(len(values) > 1 and values.min() > 0 and values.max() / values.min() > _DECADES)


def frame(axes: Axes, x_label: str) -> None:
    """Faint axes and lines across, as all charts have them."""
    axes.grid(axis="y", alpha=0.14)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", pad=3)
    for spine in axes.spines.values():
        spine.set_alpha(0.35)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label, alpha=0.65, labelpad=2)


def curves(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    title: str,
    *,
    x_label: str = "images",
    colors: Sequence[str] = PALETTE,
    legend: bool = True,
    log: bool = True,
) -> str:
    """Lines over image counts, as an SVG element.

    Values that are not finite leave gaps. Long series are averaged in bins, with a band of their extremes. The vertical
    axis is logarithmic where positive values span more than a factor of 30.

    Args:
        series: (x, y) by name.
        title: for readers of the page who cannot see it.
        x_label: what x counts.
        colors: one per series, repeated where there are more.
        legend: name the series above the chart where there are several.
        log: allow the logarithmic axis.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.35), layout="constrained")
        figure.patch.set_alpha(0)
        lines(figure.add_subplot(facecolor="none"), series, x_label=x_label, colors=colors, log=log)
        if legend and len(series) > 1:
            columns = max(1, min(len(series), 64 // (5 + max(map(len, series)))))
            figure.legend(loc="outside upper left", ncols=columns, handlelength=1.1, columnspacing=1.2)
        return element(figure, title)


def lines(
    axes: Axes,
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    x_label: str = "images",
    colors: Sequence[str] = PALETTE,
    log: bool = True,
) -> None:
    """The lines of `curves` on axes of a larger figure."""
    log = log and _log_axis([y for _, y in series.values()])
    for i, (name, (x, y)) in enumerate(series.items()):
        color = colors[i % len(colors)]
        x, mean, low, high = _binned(np.asarray(x, float), np.asarray(y, float))
        if log:
            mean, low, high = (np.where(values > 0, values, np.nan) for values in (mean, low, high))
        axes.plot(
            x,
            mean,
            color=color,
            linewidth=1.4,
            label=name,
            solid_joinstyle="round",
            marker="o" if len(x) == 1 else "",
        )
        if low is not mean:
            axes.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _power(v)))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
    axes.margins(x=0.01)
    frame(axes, x_label)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    errors: Sequence[float | None],
    title: str,
    *,
    colors: Sequence[str] = PALETTE,
) -> str:
    """One horizontal bar per run with its standard error, as an SVG element.

    Bars start at zero, so that their lengths may be compared; a value that is not finite has no bar.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 0.42 + 0.3 * len(names)), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot(facecolor="none")
        rows = np.arange(len(names))
        shown = [v if math.isfinite(v) else 0.0 for v in values]
        axes.barh(rows, shown, height=0.62, color=[colors[i % len(colors)] for i in range(len(names))])
        for row, (value, error) in enumerate(zip(shown, errors, strict=True)):
            if error is not None and math.isfinite(error):
                axes.errorbar(value, row, xerr=error, color=INK, linewidth=1.1, capsize=2.5, alpha=0.8)
        axes.set_yticks(rows, names)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
        frame(axes, "")
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", alpha=0.14)
        axes.axvline(0, color=INK, linewidth=0.7, alpha=0.5)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0)
        return element(figure, title)
