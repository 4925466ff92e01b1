"""The truncation trick: normal latents without their tails."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.latent import Latent
from orthogen.core.shapes import Float

__all__ = ["TruncatedNormal"]


@dataclass(frozen=True)
class TruncatedNormal(Latent):
    """Standard normal latents under the condition that no component is beyond a bound.

        z_i = Φ^-1(u_i),   u_i ~ U(Φ(-bound), Φ(bound)),   Φ = the normal distribution function

    Drawing again whatever falls outside, as the paper says it, gives the same distribution.

    Attributes:
        dim: how many components.
        bound: largest absolute value.

    Raises:
        ValueError: there is no dimension, or the bound is not positive.

    Reference:
        A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        ICLR 2019, section 3.1.

    Example:
        >>> z = TruncatedNormal(3, bound=0.5).sample(100, rng=torch.Generator().manual_seed(0))
        >>> bool((z.abs() <= 0.5).all()), bool(z.abs().max() > 0.45)
        (True, True)
    """

    dim: int = 120
    bound: float = 2.0

    def __post_init__(self) -> None:
        if self.dim < 1 or not self.bound > 0:
            raise ValueError(f"{self}: give at least one dimension and a positive bound")

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` truncated normal samples."""
        tail = 0.5 * math.erfc(self.bound / math.sqrt(2))
        u = torch.rand(n, self.dim, generator=rng, device=rng.device, dtype=torch.float64)
        z = torch.special.ndtri(tail + (1 - 2 * tail) * u)
        return z.clamp(-self.bound, self.bound).float()

    @property
    def span(self) -> tuple[float, float]:
        """Two standard deviations of the normal to either side, or to the bounds."""
        reach = min(2.0, self.bound)
        return (-reach, reach)
