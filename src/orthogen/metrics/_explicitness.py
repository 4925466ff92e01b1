"""Explicitness: how well a linear classifier of the codes ranks the values of each factor."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogen.core.progress import track
from orthogen.core.shapes import Bool, Float, Int
from orthogen.metrics import _logistic
from orthogen.metrics._codes import deviation, runs

__all__ = ["auc", "explicitness"]


def auc(scores: Float[Tensor, "n k"], labels: Int[Tensor, "n"]) -> tuple[Float[Tensor, "k"], Float[Tensor, "n k"]]:
    """Area under the ROC curve of each class against the rest, ties counted half; and each sample's part in its error.

    The area is the share of pairs, of a sample of the class and another one, in which the first scores higher. For one
    sample, its part is how far the share among its own pairs is from that, over the share of samples of its kind
    (DeLong et al., 1988): the mean square of these, divided by n, is the area's variance. Both are nan for a class that
    is absent or alone.
    """
    values, order = scores.T.sort(dim=1)
    first, last = runs(values)
    n = values.shape[1]
    positive = labels[order] == torch.arange(len(values), device=scores.device)[:, None]
    through = positive.double().cumsum(dim=1)
    count = through[:, -1:]
    below = (
        through.gather(1, last) + through.gather(1, first) - positive.gather(1, first).double()
    ) / 2  # of the class
    others = (first + last + 1).double() / 2 - below
    share = torch.where(positive, others / (n - count), 1 - below / count)
    area = (share * positive).sum(dim=1, keepdim=True) / count
    part = (share - area) * n / torch.where(positive, count, n - count)
    return area[:, 0], torch.empty_like(part).scatter_(1, order, part).T


@dataclass(frozen=True, eq=False)
class _Areas:
    """One factor's mean areas over its values; ``part`` is what each test sample does to the second."""

    train: float | None = None
    test: float | None = None
    part: Float[Tensor, "m"] | None = None


def explicitness(
    table: Float[Tensor, "n c"], labels: Int[Tensor, "f n"], moves: Bool[Tensor, "f"], cut: int, strength: float
) -> dict[str, Any]:
    """Learned on the first ``cut`` rows and tested on the rest: the mean over factors that move, and each factor's.

    Both with the standard error of the test, the classifiers held as fitted; None where there are no two values to
    tell.
    """
    alive = deviation(table[:cut]) > 0
    x = table[:, alive]
    x = x - x[:cut].mean(dim=0)
    x = x / x[:cut].square().mean(dim=0).sqrt()
    found = [
        _areas(x, label, cut, strength) if yes else _Areas()
        for label, yes in track(list(zip(labels, moves.tolist(), strict=True)), "explicitness, factor by factor")
    ]

    def error(parts: list[Tensor]) -> float | None:
        if not parts:
            return None
        return torch.stack(parts).mean(dim=0).square().mean().div(len(table) - cut).sqrt().item()

    def mean(areas: list[float | None]) -> float | None:
        known = [area for area in areas if area is not None]
        return sum(known) / len(known) if known else None

    train, test, parts = [one.train for one in found], [one.test for one in found], [one.part for one in found]
    return {
        "explicitness_train": mean(train),
        "explicitness_train_by_factor": train,
        "explicitness_test": mean(test),
        "explicitness_test_stderr": error([part for part in parts if part is not None]),
        "explicitness_test_by_factor": test,
        "explicitness_test_by_factor_stderr": [None if part is None else error([part]) for part in parts],
    }


def _areas(x: Float[Tensor, "n c"], label: Int[Tensor, "n"], cut: int, strength: float) -> _Areas:
    """Of one factor, by a classifier of its own."""
    known, classes = label[:cut].unique(return_inverse=True)
    if len(known) < 2:
        return _Areas()
    probability = _logistic.fit(x[:cut], classes, strength)
    train, _ = auc(probability(x[:cut]), classes)
    place = torch.searchsorted(known, label[cut:]).clamp_max(len(known) - 1)
    tested = torch.where(known[place] == label[cut:], place, len(known))  # a value not seen in training is of no class
    test, part = auc(probability(x[cut:]), tested)
    both = ~test.isnan()  # classes that some test rows have, and some not
    if not both.any():
        return _Areas(train.mean().item())
    return _Areas(train.mean().item(), test[both].mean().item(), part[:, both].mean(dim=1))
