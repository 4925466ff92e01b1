"""The synthesis network of `StyleGan2`; modules, parameters and buffers have the names of the official state dicts."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.equalized import EqualizedLinear, scaled_leaky_relu
from orthogen.layers.fir import fir, upsample2d
from orthogen.layers.modulated_conv import modulated_conv2d

__all__ = ["SynthesisNetwork"]


def _clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


class StyledConv(nn.Module):
    """A modulated 3x3 convolution, then noise, bias and LeakyReLU."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, before: int, after: int, dim_w: int, resolution: int, *, up: bool, noise: str, clamp: float | None
    ) -> None:
        super().__init__()
        self.up, self.noise, self.clamp = up, noise, clamp
        self.affine = EqualizedLinear(dim_w, before, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(after))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", fir())

    def forward(self, x: Float[Tensor, "batch c h w"], w: Float[Tensor, "batch dim_w"]) -> Float[Tensor, "batch _ _ _"]:
        """The activations, at twice the resolution where the layer goes up."""
        x = modulated_conv2d(x, self.weight, self.affine(w), up=self.resample_filter if self.up else None)
        if self.noise == "const":
            x = x + self.noise_const * self.noise_strength
        elif self.noise == "random":
            x = x + torch.randn_like(x[:, :1]) * self.noise_strength
        return _clamped(scaled_leaky_relu(x + self.bias[:, None, None]), self.clamp)


class ToRgb(nn.Module):
    """A modulated 1x1 convolution to the image's channels, without demodulation."""

    def __init__(self, before: int, channels: int, dim_w: int, *, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualizedLinear(dim_w, before, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, before, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch c h w"], w: Float[Tensor, "batch dim_w"]
    ) -> Float[Tensor, "batch channels h w"]:
        """What this resolution adds to the image."""
        style = self.affine(w) / math.sqrt(x.shape[1])
        image = modulated_conv2d(x, self.weight, style, demodulate=False)
        return _clamped(image + self.bias[:, None, None], self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two styled convolutions (one at 4 pixels, on a learned constant) and a layer to the image."""

    resample_filter: Tensor

    def __init__(
        self, before: int, after: int, channels: int, dim_w: int, resolution: int, *, noise: str, clamp: float | None
    ) -> None:
        super().__init__()
        self.first = before == 0
        if self.first:
            self.const = nn.Parameter(torch.randn(after, resolution, resolution))
        else:
            self.conv0 = StyledConv(before, after, dim_w, resolution, up=True, noise=noise, clamp=clamp)
        self.conv1 = StyledConv(after, after, dim_w, resolution, up=False, noise=noise, clamp=clamp)
        self.torgb = ToRgb(after, channels, dim_w, clamp=clamp)
        self.register_buffer("resample_filter", fir())

    def forward(
        self, x: Tensor | None, image: Tensor | None, styles: Float[Tensor, "batch layers dim_w"]
    ) -> tuple[Tensor, Tensor]:
        """Activations and image at this resolution, from those of the one before (None at 4 pixels)."""
        x = self.const.expand(len(styles), -1, -1, -1) if x is None else self.conv0(x, styles[:, 0])
        x = self.conv1(x, styles[:, -2])
        added = self.torgb(x, styles[:, -1])
        return x, added if image is None else upsample2d(image, self.resample_filter) + added


class SynthesisNetwork(nn.Module):
    """Styles, one per layer, to an image: blocks ``b4``, ``b8``, ..., whose images are upsampled and summed.

    Args:
        widths: channels of the activations by resolution, from 4 pixels on.
        channels: of the images.
        dim_w: width of a style.
        noise: "const", "random" or "none".
        clamp: bound on all activations, if any.
    """

    def __init__(
        self, widths: Mapping[int, int], channels: int, dim_w: int, *, noise: str, clamp: float | None
    ) -> None:
        super().__init__()
        self.resolutions = tuple(widths)
        before = 0
        for resolution, after in widths.items():
            block = SynthesisBlock(before, after, channels, dim_w, resolution, noise=noise, clamp=clamp)
            self.add_module(f"b{resolution}", block)
            before = after

    @property
    def layers(self) -> int:
        """How many layers take a style."""
        return 2 * len(self.resolutions)

    def forward(self, styles: Float[Tensor, "batch layers dim_w"]) -> Float[Tensor, "batch c h w"]:
        """Images, mostly in [-1, 1]; nothing keeps them there."""
        x, image = self.get_submodule("b4")(None, None, styles[:, :2])
        for i, resolution in enumerate(self.resolutions[1:]):
            # the layer to the image and the first convolution of the next block share a style
            x, image = self.get_submodule(f"b{resolution}")(x, image, styles[:, 2 * i + 1 : 2 * i + 4])
        return image
