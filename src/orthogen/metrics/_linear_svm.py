"""Linear support vector machines on one input, for all inputs and classes at once, as liblinear defines them.

One class against the rest, squared hinge, the intercept penalized like the weight:

    least over w, b of  ( w² + b² ) / 2  +  sum_i  C_i max( 0, 1 - y_i (w x_i + b) )²

With one input, who is within the margin is a range of the sorted samples. Running sums of 1, x and x² give the loss and
its derivatives after a binary search: no step of Newton's method goes through the samples.

Letters: ``c`` inputs, ``f`` factors, ``k`` classes of all factors, ``n`` training samples, ``m`` test samples.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from orthogen.core.shapes import Float, Int

__all__ = ["fit", "predict"]

BLOCK = 32  # samples
STEPS = 100  # some ten are enough
HALVINGS = 40
CONVERGED = 1e-14  # of the loss, that a step can still take off


class Sums:
    """Sums of 1, x and x² over the samples below any cut: those of a class, and all others.

    Samples are sorted and cut into blocks. Sums over the blocks before a place are known for every class, and the rest
    is summed when it is asked for.
    """

    def __init__(self, x: Float[Tensor, "c n"], labels: list[Int[Tensor, "n"]], sizes: list[int]) -> None:
        c, n = x.shape
        self.x, order = x.sort(dim=1)
        powers = torch.stack([torch.ones_like(x), self.x, self.x.square()])
        self.whole = F.pad(powers.cumsum(dim=2), (1, 0))
        count = torch.tensor(sizes, device=x.device)
        self.factor = torch.arange(len(sizes), device=x.device).repeat_interleave(count)
        self.label = torch.cat([torch.arange(size, device=x.device) for size in sizes])
        after = torch.arange(n, device=x.device) // BLOCK + 1
        before = x.new_zeros(3, c, n // BLOCK + 2, sum(sizes))
        self.labels = torch.stack([F.pad(label.int()[order], (0, BLOCK), value=-1) for label in labels])
        for label, first in zip(self.labels, (count.cumsum(0) - count).tolist(), strict=True):
            cell = after * sum(sizes) + first + label[:, :n]
            before.flatten(2).scatter_add_(2, cell.expand(3, c, n), powers)
        self.before = before.cumsum_(dim=2)
        self.powers = F.pad(powers, (0, BLOCK))
        self.all = self._below(torch.full((c, sum(sizes)), n, device=x.device))

    def _below(self, place: Int[Tensor, "c k"]) -> tuple[Float[Tensor, "3 c k"], Float[Tensor, "3 c k"]]:
        block = place // BLOCK
        near = block[..., None] * BLOCK + torch.arange(BLOCK, device=place.device)
        row = torch.arange(len(place), device=place.device)[:, None]
        own = (self.labels[self.factor[:, None], row[..., None], near] == self.label[:, None]) & (
            near < place[..., None]
        )
        rest = (self.powers[:, row[..., None], near] * own).sum(dim=3)
        sums = self.before[:, row, block, torch.arange(place.shape[1], device=place.device)] + rest
        return sums, self.whole.gather(2, place.expand(3, -1, -1)) - sums

    def within(self, w: Float[Tensor, "c k"], b: Float[Tensor, "c k"]) -> Float[Tensor, "3 2 c k"]:
        """Sums over the samples within the margin: of the class, w x + b < 1, and of the others, w x + b > -1."""
        slope = torch.where(w == 0, 1e-300, w)
        rising = slope > 0
        own, _ = self._below(torch.searchsorted(self.x, (1 - b) / slope))
        _, others = self._below(torch.searchsorted(self.x, (-1 - b) / slope))
        own = torch.where(rising, own, self.all[0] - own)
        return torch.stack([own, torch.where(rising, self.all[1] - others, others)], dim=1)


def _loss(
    sums: Sums, weight: Float[Tensor, "2 1 k"], w: Float[Tensor, "c k"], b: Float[Tensor, "c k"]
) -> tuple[Float[Tensor, "c k"], Float[Tensor, "c k"], Float[Tensor, "c k"], Float[Tensor, "3 c k"]]:
    """The loss, its derivatives by w and b, and what the samples add to the second ones, halved: by b, both and w."""
    moments = weight * sums.within(w, b)
    sign = w.new_tensor([1.0, -1.0])[:, None, None]
    one, first, second = moments
    free = sign - b  # y minus the intercept
    value = (w * w + b * b) / 2 + (free * free * one - 2 * free * w * first + w * w * second).sum(dim=0)
    by_w = w + 2 * (w * second - free * first).sum(dim=0)
    by_b = b + 2 * (w * first - free * one).sum(dim=0)
    return value, by_w, by_b, moments.sum(dim=1)


def fit(
    x: Float[Tensor, "c n"], labels: list[Int[Tensor, "n"]], strength: float
) -> list[tuple[Float[Tensor, "c _"], Float[Tensor, "c _"]]]:
    """For each factor, the weight and intercept of each class, or of the second one where there are two.

    Args:
        x: inputs, float64.
        labels: classes for each factor, 0 up to their number, each of them present.
        strength: C; times n / (k n_class) for the samples of a class of k. Samples of all other classes count with C
            itself, unless they are a single class.
    """
    counts = [label.bincount().to(x) for label in labels]
    sizes = [len(count) for count in counts]
    own = [strength * x.shape[1] / (len(count) * count) for count in counts]
    others = [each.flip(0) if len(each) == 2 else torch.full_like(each, strength) for each in own]
    weight = torch.stack([torch.cat(own), torch.cat(others)])[:, None]
    sums = Sums(x, labels, sizes)

    w, b = x.new_zeros(2, len(x), sum(sizes))
    value, by_w, by_b, moments = _loss(sums, weight, w, b)
    for _ in range(STEPS):
        bb, wb, ww = 2 * moments
        determinant = (1 + ww) * (1 + bb) - wb * wb
        step_w = ((1 + bb) * by_w - wb * by_b) / determinant
        step_b = ((1 + ww) * by_b - wb * by_w) / determinant
        drop = by_w * step_w + by_b * step_b
        if not (drop > CONVERGED * value).any():
            break
        size = torch.ones_like(w)
        for _ in range(HALVINGS):
            found = _loss(sums, weight, w - size * step_w, b - size * step_b)
            short = found[0] > value - 0.1 * size * drop + CONVERGED * value
            if not short.any():
                break
            size = torch.where(short, size / 2, size)
        w, b = w - size * step_w, b - size * step_b
        value, by_w, by_b, moments = found
    return [
        (some_w[:, -1:], some_b[:, -1:]) if some_w.shape[1] == 2 else (some_w, some_b)
        for some_w, some_b in zip(w.split(sizes, dim=1), b.split(sizes, dim=1), strict=True)
    ]


def _ever_highest(w: Float[Tensor, "c k"], b: Float[Tensor, "c k"]) -> list[int]:
    """The classes whose w x + b is the highest anywhere, for any input; with a little to spare for rounding."""
    steeper, apart = w[:, None] - w[..., None], b[..., None] - b[:, None]  # of the class in dim 2 than that in dim 1
    meet = apart / steeper
    low = torch.where(steeper < 0, meet, -torch.inf).amax(dim=2)
    high = torch.where(steeper > 0, meet, torch.inf).amin(dim=2)
    below = ((steeper == 0) & (apart < 0)).any(dim=2)
    possible = (low <= high + 1e-9 * (low.abs() + high.abs())) & ~below
    return possible.any(dim=0).nonzero()[:, 0].tolist()


def predict(w: Float[Tensor, "c k"], b: Float[Tensor, "c k"], x: Float[Tensor, "c m"]) -> Int[Tensor, "c m"]:
    """The class of the highest w x + b, the first of equals; of two, the second one where it is above 0."""
    if w.shape[1] == 1:
        return (w * x + b > 0).long()
    best, found, better = torch.full_like(x, -torch.inf), torch.zeros_like(x), torch.empty_like(x)
    for k in _ever_highest(w, b):
        score = torch.addcmul(b[:, k : k + 1], w[:, k : k + 1], x)
        torch.maximum(found, torch.gt(score, best, out=better).mul_(k), out=found)
        torch.maximum(best, score, out=best)
    return found.long()
