"""Rows of a table that share a factor's value: drawing batches and pairs of them, and the error of a share of votes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.shapes import Float, Int, Shaped
from orthogen.metrics._codes import runs

__all__ = ["Groups", "error_of_share", "scored"]

PARTS = 10
AT_ONCE = 2**17  # rows drawn at a time: few enough to stay in a processor's caches


def _below(limit: Int[Tensor, "*size"], rng: torch.Generator) -> Int[Tensor, "*size"]:
    """One number 0, 1, ..., limit - 1 for each limit."""
    share = torch.rand(limit.shape, generator=rng, device=rng.device).to(limit.device)
    return share.double().mul_(limit).long()  # a single below 1 times a limit could round up to it


@dataclass(frozen=True, eq=False)
class Groups:
    """For each factor, the rows in an order that puts those of one value side by side, lone rows last.

    Attributes:
        order: row at each place.
        first: place at which the group of a place begins.
        size: how many rows that group has.
        shared: how many rows share their value with another; only these are drawn.
    """

    order: Int[Tensor, "f n"]
    first: Int[Tensor, "f n"]
    size: Int[Tensor, "f n"]
    shared: Int[Tensor, "f"]

    @classmethod
    def of(cls, labels: Int[Tensor, "f m"], rows: Int[Tensor, "n"] | None = None) -> "Groups":
        """The groups of a whole table, or of some of its rows."""
        part = labels if rows is None else labels[:, rows]
        size = torch.stack([label.bincount()[label] for label in part])
        key, order = (part + (size == 1) * (part.max() + 1)).sort(dim=1, stable=True)
        first, _ = runs(key)
        return cls(order if rows is None else rows[order], first, size.gather(1, order), (size > 1).sum(dim=1))

    def check(self, name: str, factors: Int[Tensor, "f"]) -> None:
        """Refuse a table from which nothing can be drawn for one of its factors, called by these numbers."""
        for factor, shared in zip(factors.tolist(), self.shared.tolist(), strict=True):
            if shared == 0:
                raise ValueError(
                    f"{name} was given {self.order.shape[1]} samples, no two of which have the same value of factor "
                    f"{factor}; give more samples, or join values"
                )

    def batches(self, count: int, batch: int, rng: torch.Generator) -> tuple[Int[Tensor, "k"], Int[Tensor, "k batch"]]:
        """A random factor each, and rows, drawn with replacement, that have a random row's value of it."""
        factor, start = self._factors(count, rng)
        place = start + _below(self.shared[factor], rng)
        inside = _below(self.size.take(place)[:, None].expand(-1, batch), rng)
        inside += (start + self.first.take(place))[:, None]
        return factor, _at(self.order, inside)

    def pairs(self, count: int, batch: int, rng: torch.Generator) -> tuple[Int[Tensor, "k"], Int[Tensor, "2 k batch"]]:
        """A random factor each, and pairs of different rows; the two of a pair have the same value of it."""
        factor, start = self._factors(count, rng)
        place = _below(self.shared[factor][:, None].expand(-1, batch), rng)
        one = place + start[:, None]
        other = _below(_at(self.size, one).sub_(1), rng)
        other += _at(self.first, one)
        other += other >= place  # the row itself is passed over
        return factor, torch.stack([_at(self.order, one), _at(self.order, other.add_(start[:, None]))])

    def _factors(self, count: int, rng: torch.Generator) -> tuple[Int[Tensor, "k"], Int[Tensor, "k"]]:
        """Random factors, and where their places begin when those of all factors are counted through."""
        factor = _below(torch.full((count,), len(self.order), device=self.order.device), rng)
        return factor, factor * self.order.shape[1]


def _at(table: Int[Tensor, "f n"], place: Int[Tensor, "k batch"]) -> Int[Tensor, "k batch"]:
    return table.flatten().index_select(0, place.flatten()).view_as(place)


def scored(
    draw: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]],
    score: Callable[[Tensor], Tensor],
    count: int,
    batch: int,
    rng: torch.Generator,
) -> tuple[Int[Tensor, "k"], Shaped[Tensor, "k ..."]]:
    """The factors that ``draw`` draws, `Groups.batches` or `pairs`, and what ``score`` makes of their rows."""
    most = max(1, AT_ONCE // batch)
    found = []
    for done in range(0, count, most):
        factor, rows = draw(min(most, count - done), batch, rng)
        found.append((factor, score(rows)))
    factors, scores = zip(*found, strict=True)
    return torch.cat(factors), torch.cat(scores)


def error_of_share(
    share: float,
    labels: Int[Tensor, "f n"],
    right: Callable[[Groups, int], Float[Tensor, ""]],
    votes: int,
    rng: torch.Generator,
) -> float | None:
    """Standard error of the share of votes that are right, for fresh votes and a fresh table.

    As many votes are drawn anew within tenths of the table. The tenths have no row in common, so their shares differ by
    the luck of the table too, that is by more than a share of so many independent votes would: the error is the
    binomial one, sqrt(share (1 - share) / votes), times that ratio. None where a tenth has nothing to draw.
    """
    shuffled = torch.randperm(labels.shape[1], generator=rng, device=rng.device).to(labels.device)
    tenths = [Groups.of(labels, rows) for rows in shuffled.chunk(PARTS)]
    if len(tenths) < PARTS or not all(groups.shared.all() for groups in tenths):
        return None
    each = math.ceil(votes / PARTS)
    shares = torch.stack([right(groups, each) for groups in tenths])
    mean, variance = shares.mean().item(), shares.var().item()
    independent = mean * (1 - mean) / each
    ratio = max(1.0, variance / independent) if independent > 0 else 1.0
    return math.sqrt(share * (1 - share) / votes * ratio)
