"""From an image to a few numbers, as StyleGAN2's critic does it; recognizers of images can have the same trunk."""

import math

from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.equalized import EqualizedConv2d, EqualizedLinear, scaled_leaky_relu
from orthogen.layers.fir import FilteredDown
from orthogen.layers.minibatch_stddev import MinibatchStddev

__all__ = ["ResidualEncoder"]

MOST = 512  # channels; StyleGAN2's bound


class Block(nn.Module):
    """Half the resolution: two convolutions beside a skip, whose sum has the variance of either."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(before, before, 3, gain=1.0)
        self.conv1 = EqualizedConv2d(before, after, 3, gain=1.0, convolve=FilteredDown())
        self.skip = EqualizedConv2d(before, after, 1, gain=1.0, convolve=FilteredDown(), bias=False)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
        """Feature maps of half the side."""
        y = scaled_leaky_relu(self.conv1(scaled_leaky_relu(self.conv0(x))))
        return (y + self.skip(x)) / math.sqrt(2)


class ResidualEncoder(nn.Module):
    """The residual critic of StyleGAN2: blocks down to 4 x 4 pixels, a convolution, and two linear layers.

    A 1x1 convolution gives ``width`` channels at full resolution; every block halves the side and doubles the channels,
    up to 512. All weights have equalized learning rates, all layers but the last a LeakyReLU of slope 0.2, times
    sqrt(2); the filter before each halving is [1, 3, 3, 1].

    Args:
        shape: channels, height and width of the images; square, of 4·2^n pixels.
        width: channels at full resolution.
        hidden: width of the linear layer ``dense``, before the last.
        outputs: how many numbers come out.
        stddev: whether the convolution at 4 x 4 pixels sees how much the images of a group of 4 differ.

    Raises:
        ValueError: the shape is not that of square images of 4·2^n pixels; images of another shape are given.

    Reference:
        T. Karras, S. Laine, M. Aittala, J. Hellsten, J. Lehtinen, T. Aila, "Analyzing and Improving the Image Quality
        of StyleGAN", CVPR 2020, section 4 and table 2.

    Example:
        >>> import torch
        >>> critic = ResidualEncoder((3, 128, 128), width=8, hidden=512, outputs=1)
        >>> critic(torch.zeros(4, 3, 128, 128)).shape, sum(p.numel() for p in critic.parameters())
        (torch.Size([4, 1]), 3324233)
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, hidden: int, outputs: int, *, stddev: bool = True
    ) -> None:
        super().__init__()
        channels, side, other = shape
        if side != other or side < 4 or side & (side - 1):
            raise ValueError(
                f"images of {side} x {other} pixels: a residual encoder takes squares of 4·2^n; give 4, 8, 16, 32, ..."
            )
        self.shape = shape
        self.fromrgb = EqualizedConv2d(channels, width, 1, gain=1.0)
        self.blocks = nn.Sequential()
        while side > 4:
            after = min(2 * width, MOST)
            self.blocks.add_module(f"b{side}", Block(width, after))
            width, side = after, side // 2
        self.stddev = MinibatchStddev() if stddev else nn.Identity()
        self.conv = EqualizedConv2d(width + stddev, width, 3, gain=1.0)
        self.dense = EqualizedLinear(16 * width, hidden)
        self.out = EqualizedLinear(hidden, outputs)

    def features(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch hidden"]:
        """What the last layer reads: the activated hidden layer."""
        if images.shape[1:] != self.shape:
            raise ValueError(f"images of {tuple(images.shape[1:])} were given; this encoder was built for {self.shape}")
        x = self.blocks(scaled_leaky_relu(self.fromrgb(images)))
        x = scaled_leaky_relu(self.conv(self.stddev(x)))
        return scaled_leaky_relu(self.dense(x.flatten(1)))

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch outputs"]:
        """The outputs, without activation."""
        return self.out(self.features(images))
