"""A leaderboard of methods on the page: small charts that share their methods, and a table of the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orthogen.evaluation.boards import Board, Column, boards, shown, within_error_of_best
from orthogen.reporting.figures import PALETTE, brief
from orthogen.reporting.record import RunRecord
from orthogen.reporting.svg import INK, STYLE, element

__all__ = ["Cell", "View", "leaderboard_picture", "views"]

_ACROSS = 4  # charts side by side
_ARROW = {"": "", "higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Cell:
    """One number of the table."""

    value: str
    error: str = ""
    best: bool = False


@dataclass(frozen=True)
class View:
    """One leaderboard, ready for the page.

    Attributes:
        run: the number of the run it is of.
        facts: what the methods had in common, in words.
        svg: the picture.
        heads: name, arrow and meaning of each column.
        rows: a method, and a cell for each column.
        failed: a method that found nothing, and why.
        details: a method, the names of its columns by direction, and a row of texts for each direction.
    """

    run: int
    facts: str
    svg: Markup
    heads: list[tuple[str, str, str]]
    rows: list[tuple[str, list[Cell]]]
    failed: list[tuple[str, str]]
    details: list[tuple[str, list[str], list[list[str]]]]


def views(runs: Sequence[RunRecord]) -> list[View]:
    """The leaderboards among the scores of all runs."""
    return [_view(i, board) for i, run in enumerate(runs) for board in boards(run.scores) if board.scores]


def _view(run: int, board: Board) -> View:
    columns = board.columns
    best = {column.key: within_error_of_best(board, column) for column in columns}
    there = [method for method in board.scores if method not in board.failed]
    rows = [
        (
            method,
            [
                Cell(*shown(column, board.scores[method].get(column.key)), best=method in best[column.key])
                for column in columns
            ],
        )
        for method in there
    ]
    return View(
        run,
        board.facts,
        Markup(leaderboard_picture(board) if columns else ""),
        [(column.head, _ARROW[column.better], column.says) for column in columns],
        rows,
        list(board.failed.items()),
        [_by_direction(board, method) for method in there],
    )


def _by_direction(board: Board, method: str) -> tuple[str, list[str], list[list[str]]]:
    """What there is to say of single directions; recovery is of planted ones and not among it."""
    columns = [
        column for column in board.columns if column.part and column.key != "recovery" and board.each(method, column)
    ]
    each = [board.each(method, column) for column in columns]
    rows = [
        [name, *("–" if value is None else f"{value:.3g}" for value in values)]
        for name, *values in zip(board.names(method), *each, strict=True)
    ]
    return method, [column.head for column in columns], rows


def leaderboard_picture(board: Board) -> str:
    """A chart per column with a line per method, as an SVG element.

    Large: the score with its standard error. Small: each direction by itself, where there are such numbers. Dashed:
    what chance gives, where that is the same for all methods.

    Raises:
        ValueError: there are no scores on the board.
    """
    methods = [method for method in board.scores if method not in board.failed]
    columns = board.columns
    if not methods or not columns:
        raise ValueError("a leaderboard without scores was given; there is nothing to draw")
    down = -(-len(columns) // _ACROSS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, down * (0.62 + 0.235 * len(methods))), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.09)  # type: ignore[union-attr, call-arg]
        figure.patch.set_alpha(0)
        for i, column in enumerate(columns):
            axes = figure.add_subplot(down, _ACROSS, i + 1, facecolor="none")
            _chart(axes, board, methods, column, named=i % _ACROSS == 0)
        return element(figure, "methods by score, with standard errors and each direction by itself")


def _chart(axes: Axes, board: Board, methods: list[str], column: Column, *, named: bool) -> None:
    chance = set()
    for row, method in enumerate(methods):
        color, score = PALETTE[row % len(PALETTE)], board.scores[method].get(column.key)
        axes.axhline(row, color=INK, linewidth=0.5, alpha=0.12, zorder=0)
        if score is None:
            axes.text(0.02, row, "–", va="center", alpha=0.5, transform=axes.get_yaxis_transform())
            continue
        each = np.array([value for value in board.each(method, column) if value is not None], dtype=float)
        axes.plot(each, np.full(len(each), row), "o", color=color, markersize=3.2, alpha=0.38, markeredgewidth=0)
        axes.errorbar(
            score.value,
            row,
            xerr=score.stderr or None,
            fmt="o",
            color=color,
            markersize=6.2,
            elinewidth=1.6,
            markeredgewidth=0,
            zorder=3,
        )
        if isinstance(score.parts.get("chance"), int | float):
            chance.add(float(score.parts["chance"]))
    if len(chance) == 1:  # of as many directions each
        axes.axvline(*chance, color=INK, linewidth=0.8, linestyle=(0, (3, 3)), alpha=0.45, zorder=1)
    head = column.head.replace("\u00ad", "")
    axes.set_title(f"{head} {_ARROW[column.better]}".strip(), loc="left", fontsize=9.5, pad=5)
    axes.set_yticks(range(len(methods)), methods if named else [""] * len(methods))
    axes.set_ylim(len(methods) - 0.4, -0.6)
    _, right = axes.get_xlim()
    axes.set_xlim(left=0.0, right=right if right > 0 else 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
    axes.spines["left"].set_alpha(0.3)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x", alpha=0.14)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", length=0, pad=3)
