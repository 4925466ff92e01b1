"""Which sprites look alike: squares every quarter turn, ellipses every half; orientations 0 and 39 are one image."""

import torch
from torch import Tensor

from orthogen.core.shapes import Bool, Int

__all__ = ["TURN", "canonical", "same_sprite"]

TURN = 39  # orientation steps in a full turn: the last of the 40 values repeats the first
PERIODS = (TURN / 4, TURN / 2, TURN / 1)  # after which a square, an ellipse, a heart looks the same, in steps


def same_sprite(a: Int[Tensor, "*n 5"], b: Int[Tensor, "*n 5"]) -> Bool[Tensor, "*n 5"]:
    """Equality, but orientations agree within half a step (4.6 degrees) up to the symmetry of the shape in ``b``.

    Example:
        >>> square, turned = torch.tensor([[0, 5, 0, 8, 8]]), torch.tensor([[0, 5, 39, 8, 8]])
        >>> same_sprite(square, turned).all().item()
        True
    """
    equal = a == b
    period = torch.tensor(PERIODS, device=b.device)[b[..., 0]]
    apart = (a[..., 2] - b[..., 2]).remainder(period)
    equal[..., 2] = torch.minimum(apart, period - apart) <= 0.5
    return equal


def canonical(factors: Int[Tensor, "n 5"]) -> Int[Tensor, "n 5"]:
    """The same factors with the orientation in the shape's first period: 0-9 for squares, 0-19 for ellipses, 0-38.

    Score orientation on these classes: a quarter turn is 9.75 steps, so they are within half a step of the truth.

    Example:
        >>> canonical(torch.tensor([[0, 5, 10, 8, 8]]))[0, 2].item()
        0
    """
    period = torch.tensor(PERIODS, device=factors.device)[factors[:, 0]]
    nearest = (factors[:, 2].remainder(period) + 0.5).floor()
    result = factors.clone()
    result[:, 2] = torch.where(nearest > period - 0.5, 0, nearest).long()
    return result
