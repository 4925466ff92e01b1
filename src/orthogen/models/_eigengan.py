"""The networks of EigenGAN, under the names of its released PyTorch code.

``levels`` are the channels at 4, 8, ... pixels, the image's own side included.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from orthogen.core.latent import Blocks, Normal
from orthogen.core.shapes import Float
from orthogen.layers.subspace import SubspaceLayer

__all__ = ["EigenCritic", "EigenGenerator", "layered"]

_SLOPE = 0.2  # of all LeakyReLUs


def layered(noise_dim: int, n_basis: int, layers: int) -> Blocks:
    """The latent: ``epsilon``, then the coordinates ``layer0``, ``layer1``, ... of each subspace; all standard normal.

    Example:
        >>> layered(512, 6, layers=2).slices
        {'epsilon': slice(0, 512, None), 'layer0': slice(512, 518, None), 'layer1': slice(518, 524, None)}
    """
    return Blocks({"epsilon": Normal(noise_dim), **{f"layer{i}": Normal(n_basis) for i in range(layers)}})


def _doubling(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)


class EigenBlock(nn.Module):
    """Twice the side: a point of the block's subspace is added before each of its two convolutions."""

    def __init__(self, before: int, after: int, side: int, n_basis: int) -> None:
        super().__init__()
        self.shape = (before, side, side)
        self.projection = SubspaceLayer(n_basis, before * side**2)
        self.subspace_conv1 = nn.Sequential(nn.ConvTranspose2d(before, before, 1))
        self.subspace_conv2 = nn.Sequential(_doubling(before, after))
        self.feature_conv1 = nn.Sequential(nn.LeakyReLU(_SLOPE), _doubling(before, after))
        self.feature_conv2 = nn.Sequential(nn.LeakyReLU(_SLOPE), nn.ConvTranspose2d(after, after, 3, padding=1))

    def forward(self, h: Float[Tensor, "batch c h w"], z: Float[Tensor, "batch n_basis"]) -> Float[Tensor, "batch ..."]:
        """The next level's maps."""
        phi = self.projection(z).unflatten(1, self.shape)
        h = self.feature_conv1(h + self.subspace_conv1(phi))
        return self.feature_conv2(h + self.subspace_conv2(phi))


class EigenGenerator(nn.Module):
    """Noise at 4 pixels, then a block for each doubling, with coordinates of its own.

    Attributes:
        latent: the blocks of its latents.
    """

    def __init__(self, noise_dim: int, n_basis: int, levels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.latent = layered(noise_dim, n_basis, layers=len(levels) - 1)
        self.fc = nn.Linear(noise_dim, 16 * levels[0])
        self.blocks = nn.ModuleList(
            EigenBlock(before, after, 4 * 2**i, n_basis) for i, (before, after) in enumerate(pairwise(levels))
        )
        painting = nn.Sequential(nn.LeakyReLU(_SLOPE), nn.Conv2d(levels[-1], channels, 7, padding=3))
        self.to_rgb = nn.Sequential(painting, nn.Tanh())

    @property
    def subspaces(self) -> list[SubspaceLayer]:
        """Those of its layers, from 4 pixels on."""
        return [part for part in self.modules() if isinstance(part, SubspaceLayer)]

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1]."""
        parts = self.latent.split(z)
        h = self.fc(parts["epsilon"]).unflatten(1, (-1, 4, 4))
        for i, block in enumerate(self.blocks):
            h = block(h, parts[f"layer{i}"])
        return self.to_rgb(h)


class EigenCritic(nn.Module):
    """Convolutions down to 4 pixels, two for each halving, then two linear layers; no norms."""

    def __init__(self, levels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_activated(nn.Conv2d(channels, levels[-1], 7, padding=3)))
        for before, after in pairwise(reversed(levels)):
            self.blocks.append(_activated(nn.Conv2d(before, before, 3, padding=1)))
            self.blocks.append(_activated(nn.Conv2d(before, after, 3, stride=2, padding=1)))
        last = levels[0]
        self.blocks.append(_activated(nn.Conv2d(last, last, 3, padding=1)))
        self.classifier = nn.Sequential(nn.Linear(16 * last, last), nn.LeakyReLU(_SLOPE), nn.Linear(last, 1))

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch 1"]:
        """Logits."""
        return self.classifier(self.blocks(images).flatten(1))


def _activated(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.LeakyReLU(_SLOPE))
