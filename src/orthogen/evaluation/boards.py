"""The columns of a leaderboard, and its table: from the scores themselves, fresh or read from a file."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from orthogen.core.score import Score

__all__ = ["COLUMNS", "Board", "Column", "boards", "mark", "shown", "table", "within_error_of_best"]

EXACT = 1e-4  # a standard error of less than this share of the value says that the value is exact but for rounding


@dataclass(frozen=True)
class Column:
    """One quantity of a leaderboard.

    Attributes:
        key: its name in files.
        head: its name in tables, with soft hyphens where it may be broken.
        better: which way is better; empty where neither is.
        says: what it is, in a phrase.
        part: the part of the score that has one number per direction; empty where there is none.
        brief: whether it is among the columns of a terminal.
    """

    key: str
    head: str
    better: Literal["", "higher", "lower"]
    says: str
    part: str = ""
    brief: bool = True


COLUMNS = (
    Column("effect_size", "effect size", "", "change of the image per standard deviation of the latent", "effect_size"),
    Column(
        "linearity", "line\u00adarity", "", "share of a traversal's variance that is linear in the step", "linearity"
    ),
    Column("activeness", "active\u00adness", "", "variance of the pixels over a traversal", "activeness"),
    Column("orojar_share", "OroJaR share", "lower", "share of JᵀJ off the diagonal, by row", "share"),
    Column(
        "hessian_share", "Hessian share", "lower", "share of the pixels' Hessians off the diagonal, by row", "share"
    ),
    Column("orojar", "OroJaR", "lower", "the penalty itself, by mean, per squared pixel count", brief=False),
    Column("hessian", "Hessian Penalty", "lower", "the penalty itself, by mean", brief=False),
    Column("leakage", "leakage", "lower", "share of what changes that is not the direction's main factor", "leakage"),
    Column(
        "consistency",
        "consis\u00adtency",
        "higher",
        "closest |cos| among other seeds' directions; 1 where nothing is drawn",
        "consistency",
    ),
    Column("recovery", "recov\u00adery", "higher", "|cos| to the planted directions, assigned one to one", "recovery"),
    Column(
        "variation", "VP score", "higher", "percent of changes that a network names from two images", "class_accuracy"
    ),
    Column("seconds", "time (s)", "", "time to fit, once"),
)


@dataclass(frozen=True)
class Board:
    """Scores of one leaderboard, by method and column.

    Attributes:
        about: what all of them share: directions, seeds, samples, budget.
        scores: by method, then by column.
        failed: why a method found nothing, by method.
    """

    about: dict[str, Any]
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[Column]:
        """Those that any method has a score for."""
        return [column for column in COLUMNS if any(column.key in scores for scores in self.scores.values())]

    @property
    def facts(self) -> str:
        """What all methods had in common, in words."""
        kinds = {
            "directions": "directions each",
            "seeds": "seeds",
            "samples": "latents to measure on",
            "budget": "latents to a fit",
        }
        told = [(self.about[key], what) for key, what in kinds.items() if isinstance(self.about.get(key), int)]
        return ", ".join(f"{number:,} {what}" for number, what in told)

    def each(self, method: str, column: Column) -> list[float | None]:
        """One number per direction; empty where there are none."""
        score = self.scores.get(method, {}).get(column.key)
        return list(score.parts.get(column.part) or ()) if score is not None and column.part else []

    def names(self, method: str) -> list[str]:
        """What the directions are called; empty where nothing was measured along them."""
        of = self.scores.get(method, {})
        named = (of[column.key] for column in COLUMNS if column.key in of and column.key != "recovery" and column.part)
        return next((list(score.parts["directions"]) for score in named if score.parts.get("directions")), [])


def mark(method: str, column: str, **shared: Any) -> dict[str, Any]:
    """What `Score.about` says of a score that belongs to a leaderboard."""
    return {"leaderboard": {"method": method, "column": column, **shared}}


def boards(scores: Sequence[Score]) -> list[Board]:
    """The leaderboards among some scores; those of other settings, or of another generator, are others.

    A method's scores are along one set of directions, the last one in the list: what it found before, or that it once
    found nothing, is left out.
    """
    found: dict[str, Board] = {}
    along: dict[tuple[str, str], str] = {}  # the directions of each method on each board
    for score in scores:
        about = score.about.get("leaderboard")
        if not isinstance(about, dict) or not {"method", "column"} <= set(about):
            continue
        shared = {name: value for name, value in about.items() if name not in ("method", "column")}
        key, method = json.dumps(shared, sort_keys=True), str(about["method"])
        board = found.setdefault(key, Board(shared))
        of = board.scores.setdefault(method, {})
        if math.isfinite(score.value):
            directions = json.dumps(score.about.get("directions"), sort_keys=True)
            if along.setdefault((key, method), directions) != directions:
                along[key, method] = directions
                of.clear()
            of[str(about["column"])] = score
            board.failed.pop(method, None)
        elif score.parts.get("note") and not of:
            board.failed[method] = str(score.parts["note"])
    return list(found.values())


def within_error_of_best(board: Board, column: Column) -> set[str]:
    """The methods whose score is the best of its column, or not told from it by two standard errors of the difference.

    None where no way is better, where a score has no standard error, and where scores are of different kinds: read by
    different readers, or along so many more directions that chance gives another value.
    """
    scores = {method: of[column.key] for method, of in board.scores.items() if column.key in of}
    if not column.better or len(scores) < 2 or any(score.stderr is None for score in scores.values()):
        return set()
    chance = "" if column.key == "recovery" else "chance"  # where what was not found counts as 0
    if len({(score.parts.get(chance), str(score.protocol.get("reader"))) for score in scores.values()}) > 1:
        return set()
    sign = 1 if column.better == "higher" else -1
    best = max(scores.values(), key=lambda score: sign * score.value)
    near = set()
    for method, score in scores.items():
        error = math.hypot(score.stderr or 0.0, best.stderr or 0.0)
        if sign * (best.value - score.value) <= 2 * error + 1e-9 * abs(best.value):
            near.add(method)
    return near if len(near) < len(scores) else set()


def shown(column: Column, score: Score | None) -> tuple[str, str]:
    """The value and its standard error as text; empty where there is none."""
    if score is None:
        return "–", ""
    if column.key == "seconds":
        return f"{score.value:.2g}" if score.value < 10 else f"{score.value:.0f}", ""
    if score.stderr is None:
        return f"{score.value:.3g}", ""
    if score.stderr < EXACT * abs(score.value) or score.stderr == 0:
        return f"{score.value:.4g}", "±0" if score.stderr == 0 else f"±{score.stderr:.0e}"
    text, power = str(Score(score.value, score.stderr)), ""
    if text.startswith("("):
        text, _, power = text[1:].partition(")")
    value, _, error = text.partition(" ± ")
    return value + power, f"±{error}{power}"


def table(board: Board) -> Table:
    """The board for a terminal of 100 columns: a row per method, values above their standard errors.

    In bold is what is best in its column, and what two standard errors do not tell from it. The penalties themselves,
    which fall with the second or fourth power of the effect sizes, are left to the report.
    """
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    grid.add_column("method")
    columns = [column for column in board.columns if column.brief]
    best = {column.key: within_error_of_best(board, column) for column in columns}
    for column in columns:
        arrow = {"": "", "higher": " ↑", "lower": " ↓"}[column.better]
        # a head breaks where it can, a number never does
        head = column.head.replace("\u00ad", "-\n").replace(" ", "\n")
        grid.add_column(Text(head + arrow), justify="right", no_wrap=True)
    if not columns:  # a caption alone would be as narrow as the names
        grid.add_column("found nothing, because")
    for method, scores in board.scores.items():
        cells = [] if columns else [Text(board.failed.get(method, ""))]
        for column in columns:
            value, error = shown(column, scores.get(column.key))
            bold = "bold" if method in best[column.key] else ""
            cells.append(Text(value, style=bold) + Text(f"\n{error}" if error else "", style="dim"))
        grid.add_row(method, *cells)
    grid.caption, grid.caption_justify = _caption(board), "left"
    return grid


def _caption(board: Board) -> Text:
    failed = board.failed if board.columns else {}  # where all failed, the table itself says why
    lines = [board.facts, *(f"{method}: {reason}" for method, reason in failed.items())]
    return Text("\n".join(lines), style="dim")
