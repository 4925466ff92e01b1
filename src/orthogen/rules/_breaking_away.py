"""Which classes break away from the others, of numbers that each has at several places."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["Break", "BreakingAway"]

_FACTOR, _SPREADS, _GROWTH = 2.0, 5.0, 1.1  # a class beyond these has broken away
_NORMAL = 1.4826  # standard deviations in a median absolute deviation


class Break(NamedTuple):
    """A class has broken away.

    Attributes:
        label: which.
        place: where most.
        factor: how many times the median over classes it has there.
    """

    label: int
    place: int
    factor: float


class BreakingAway(nn.Module):
    """Judges rows of numbers, a column for each class, one time after another; what it remembers is in buffers.

    A class has broken away where at some place its number

        x > 2 m,   x > m + 5 s,   and   x / m is 1.1 times the least that it ever was

    with m the median over classes and s 1.48 times the median of |x - m|. Where m is 0 nothing is judged.

    Example:
        >>> judge, even = BreakingAway(1, 5), torch.ones(1, 5)
        >>> judge(even), judge(even * torch.tensor([1, 1, 1, 1, 3]))
        ([], [Break(label=4, place=0, factor=3.0)])
        >>> judge(even * torch.tensor([1, 1, 1, 1, 9])), judge.away
        ([], tensor([False, False, False, False,  True]))
    """

    away: Tensor
    least: Tensor

    def __init__(self, places: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("away", torch.zeros(classes, dtype=torch.bool))
        # how many times the median each was, at least; beyond all numbers before there is one
        beyond = torch.finfo(torch.float64).max
        self.register_buffer("least", torch.full((places, classes), beyond, dtype=torch.float64))

    @property
    def begun(self) -> bool:
        """Whether anything was judged yet."""
        return bool((self.least < torch.finfo(torch.float64).max).any())

    def forward(self, x: Float[Tensor, "places classes"]) -> list[Break]:
        """The classes that have broken away since the last time; they are told once."""
        x = x.to(self.least)
        m = x.quantile(0.5, dim=1, keepdim=True)
        s = _NORMAL * (x - m).abs().quantile(0.5, dim=1, keepdim=True)
        # where half of them are 0, none has anything to break from
        times = torch.where(m > 0, x / m, torch.finfo(torch.float64).max)
        torch.minimum(times, self.least, out=self.least)
        out = (m > 0) & (x > _FACTOR * m) & (x > m + _SPREADS * s) & (times > _GROWTH * self.least)
        new = out.any(0) & ~self.away
        self.away |= new
        found = []
        for label in new.nonzero().flatten().tolist():
            place = int(torch.where(out[:, label], times[:, label], 0.0).argmax())
            found.append(Break(label, place, times[place, label].item()))
        return found
