"""The networks of `ProGan`: a generator and a critic that grow from 4 pixels to their full resolution.

Where they are on the way is one number, the buffer ``lod``: 0 at full resolution, n at 4 pixels; whole while a
resolution is trained, fractional while the next one is faded in. Images have the full resolution throughout: while the
networks are smaller, the generator repeats pixels and the critic averages them.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.box import cross_fade, down_conv2d, enlarge, shrink, up_conv2d
from orthogen.layers.equalized import EqualizedConv2d, EqualizedLinear
from orthogen.layers.minibatch_stddev import MinibatchStddev
from orthogen.layers.pixel_norm import PixelNorm

__all__ = ["Growing", "ProGanCritic", "ProGanGenerator"]

_HE = math.sqrt(2)


def _active(conv: nn.Module, **more: nn.Module) -> nn.Sequential:
    """A layer with its activation: ``conv``, whose output is what its bias gives, ``activation``, and what follows."""
    return nn.Sequential(OrderedDict(conv=conv, activation=nn.LeakyReLU(0.2), **more))


class Dense(nn.Module):
    """The latent to 4 x 4 pixels: an equalized linear layer with one bias per channel.

    Its gain is sqrt(2) / 4, as if it were a convolution that reads the latent at 16 places.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16 * channels, dim))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch channels 4 4"]:
        """Feature maps."""
        scale = _HE / 4 / math.sqrt(self.weight.shape[1])
        return F.linear(z, self.weight * scale).unflatten(1, (-1, 4, 4)) + self.bias[:, None, None]


class GeneratorBlock(nn.Module):
    """One resolution: two layers, each with its activation and pixel norm, and a convolution to the image."""

    def __init__(self, conv0: nn.Module, channels: int, colors: int) -> None:
        super().__init__()
        self.conv0 = conv0
        self.conv1 = _active(EqualizedConv2d(channels, channels, 3), norm=PixelNorm())
        self.torgb = EqualizedConv2d(channels, colors, 1, gain=1.0)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch c h w"]:
        """Feature maps at this resolution, from those of the one before (from the latent at 4 pixels)."""
        return self.conv1(self.conv0(x))


class CriticBlock(nn.Module):
    """One resolution: a convolution from the image, and two layers, of which the second halves the side."""

    def __init__(self, colors: int, before: int, after: int) -> None:
        super().__init__()
        self.fromrgb = _active(EqualizedConv2d(colors, before, 1))
        self.conv0 = _active(EqualizedConv2d(before, before, 3))
        self.conv1 = _active(EqualizedConv2d(before, after, 3, convolve=down_conv2d))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
        """Feature maps at half the resolution."""
        return self.conv1(self.conv0(x))


class CriticEnd(nn.Module):
    """4 x 4 pixels to one logit: minibatch standard deviation, a convolution, and two linear layers."""

    def __init__(self, colors: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.fromrgb = _active(EqualizedConv2d(colors, channels, 1))
        self.stddev = MinibatchStddev()
        self.conv = _active(EqualizedConv2d(channels + 1, channels, 3))
        self.dense0 = _active(EqualizedLinear(16 * channels, hidden, gain=_HE))
        self.dense1 = EqualizedLinear(hidden, 1)

    def forward(self, x: Float[Tensor, "batch c 4 4"]) -> Float[Tensor, "batch 1"]:
        """Logits."""
        return self.dense1(self.dense0(self.conv(self.stddev(x)).flatten(1)))


class Growing(nn.Module):
    """Blocks ``b4``, ``b8``, ..., of which those at the current level take part.

    Attributes:
        lod: how many times the full side is halved; see the top of this file. It is read from the device when it has
            changed, and not in every pass, which would wait for it.
        level: the highest of the blocks that take part, from 0 at 4 pixels, as of the last pass or growth.
        fading: whether the block below it is in the image, too.
    """

    lod: Tensor
    level: int
    fading: bool

    def __init__(self, sides: tuple[int, ...]) -> None:
        super().__init__()
        self.sides = sides
        self.register_buffer("lod", torch.zeros(()))
        self.level, self.fading = len(sides) - 1, False
        self._read: tuple[Tensor, int, int, float] | None = None  # the buffer, its version, whose, and what was in it

    def block(self, level: int) -> Any:
        """The block of 4·2^level pixels."""
        return self.get_submodule(f"b{self.sides[level]}")

    def grow(self, lod: float) -> None:
        """Go to a level of detail.

        Raises:
            ValueError: there is no such lod.
        """
        self.lod.fill_(lod)
        self.progress()

    def progress(self) -> tuple[int, float]:
        """The highest level that takes part, and the share of the level below in the image.

        Raises:
            ValueError: there is no such lod.
        """
        lod, highest = self._lod(), len(self.sides) - 1
        if not 0 <= lod <= highest:
            raise ValueError(f"lod is {lod:g}; this network has 0 ({self.sides[-1]} pixels) to {highest} (4 pixels)")
        # plain numbers, by which others see that another part of the network runs now
        self.level, self.fading = highest - math.floor(lod), lod % 1 > 0
        return self.level, lod % 1

    def _lod(self) -> float:
        if self.lod.is_inference():  # which has no version
            return self.lod.item()
        # a copy of this network has another id, and a buffer of its own whose versions may be the same
        buffer, version, owner, value = self._read or (None, 0, 0, 0.0)
        if buffer is not self.lod or version != self.lod._version or owner != id(self):
            value = self.lod.item()
            self._read = self.lod, self.lod._version, id(self), value
        return value


class ProGanGenerator(Growing):
    """Latents to images.

    Args:
        dim: width of the latent.
        widths: channels by resolution, from 4 pixels on.
        colors: channels of the images.
        latent_norm: whether latents are normalized first.
        first_activation: whether the dense layer is followed by its activation and norm.
    """

    def __init__(
        self, dim: int, widths: Mapping[int, int], colors: int, *, latent_norm: bool, first_activation: bool
    ) -> None:
        super().__init__(tuple(widths))
        self.latent_norm = PixelNorm() if latent_norm else nn.Identity()
        before = 0
        for side, after in widths.items():
            if before:
                conv0 = _active(EqualizedConv2d(before, after, 3, convolve=up_conv2d), norm=PixelNorm())
            elif first_activation:
                conv0 = _active(Dense(dim, after), norm=PixelNorm())
            else:
                conv0 = nn.Sequential(OrderedDict(conv=Dense(dim, after)))
            self.add_module(f"b{side}", GeneratorBlock(conv0, after, colors))
            before = after

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch colors h w"]:
        """Images of the full resolution, mostly in [-1, 1]; nothing keeps them there."""
        level, share = self.progress()
        below, x = None, self.block(0)(self.latent_norm(z))
        for i in range(1, level + 1):
            below, x = x, self.block(i)(x)
        image = self.block(level).torgb(x)
        if share:
            image = cross_fade(image, self.block(level - 1).torgb(below), share)
        return enlarge(image, self.sides[-1] // self.sides[level])


class ProGanCritic(Growing):
    """Images to logits.

    Args:
        widths: channels by resolution, from 4 pixels on.
        hidden: width of the linear layer before the last.
        colors: channels of the images.
    """

    def __init__(self, widths: Mapping[int, int], hidden: int, colors: int) -> None:
        super().__init__(tuple(widths))
        below = 0
        for side, own in widths.items():
            block = CriticBlock(colors, own, below) if below else CriticEnd(colors, own, hidden)
            self.add_module(f"b{side}", block)
            below = own

    def forward(self, images: Float[Tensor, "batch colors h w"]) -> Float[Tensor, "batch 1"]:
        """Logits of images of the full resolution."""
        level, share = self.progress()
        image = shrink(images, self.sides[-1] // self.sides[level])
        x = self.block(level)(self.block(level).fromrgb(image))
        if share:
            x = torch.lerp(x, self.block(level - 1).fromrgb(shrink(image)), share)
        for i in reversed(range(level)):
            x = self.block(i)(x)
        return x
