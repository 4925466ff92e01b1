"""One metric on each of several classes: the scores as columns, their mean, and means of frequent and rare classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from orthogen.core.digest import digest
from orthogen.core.score import Score

__all__ = ["OneClass", "columns", "groups", "listed", "mean"]

GROUPS = ("tail", "medium", "head")
LISTED = 20  # classes that a protocol lists one by one


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
        else:
            rows.append((each.score.value, each.score.stderr, *(each.score.interval_95 or (None, None))))
    return dict(zip(("value", "stderr", "low", "high"), map(list, zip(*rows, strict=True)), strict=True))


def mean(scores: Sequence[Score]) -> tuple[float, float | None]:
    """The mean of independent scores, and its standard error where all of them have one."""
    errors = [score.stderr for score in scores if score.stderr is not None]
    error = sum(e**2 for e in errors) ** 0.5 / len(scores) if len(errors) == len(scores) else None
    return sum(score.value for score in scores) / len(scores), error


def groups(
    classes: Sequence[OneClass], kept: Sequence[OneClass], counts: Mapping[int, int], bins: tuple[int, int]
) -> dict[str, Any]:
    """Mean, standard error and classes of each group; nothing where all classes fall into one.

    Args:
        classes: all of them.
        kept: those that enter means.
        counts: images of each label.
        bins: the most images of a class of the tail, and of a medium one.
    """
    group = {label: GROUPS[sum(count > edge for edge in bins)] for label, count in counts.items()}
    parts: dict[str, Any] = {}
    for name in GROUPS if len(set(group.values())) > 1 else ():
        parts[f"{name}_classes"] = [each.label for each in classes if group[each.label] == name]
        scores = [each.score for each in kept if each.score and group[each.label] == name]
        if scores:
            parts[name], parts[f"{name}_stderr"] = mean(scores)
    return parts


def listed(numbers: Sequence[int]) -> list[int] | dict[str, int | str]:
    """The numbers, one for each class, or how many and a hash of them.

    Example:
        >>> listed([3, 1]), listed(range(100))["classes"]
        ([3, 1], 100)
    """
    if len(numbers) <= LISTED:
        return list(numbers)
    return {"classes": len(numbers), "hash": digest({"numbers": torch.tensor(numbers)})[:16]}
