"""One metric on each of several classes: the scores as columns, and their mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orthogen.core.score import Score

__all__ = ["OneClass", "columns", "mean"]

NORMAL_95 = 1.959963984540054  # the normal quantile of a two-sided interval of 95 %


@dataclass(frozen=True)
class OneClass:
    """What was found for one class.

    Attributes:
        label: which.
        real: how many real images it has.
        fake: how many generated ones.
        score: None where these are too few.
        refused: whether the score is of another metric than asked for.
        why: there is no score.
    """

    label: int
    real: int
    fake: int
    score: Score | None
    refused: bool = False
    why: str = ""


def columns(classes: Sequence[OneClass], *, refused: bool) -> dict[str, list[Any]]:
    """Value, standard error and 95 % interval of the refused or the other classes; None for the rest of them."""
    rows: list[tuple[float | None, ...]] = []
    for each in classes:
        if each.score is None or each.refused != refused:
            rows.append((None,) * 4)
        elif each.score.stderr is None:
            rows.append((each.score.value, None, None, None))
        else:
            value, margin = each.score.value, NORMAL_95 * each.score.stderr
            rows.append((value, each.score.stderr, value - margin, value + margin))
    return dict(zip(("value", "stderr", "low", "high"), map(list, zip(*rows, strict=True)), strict=True))


def mean(scores: Sequence[Score]) -> tuple[float, float | None]:
    """The mean of independent scores, and its standard error where all of them have one."""
    errors = [score.stderr for score in scores if score.stderr is not None]
    error = sum(e**2 for e in errors) ** 0.5 / len(scores) if len(errors) == len(scores) else None
    return sum(score.value for score in scores) / len(scores), error
