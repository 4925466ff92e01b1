"""Balls around feature vectors that reach to their k-th neighbor, and who lies in them; in blocks of distances.

Memory grows with the number of images, never with its square. Distances are squared, by one matrix product per block.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.progress import track
from orthogen.core.shapes import Bool, Float, Int

__all__ = ["Inside", "centered", "distances", "inside", "radii"]

ENTRIES = 2**23  # distances held at once


def centered(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Both moved by the mean of the first, which keeps small distances precise."""
    center = x.mean(dim=0)
    return x - center, y - center


def distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Iterator[tuple[slice, Float[Tensor, "b m"]]]:
    """Squared distances of some rows of ``x`` at a time to all of ``y``, with these rows."""
    rows = max(1, ENTRIES // len(y))
    starts = range(0, len(x), rows)
    norms = y.square().sum(dim=1)
    for start in track(starts, "distances of features") if len(starts) > 1 else starts:
        part = x[start : start + rows]
        squared = torch.addmm(norms, part, y.T, alpha=-2).add_(part.square().sum(dim=1, keepdim=True))
        yield slice(start, start + len(part)), squared.clamp_min_(0)


def radii(x: Float[Tensor, "n d"], k: int) -> Float[Tensor, "n"]:
    """The squared distance of each vector to its k-th neighbor, itself not counted."""
    return torch.cat([block.topk(k + 1, dim=1, largest=False).values[:, -1] for _, block in distances(x, x)])


@dataclass(frozen=True)
class Inside:
    """Who lies strictly inside of whose ball.

    Attributes:
        balls: for each y, how many balls around x it lies in.
        holds: for each x, whether its ball holds a y.
        held: for each x, whether it lies in a ball around y.
    """

    balls: Int[Tensor, "m"]
    holds: Bool[Tensor, "n"]
    held: Bool[Tensor, "n"]


def inside(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], k: int) -> Inside:
    """Balls of both sets that reach to the k-th neighbor within the set, in one pass over distances between them."""
    x, y = centered(x, y)
    around_x, around_y = radii(x, k), radii(y, k)
    balls = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    holds, held = [], []
    for rows, block in distances(x, y):
        near = block < around_x[rows, None]
        balls += near.sum(dim=0)
        holds.append(near.any(dim=1))
        held.append((block < around_y).any(dim=1))
    return Inside(balls, torch.cat(holds), torch.cat(held))
