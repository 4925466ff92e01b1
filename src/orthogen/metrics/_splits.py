"""The best splits of many tree nodes at once, over all thresholds of all codes.

Found in two steps, exactly but for a millionth of a tree's error: sums over some hundred bins of each code give the
gain of splitting at the bins' edges, and a bound on what splitting inside a bin can gain; the few bins that can hold
the best are then looked into sample by sample.

Letters: ``t`` trees, ``k`` nodes of a level, ``r`` both in one, ``n`` samples, ``c`` codes, ``w`` bins.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from orthogen.core.shapes import Float, Int

__all__ = ["Sorted", "Split", "best_split"]

BINS = 256  # about as many as make the two steps equally long for ten thousand samples
CACHE = 1 << 18  # numbers that a processor core keeps at hand: rows are summed in groups of so many
TIED = 1e-5  # gains that differ by less of themselves differ by rounding
NOTHING = 1e-6  # of a tree's squared error; a node with no more left to gain is not looked into


class Sorted:
    """Samples sorted by each code, and cut into bins: one value however often it comes, or at most n / BINS samples.

    Attributes:
        values: the different values of each code, ascending.
        rank: of each sample's value among them, as whole numbers.
        order: of the samples.
        last: whether, in this order, a sample is the last one of its value.
        edge: where in this order the bins begin, and where the last one ends; codes of few bins have empty ones.
        top: the greatest rank in each bin.
        several: whether a bin holds different values.
    """

    def __init__(self, codes: Float[Tensor, "c n"]) -> None:
        ascending, self.order = codes.sort(dim=1, stable=True)
        c, n = codes.shape
        place = torch.arange(n, device=codes.device)
        differs = ascending[:, 1:] > ascending[:, :-1]
        first, self.last = F.pad(differs, (1, 0), value=True), F.pad(differs, (0, 1), value=True)
        rank = first.long().cumsum(dim=1) - 1
        self.values = ascending.new_zeros(c, int(rank.max()) + 1).scatter_(1, rank, ascending)
        self.rank = torch.empty(c, n, device=codes.device).scatter_(1, self.order, rank.float())

        begins = torch.where(first, place, 0).cummax(dim=1).values  # of the samples of the same value
        ends = torch.where(self.last, place, n).flip(1).cummin(dim=1).values.flip(1)
        share = torch.stack([begins, ends]) * BINS // n
        apart = (share[..., 1:] != share[..., :-1]).any(dim=0)
        bin = F.pad(apart, (1, 0), value=True).long().cumsum(dim=1) - 1
        self.edge = torch.searchsorted(bin, torch.arange(int(bin.max()) + 2, device=codes.device).repeat(c, 1))
        self.top = rank.gather(1, self.edge[:, 1:] - 1)
        self.several = self.top > rank.gather(1, self.edge[:, :-1].clamp_max(n - 1))

    def sums(self, *columns: Float[Tensor, "n _"]) -> Float[Tensor, "_ c w"]:
        """The sum of each column over each bin."""
        c, n = self.order.shape
        starts = self.edge[:, :-1] + torch.arange(0, c * n, n, device=self.edge.device)[:, None]
        order, flat = self.order.flatten(), starts.flatten()
        sums = [F.embedding_bag(order, some, flat, mode="sum").T for some in columns]
        return torch.cat(sums).unflatten(1, starts.shape)


@dataclass(frozen=True)
class Split:
    """Splits of nodes: right goes what is above the threshold. A node that cannot be split goes to one side whole.

    Attributes:
        code: on which to split; the first of those that are equally good.
        threshold: halfway between the node's samples on either side; infinite where a side is empty.
        right: 1 for samples of the node that go right, else 0.
        gain: what the split takes off the squared error; codes that are equally good share it.
    """

    code: Int[Tensor, "t k"]
    threshold: Float[Tensor, "t k"]
    right: Float[Tensor, "t k n"]
    gain: Float[Tensor, "c t k"]


def _inside(
    codes: Sorted,
    where: tuple[Int[Tensor, "b"], Int[Tensor, "b"], Int[Tensor, "b"]],
    before: Float[Tensor, "b"],
    n_before: Float[Tensor, "b"],
    rows: Float[Tensor, "r n"],
    members: Float[Tensor, "r n"],
    n: Float[Tensor, "r"],
) -> tuple[Float[Tensor, "b"], Int[Tensor, "b"]]:
    """The best gain inside each of some bins, sample by sample, and its rank."""
    row, code, bin = where
    start, end = codes.edge[code, bin], codes.edge[code, bin + 1]
    place = start[:, None] + torch.arange(int((end - start).max()), device=row.device)
    at = torch.minimum(place, end[:, None] - 1) + code[:, None] * codes.order.shape[1]
    sample = codes.order.flatten()[at]
    valid = codes.last.flatten()[at] & (place < end[:, None])
    of = sample + row[:, None] * rows.shape[1]
    left = before[:, None] + rows.flatten()[of].cumsum(dim=1)
    n_left = n_before[:, None] + members.flatten()[of].cumsum(dim=1)
    n = n[row, None]
    gain = left.square() / torch.maximum(n_left * (n - n_left), (n - 1).clamp_min(1))
    best, i = torch.where(valid, gain, -1.0).max(dim=1, keepdim=True)
    return best[:, 0], codes.rank[code, sample.gather(1, i)[:, 0]].long()


def _search(
    codes: Sorted, rows: Float[Tensor, "r n"], members: Float[Tensor, "r n"], n: Float[Tensor, "r"], nodes: int
) -> tuple[Float[Tensor, "r c"], Int[Tensor, "r c"]]:
    """The greatest gain by each code, divided by the node's count, and the rank of the last value to go left."""
    some = max(1, CACHE // rows.shape[1])
    columns, others = ([part.T.contiguous() for part in x.split(some)] for x in (rows, members))
    sums, sizes, counts = codes.sums(*columns, *(part.abs() for part in columns), *others).split(len(rows))
    left, n_left = sums.cumsum(dim=2), counts.cumsum(dim=2)
    # where a side is empty, the sum is 0 but for rounding; to divide it by the least product of two sides keeps it so
    least = (n - 1).clamp_min(1)[:, None, None]
    weight = torch.maximum(n_left * (n[:, None, None] - n_left), least)
    best, at = left.square().div_(weight).max(dim=2)
    rank = codes.top.expand(len(rows), -1, -1).gather(2, at[..., None])[..., 0]

    # inside a bin the sum leaves the range between its edges by no more than what goes to and fro
    error = torch.linalg.vector_norm(rows, dim=1).square()
    goal = best.amax(dim=1) * (1 - TIED)
    tree = error.view(-1, nodes).sum(dim=1).repeat_interleave(nodes)
    goal = torch.where(error - goal * n > NOTHING * tree, goal, torch.inf)
    before = left - sums
    reach = torch.maximum(left.abs(), before.abs()).add_(sizes.sub_(sums.abs_()), alpha=0.5)
    weight = torch.minimum(weight, torch.cat([least.expand(-1, len(codes.edge), -1), weight[..., :-1]], dim=2))
    hit = (reach.square_().div_(weight) >= goal[:, None, None]).logical_and_(codes.several)
    row, code, bin = where = hit.nonzero(as_tuple=True)
    if len(row):
        n_before = n_left[where] - counts[where]
        gain, its_rank = _inside(codes, (row, code, bin), before[where], n_before, rows, members, n)
        flat = row * best.shape[1] + code
        best = best.flatten().scatter_reduce_(0, flat, gain, "amax")
        won = gain >= best[flat]
        rank = rank.flatten().scatter_(0, flat[won], its_rank[won]).unflatten(0, (len(rows), -1))
        best = best.view_as(rank)
    return best, rank


def best_split(
    codes: Sorted, centered: Float[Tensor, "t k n"], member: Float[Tensor, "t k n"], n: Float[Tensor, "t k"]
) -> Split:
    """The split of each node that takes most off its squared error.

    Args:
        codes: what to split on.
        centered: residuals less their node's mean, 0 for samples that are not in the node.
        member: 1 for samples of the node, else 0.
        n: how many they are.
    """
    gain, rank = _search(codes, centered.flatten(0, 1), member.flatten(0, 1), n.flatten(), n.shape[1])
    best = gain.amax(dim=1, keepdim=True)
    tied = gain >= best * (1 - TIED)
    shared = (tied * (best / tied.sum(dim=1, keepdim=True))).T.unflatten(1, n.shape) * n
    code = tied.byte().argmax(dim=1, keepdim=True)
    last = rank.gather(1, code).view_as(n)
    code = code.view_as(last)

    above = codes.rank[code].sub_(last[..., None])  # how far above the cut: whole numbers, 0 and less to the left
    right = above.clamp(0, 1).mul_(member)
    # one over it, and 0 outside of the node, has its extremes at the samples next to the cut
    near = above.sub_(0.5).reciprocal_().mul_(member)
    least, most = near.amin(dim=2), near.amax(dim=2)
    low, high = (
        codes.values[code, (last + 0.5 + 1 / x).round().clamp(0, codes.values.shape[1] - 1).long()]
        for x in (torch.where(least < 0, least, -1.0), torch.where(most > 0, most, 1.0))
    )
    threshold = torch.where(most > 0, (low + high) / 2, torch.inf)
    threshold = torch.where(least < 0, threshold, -torch.inf)
    return Split(code, threshold, right, torch.where(threshold.isfinite(), shared, 0.0))
