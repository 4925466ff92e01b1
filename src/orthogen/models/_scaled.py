"""A latent times a number."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.latent import Latent
from orthogen.core.shapes import Float

__all__ = ["Scaled"]


@dataclass(frozen=True)
class Scaled(Latent):
    """Samples of another latent, times a factor.

    Example:
        >>> from orthogen.core.latent import TruncatedNormal
        >>> Scaled(TruncatedNormal(3, bound=2.0), 0.4).span
        (-0.8, 0.8)
    """

    latent: Latent
    factor: float

    @property
    def dim(self) -> int:  # type: ignore[override]
        """That of the other latent."""
        return self.latent.dim

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` samples."""
        return self.factor * self.latent.draw(n, rng)

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """The other latent's, times the factor."""
        return abs(self.factor) * self.latent.spread(rows)

    @property
    def span(self) -> tuple[float, float]:
        """The other latent's, times the factor."""
        low, high = self.latent.span
        return (self.factor * low, self.factor * high)
