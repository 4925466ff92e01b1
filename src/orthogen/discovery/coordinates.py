"""The latent's own axes, as directions."""

from dataclasses import dataclass

import torch

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery
from orthogen.discovery._found import found

__all__ = ["Coordinates"]


@dataclass(frozen=True)
class Coordinates(Discovery):
    """The axes of the latent space: what a generator that was trained to be disentangled has to offer.

        Q = I

    There is nothing to set and nothing is drawn.

    Reference:
        The released tool of Peebles et al., "The Hessian Penalty", ECCV 2020, starts from these as ``coords``.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> Coordinates().fit(adapt(torch.nn.Identity(), Normal(2))).basis
        tensor([[1., 0.],
                [0., 1.]])
    """

    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """As many directions as the latent has dimensions."""
        basis = torch.eye(generator.latent.dim)
        return found(self, generator, basis)
