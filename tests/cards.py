"""A generator that shows its latent and class, and blank images of any shape."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator, adapt
from orthogen.core.kinds import ImageSet
from orthogen.core.latent import Normal

__all__ = ["Cards", "labeled"]


@dataclass
class Cards(ImageSet):
    """One blank image."""

    channels: int = 1
    resolution: int = 8

    def __len__(self) -> int:
        return 1

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return torch.zeros(len(index), self.channels, self.resolution, self.resolution, dtype=torch.uint8)


class _Card(nn.Module):
    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return (z.sum(1) + label).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def labeled(classes: int, dim: int = 6) -> Generator:
    """Shows latents and class as one gray, 8 pixels to a side."""
    return adapt(_Card(), Normal(dim), classes=classes)
