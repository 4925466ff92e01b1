"""Interventional robustness: does a code stay where it is while everything but its factor changes?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._codes import bins, checked, deviation, varied

__all__ = ["Irs"]

CITATION = """\\
@inproceedings{suter2019robustly,
  title     = {Robustly Disentangled Causal Mechanisms: Validating Deep Representations for Interventional Robustness},
  author    = {Suter, Raphael and Miladinovic, Djordje and Sch{\\"o}lkopf, Bernhard and Bauer, Stefan},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2019}
}
"""

PARTS = 10
AT_ONCE = 2**23  # numbers; a table of many codes is gone through some codes at a time


def _sums(values: Float[Tensor, "c n"], part: Int[Tensor, "n"], labels: Int[Tensor, "n"]) -> Float[Tensor, "r c v"]:
    """Sums over the rows of each label: of the whole table, then without each of its parts."""
    width = int(labels.max()) + 1
    cell = (part * width + labels).expand_as(values)
    sums = values.new_zeros(len(values), PARTS * width).scatter_add(1, cell, values).unflatten(1, (PARTS, width))
    return torch.cat([sums.sum(dim=1, keepdim=True), sums.sum(dim=1, keepdim=True) - sums], dim=1).transpose(0, 1)


def _farthest(codes: Float[Tensor, "c n"], part: Int[Tensor, "n"]) -> Float[Tensor, "r c"]:
    """Each code's largest distance from its mean: on the whole table, then without each of its parts."""
    low, high = (
        codes.new_full((len(codes), PARTS), empty).scatter_reduce(1, part.expand_as(codes), codes, how)
        for how, empty in (("amin", math.inf), ("amax", -math.inf))
    )
    everything = torch.zeros_like(part)
    mean = (_sums(codes, part, everything) / _sums(torch.ones_like(codes), part, everything))[..., 0]
    own = torch.cat([torch.zeros(1, PARTS), torch.eye(PARTS)]).bool().to(codes.device)[:, None]
    highest = high.masked_fill(own, -math.inf).amax(dim=2)
    return torch.maximum(highest - mean, mean - low.masked_fill(own, math.inf).amin(dim=2))


def _within(
    codes: Float[Tensor, "c n"], part: Int[Tensor, "n"], labels: Int[Tensor, "n"], quantile: float
) -> Float[Tensor, "r c"]:
    """The quantile of each code's distance from the mean of its level, averaged over levels; tables as above."""
    by_level, count = labels.argsort(), labels.bincount()
    place = torch.arange(int(count.max()), device=codes.device)
    inside = place < count[:, None]
    rows = by_level[(count.cumsum(0) - count)[:, None] + torch.where(inside, place, 0)]  # (level, widest level)
    size = _sums(torch.ones_like(codes[:1]), part, labels)
    mean = _sums(codes, part, labels) / size.clamp_min(1)

    # a quantile depends on the farthest samples alone, whatever the mean; these, from both ends, are enough also when
    # a part, a tenth, is taken away
    many = min(len(place), math.ceil(1.25 * (1 - quantile) * len(place)) + 8)
    x = codes.index_select(1, rows.flatten()).unflatten(1, rows.shape)
    high = x.masked_fill(~inside, -math.inf).topk(many, dim=2)
    low = x.masked_fill_(~inside, math.inf).scatter_(2, high.indices, math.inf).topk(many, dim=2, largest=False)
    far = torch.cat([high.values, low.values], dim=2)
    owner = part[rows].expand_as(x).gather(2, torch.cat([high.indices, low.indices], dim=2))
    gone = (owner == torch.arange(-1, PARTS, device=codes.device)[:, None, None, None]) | far.isinf()
    distance = (far - mean[..., None]).abs_().masked_fill_(gone, -1.0).sort(dim=3, descending=True).values

    position = (1 - quantile) * (size - 1).clamp_min(0)
    above = position.floor().long().expand_as(mean)[..., None]
    a, b = (distance.gather(3, at.clamp_max(2 * many - 1))[..., 0] for at in (above, above + 1))
    found = torch.where(size > 0, a + (b - a) * position.frac(), 0.0)
    return found.sum(dim=2) / (size > 0).sum(dim=2)


@dataclass(frozen=True)
class Irs(CodeMetric):
    """Interventional robustness score: how little a code moves while all factors but the one it follows best change.

        IRS_c = max over factors f of  1 - D_cf / max_x | z_c(x) - mean z_c |
        D_cf  = mean over levels v of f of the quantile of | z_c - mean of z_c at v | over the samples at v

    and the score is the mean of IRS_c over codes, weighted by the largest distance in the denominator. 1: each code is
    fixed by one factor, whatever the others do; 0, or slightly less: knowing a factor pins down nothing. Constant codes
    are dropped; where all are constant the score is 0.

    The standard error is the delete-a-tenth jackknife over samples; None for fewer than ten. Factors that (almost)
    never vary are left out and named in the protocol; where none varies the score is 0.

    Attributes:
        quantile: of the distances at a level; 1 is the paper's maximum.
        bins: a factor of more values is cut into so many equal bins of neighboring values.
        least_entropy: nats; a factor of less entropy in the sample counts as not varied.

    Raises:
        ValueError: fewer than two samples, no factor, codes that are not finite, or a field out of range.

    Reference:
        Suter et al., "Robustly Disentangled Causal Mechanisms", ICML 2019, section 4; quantile and bins as released
        with Locatello et al., "Challenging Common Assumptions", ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5))
        >>> Irs()(factors.double(), factors).value
        1.0
    """

    quantile: float = 0.99
    bins: int = 20
    least_entropy: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1 or self.bins < 2 or not 0 <= self.least_entropy < math.inf:
            raise ValueError(
                f"Irs(quantile={self.quantile}, bins={self.bins}, least_entropy={self.least_entropy}): give a quantile "
                "in (0, 1], at least 2 bins and a least entropy of 0 or more"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The robustness of ``codes``; draws the tenths of the standard error."""
        rng = randomness.private() if rng is None else rng
        table, labels = checked("Irs", codes, factors, least_factors=1)
        moves, alive = varied(labels, self.least_entropy), deviation(table) > 0
        count, kept, used = table.shape[1], moves.nonzero()[:, 0], alive.nonzero()[:, 0].tolist()
        value = 0.0
        stderr: float | None = 0.0
        each: list[float | None] = [None] * count
        follows: list[int | None] = [None] * count
        if len(kept) and used:
            z = table[:, alive].T.contiguous()
            part = (torch.randperm(len(table), generator=rng, device=rng.device) % PARTS).to(z.device)
            cut = bins(labels[kept].T.to(z), self.bins)  # of renumbered values: how far apart ids are says nothing
            levels = [label.unique(return_inverse=True)[1] for label in cut]
            within = torch.stack([self._all_codes(z, part, level) for level in levels], dim=2)  # (r, c, f)
            best, which = within.min(dim=2)
            largest = _farthest(z, part)
            total = largest.sum(dim=1)  # 0 where all that varied was in the part that is left out
            scores = torch.where(total > 0, 1 - best.sum(dim=1) / total, 0.0)
            value, without = scores[0].item(), scores[1:]
            stderr = ((PARTS - 1) * without.var(correction=0)).sqrt().item() if len(table) >= PARTS else None
            for code, own, factor in zip(used, (1 - best / largest)[0].tolist(), kept[which[0]].tolist(), strict=True):
                each[code], follows[code] = own, factor
        return Score(
            value,
            stderr=stderr,
            n=len(table),
            name="IRS",
            protocol={
                "quantile": self.quantile,
                "bins": self.bins,
                "least_entropy": self.least_entropy,
                "factors_not_varied": (~moves).nonzero()[:, 0].tolist(),
                "stderr": "delete-a-tenth jackknife over samples",
            },
            parts={"robustness": each, "best_factor": follows, "varying_codes": len(used)},
        )

    def _all_codes(
        self, z: Float[Tensor, "c n"], part: Int[Tensor, "n"], labels: Int[Tensor, "n"]
    ) -> Float[Tensor, "r c"]:
        widest = labels.bincount()
        some = max(1, AT_ONCE // (len(widest) * int(widest.max())))
        return torch.cat([_within(few, part, labels, self.quantile) for few in z.split(some)], dim=1)
