"""The picture of a leakage: a heat map of what each direction changes, beside how much of it leaks."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from orthogen.core.score import Score
from orthogen.reporting.figures import PALETTE

__all__ = ["leakage_picture"]

_INK, _FAINT, _PAPER = "#1f2328", "#78808a", "#ffffff"
_HEAT = LinearSegmentedColormap.from_list("leakage", ["#f4f7fa", "#9fc0dd", PALETTE[0], "#1d4166"])
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,  # a $ in a name is a dollar
    "text.color": _INK,
    "axes.linewidth": 0.0,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
}
_CELL = (0.62, 0.34)  # inches
_NUMBERS = 24  # columns up to which cells have numbers in them
_LONG = 24  # letters of a name


def _brief(name: str) -> str:
    return name if len(name) <= _LONG else name[: _LONG - 1] + "…"


def _most(total: np.ndarray, count: int) -> list[int]:
    """The places of the ``count`` largest, in their order."""
    return sorted(np.argsort(-total, kind="stable")[:count].tolist())


def _heat_map(axes: Axes, matrix: np.ndarray, top: float, mains: Sequence[int | None]) -> None:
    axes.imshow(matrix, cmap=_HEAT, vmin=0.0, vmax=top, aspect="auto", interpolation="none")
    rows, columns = matrix.shape
    for edge in range(1, columns):
        axes.axvline(edge - 0.5, color=_PAPER, linewidth=1.5)
    for edge in range(1, rows):
        axes.axhline(edge - 0.5, color=_PAPER, linewidth=1.5)
    for row, main in enumerate(mains):
        for column in range(columns if columns <= _NUMBERS else 0):
            share = matrix[row, column] / top
            color = _PAPER if share > 0.5 else _FAINT if main is None or share < 0.005 else _INK
            axes.text(column, row, f"{matrix[row, column]:.2f}", ha="center", va="center", color=color, fontsize=8.5)
        if main is not None:
            frame: Any = {"facecolor": "none", "edgecolor": PALETTE[1], "linewidth": 2.0, "clip_on": False, "zorder": 3}
            axes.add_patch(Rectangle((main - 0.5, row - 0.5), 1.0, 1.0, **frame))


def _bars(axes: Axes, values: Sequence[float | None], errors: Sequence[float | None]) -> None:
    for row, (value, error) in enumerate(zip(values, errors, strict=True)):
        if value is None:
            axes.text(0.0, row, "no change", va="center", color=_FAINT, fontsize=8.5)
            continue
        axes.barh(row, 1.0, height=0.5, color="#eef1f4")
        axes.barh(row, value, height=0.5, color=PALETTE[1])
        axes.errorbar(value, row, xerr=error, color=_INK, linewidth=1.0, capsize=2.0, alpha=0.8)
        axes.text(1.06, row, f"{value:.2f}", va="center", fontsize=8.5)
    axes.set_xlim(0, 1.34)
    axes.set_xticks([])
    axes.tick_params(labelleft=False)
    axes.set_title("leakage", fontsize=9.0, loc="left", pad=6, color=_FAINT)


def leakage_picture(score: Score, *, rows: int = 40, columns: int = 40) -> bytes:
    """A PNG of a `Leakage` score: a row per direction, a column per factor or class, the main one framed.

    Args:
        score: made by `orthogen.metrics.leakage.Leakage`, or read back from its JSON.
        rows: most directions to show; those that change most, where there are more.
        columns: most factors or classes to show; where there are more, the main ones of these directions come first,
            then those that change most.

    Raises:
        ValueError: the score is of another kind.

    Example:
        >>> parts = {"directions": ["0"], "factors": ["shape", "scale"], "matrix": [[0.1, 0.8]], "main": ["scale"],
        ...          "leakage": [0.11], "leakage_stderr": [0.02]}
        >>> leakage_picture(Score(0.11, 0.02, 300, "Leakage", parts=parts))[1:4]
        b'PNG'
    """
    parts = dict(score.parts)
    kind = next((kind for kind in ("factors", "classes") if kind in parts), None)
    if kind is None or "matrix" not in parts or min(rows, columns) < 1:
        raise ValueError(
            f"leakage_picture was given {score}, rows={rows}, columns={columns}; it draws what Leakage measured, of 1 "
            "row and column up"
        )
    whole, names = np.array(parts["matrix"], dtype=float), [str(name) for name in parts[kind]]
    shown = _most(whole.sum(axis=1), rows)
    main = [None if parts["main"][i] is None else names.index(parts["main"][i]) for i in shown]
    first = np.isin(np.arange(len(names)), [i for i in main if i is not None])
    change = whole[shown].sum(axis=0)
    seen = _most(change + first * (1 + change.max()), columns)
    matrix = whole[np.ix_(shown, seen)]
    heads = [_brief(names[i]) for i in seen]
    tilted = max(map(len, heads)) > 8
    mains = [seen.index(i) if i in seen else None for i in main]

    width, height = _CELL[0] * len(seen), _CELL[1] * len(shown)
    with rc_context(_STYLE):
        size = (max(6.0, width + 3.4), height + (1.9 if tilted else 1.25))
        figure = Figure(figsize=size, layout="constrained", dpi=160)
        figure.patch.set_facecolor(_PAPER)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(width, 1.6))
        _heat_map(left, matrix, 1.0 if kind == "factors" else max(matrix.max(), 1e-12), mains)
        _bars(right, *([parts[key][i] for i in shown] for key in ("leakage", "leakage_stderr")))
        turn = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if tilted else {}
        left.xaxis.tick_top()
        left.set_xticks(range(len(seen)), heads, **turn)
        left.set_yticks(range(len(shown)), [_brief(str(parts["directions"][i])) for i in shown])
        for label, index in zip(left.get_yticklabels(), main, strict=True):
            label.set_color(_FAINT if index is None else _INK)
        left.set_ylabel("direction", color=_FAINT, labelpad=8)
        figure.suptitle(f"{score}\n", x=0.012, ha="left", fontsize=11.0, fontweight="bold")
        what = "share of images in which it changes" if kind == "factors" else "mean change of its probability"
        counts = {"directions": (len(shown), len(whole)), kind: (len(seen), len(names))}
        cut = "".join(f"; {few} of {every} {each}" for each, (few, every) in counts.items() if few < every)
        legend = f"{kind}: {what}{cut}; framed: the direction's main one"
        figure.supxlabel(legend, x=0.012, ha="left", fontsize=8.5, color=_FAINT)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
