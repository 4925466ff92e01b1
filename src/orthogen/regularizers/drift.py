"""Drift: the critic's logits for real images stay near zero."""

from dataclasses import dataclass

import torch
from torch import nn

from orthogen.core.kinds import CriticBatch, CriticPenalty
from orthogen.core.shapes import Float

__all__ = ["Drift"]


@dataclass(frozen=True)
class Drift(CriticPenalty):
    """What keeps a Wasserstein critic, whose loss sees differences alone, from wandering off.

        L = E D(real)^2

    The paper's weight is 0.001: ``Term(Drift(), weight=1e-3)``, beside `GradientPenalty`.

    Reference:
        T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and
        Variation", ICLR 2018, appendix A.1.

    Example:
        >>> logits = torch.tensor([[1.0], [3.0]])
        >>> images = torch.zeros(2, 3, 4, 4)
        >>> Drift()(nn.Identity(), CriticBatch(images, images, logits, logits)).item()
        5.0
    """

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[torch.Tensor, ""]:
        """A scalar to add to the critic's loss."""
        return batch.real_logits.square().mean()
