"""Random orthonormal directions, which every method should beat."""

from dataclasses import dataclass

import torch

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery
from orthogen.core.linalg import orthonormalize
from orthogen.core.rng import private
from orthogen.discovery._found import checked_count, found

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(Discovery):
    """Orthonormal directions, uniform among all such sets (Haar).

        Q = Gram-Schmidt of the rows of A,   A_ij ~ N(0, 1)

    The distribution of A does not change when the latent is rotated, so neither does that of Q: a baseline that knows
    nothing of the generator.

    Attributes:
        count: how many directions; as many as the latent has dimensions if None.

    Raises:
        ValueError: more directions than dimensions, or none.

    Reference:
        F. Mezzadri, "How to Generate Random Matrices from the Classical Compact Groups", Notices of the AMS 54, 2007
        (why the signs of the QR must be fixed).

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> Q = Random(count=3).fit(adapt(torch.nn.Identity(), Normal(5))).basis
        >>> bool(torch.allclose(Q @ Q.T, torch.eye(3), atol=1e-5))
        True
    """

    count: int | None = None

    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """``count`` random directions."""
        rng = private() if rng is None else rng
        dim = generator.latent.dim
        count = checked_count(self, self.count, dim)
        A = torch.randn(count, dim, generator=rng, device=rng.device, dtype=torch.float64)
        return found(self, generator, orthonormalize(A).float().cpu())
