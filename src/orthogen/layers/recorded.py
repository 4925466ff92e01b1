"""Statistics of a batch norm for several truncations of the latent."""

import math
from dataclasses import dataclass

from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["Recorded"]


@dataclass(frozen=True)
class Recorded:
    """Statistics recorded at ``steps`` truncations of the latent, evenly from 0 to 1, and used at one of them.

    Between two recorded truncations they are interpolated linearly.

    Attributes:
        steps: how many truncations.
        truncation: the one to use.

    Raises:
        ValueError: there are fewer than two steps, or the truncation is not within [0, 1].

    Example:
        >>> import torch
        >>> [Recorded(3, truncation).at(torch.tensor([[0.0], [1.0], [5.0]])).item() for truncation in (0.5, 0.75, 1.0)]
        [1.0, 3.0, 5.0]
    """

    steps: int
    truncation: float

    def __post_init__(self) -> None:
        if self.steps < 2 or not 0 <= self.truncation <= 1:
            raise ValueError(f"{self}: give two steps at least and a truncation from 0 to 1")

    def at(self, values: Float[Tensor, "steps channels"]) -> Float[Tensor, "channels"]:
        """What is recorded, at the truncation."""
        place = self.truncation * (self.steps - 1)
        nearest = round(place)
        if abs(place - nearest) < 1e-9:  # recorded, but for rounding: 0.58 x 50 is 28.999...
            return values[nearest]
        below = math.floor(place)
        return values[below].lerp(values[below + 1], place - below)
