"""The synthesis network of `StyleGan3`; modules, parameters and buffers have the names of the official state dicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.equalized import EqualizedLinear
from orthogen.layers.filtered_lrelu import filtered_leaky_relu
from orthogen.layers.kaiser import kaiser_lowpass
from orthogen.layers.modulated_conv import modulated_conv2d

__all__ = ["AliasFreeSynthesis", "Band"]

_RATE = 0.001  # of the mean squares, per training batch
_TAPS = 6  # of a filter, per sample of the lower of the two rates
_RAISED = 2  # the rate of the nonlinearity, over that of the layer


@dataclass(frozen=True)
class Band:
    """What signals a layer puts out. Frequencies and rates are per side of the image, margin not included.

    Attributes:
        cutoff: f_c, up to which frequencies belong to the signal.
        half_width: f_h, how far beyond f_c the filter's transition band ends.
        rate: s, the sampling rate; more than 2 f_c except in critically sampled layers.
        size: side of the activations, in samples, margin included.
        channels: of the activations.
        critical: whether all frequencies up to s / 2 belong to the signal.
    """

    cutoff: float
    half_width: float
    rate: int
    size: int
    channels: int
    critical: bool = False

    def filter(self, rate: int, *, radial: bool = False) -> Tensor:
        """What keeps this band at a higher ``rate``."""
        taps = _TAPS * (rate // self.rate)
        return kaiser_lowpass(taps, self.cutoff, 2 * self.half_width, float(rate), radial=radial)


class FourierFeatures(nn.Module):
    """Sinusoids of random frequencies within the first band, mixed by a learned matrix, instead of a learned constant.

    The style moves and turns them. So does ``transform``, a 3x3 matrix that takes places in the image, in sides of it
    around the center, to the places of the sinusoids that are seen there (the inverse of the motion that is seen).
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, band: Band, dim_w: int) -> None:
        super().__init__()
        self.band = band
        angle = 2 * math.pi * torch.rand(band.channels)
        radius = band.cutoff * torch.rand(band.channels).sqrt()  # uniform on the disk
        self.register_buffer("freqs", radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1))
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.affine = EqualizedLinear(dim_w, 4)  # cosine and sine of an angle, and a shift
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias[0] = 1

    def forward(self, w: Float[Tensor, "batch dim_w"]) -> Float[Tensor, "batch c size size"]:
        """The moved and turned features on the canvas."""
        motion = self.affine(w)
        motion = motion / motion[:, :2].norm(dim=1, keepdim=True)
        cos, sin, shift = motion[:, 0], motion[:, 1], motion[:, 2:]
        turn = torch.stack([cos, -sin, sin, cos], dim=1).unflatten(1, (2, 2))
        linear = turn @ self.transform[:2, :2]
        offset = (turn @ (self.transform[:2, 2] - shift).unsqueeze(2)).squeeze(2)
        freqs, phases = self.freqs @ linear, self.phases + offset @ self.freqs.T
        # a transform that shrinks the image makes frequencies that the band cannot hold: they fade out
        beyond = (freqs.norm(dim=2) - self.band.cutoff) / (self.band.rate / 2 - self.band.cutoff)
        size = self.band.size
        steps = (torch.arange(size, device=w.device, dtype=w.dtype) - (size - 1) / 2) / self.band.rate
        places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=2)  # x, then y
        waves = (2 * math.pi * (torch.einsum("hwa,bca->bhwc", places, freqs) + phases[:, None, None])).sin()
        mixed = waves * (1 - beyond).clamp(0, 1)[:, None, None] @ (self.weight.T / math.sqrt(len(self.weight)))
        return mixed.permute(0, 3, 1, 2)


def _leveled(x: Tensor, mean_square: Tensor, training: bool) -> Tensor:
    """``x`` over the root of its running mean square, which follows in training mode."""
    if training:
        with torch.no_grad():
            mean_square.lerp_(x.square().mean().to(mean_square), _RATE)
    return x * mean_square.rsqrt()


class AliasFreeConv(nn.Module):
    """A modulated convolution, then bias and a filtered LeakyReLU that goes to the next band."""

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self, before: Band, after: Band, dim_w: int, kernel_size: int, *, radial: bool, clamp: float | None
    ) -> None:
        super().__init__()
        raised = _RAISED * max(before.rate, after.rate)
        self.up, self.down, self.size, self.clamp = raised // before.rate, raised // after.rate, after.size, clamp
        self.affine = EqualizedLinear(dim_w, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        self.register_buffer("up_filter", before.filter(raised))
        # critically sampled signals have the square spectrum of the training images
        self.register_buffer("down_filter", after.filter(raised, radial=radial and not after.critical))

    def forward(
        self, x: Float[Tensor, "batch c h h"], w: Float[Tensor, "batch dim_w"]
    ) -> Float[Tensor, "batch c2 size size"]:
        """The activations of the next band."""
        x = _leveled(x, self.magnitude_ema, self.training)
        # demodulation divides these scales out; without them its epsilon tells small weights from large ones
        weight = self.weight * self.weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        style = self.affine(w)
        style = style * style.square().mean(dim=1, keepdim=True).rsqrt()
        x = modulated_conv2d(x, weight, style, pad=weight.shape[-1] - 1) + self.bias[:, None, None]
        return filtered_leaky_relu(
            x,
            self.up_filter,
            self.down_filter,
            up=self.up,
            down=self.down,
            size=self.size,
            gain=math.sqrt(2),
            clamp=self.clamp,
        )


class ToRgb(nn.Module):
    """A modulated 1x1 convolution to the image's channels, without demodulation."""

    magnitude_ema: Tensor

    def __init__(self, before: Band, after: Band, dim_w: int, *, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualizedLinear(dim_w, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))

    def forward(
        self, x: Float[Tensor, "batch c h w"], w: Float[Tensor, "batch dim_w"]
    ) -> Float[Tensor, "batch c2 h w"]:
        """The image, not scaled."""
        x = _leveled(x, self.magnitude_ema, self.training)
        style = self.affine(w) / math.sqrt(x.shape[1])
        x = modulated_conv2d(x, self.weight, style, demodulate=False) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class AliasFreeSynthesis(nn.Module):
    """Styles, one per layer, to an image: Fourier features, ``L0``, ``L1``, ..., each named with its size and channels.

    Args:
        bands: of the layers, the last of which goes to the image; the Fourier features are in the first layer's.
        dim_w: width of a style.
        kernel_size: of the convolutions.
        radial: whether layers that are not critically sampled downsample with filters that are alike in all directions.
        clamp: bound on all activations, if any.
        output_scale: what the last layer's output is multiplied with.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        dim_w: int,
        *,
        kernel_size: int,
        radial: bool,
        clamp: float | None,
        output_scale: float,
    ) -> None:
        super().__init__()
        self.output_scale = output_scale
        self.input = FourierFeatures(bands[0], dim_w)
        self.names = tuple(f"L{i}_{band.size}_{band.channels}" for i, band in enumerate(bands))
        for name, before, after in zip(self.names, (bands[0], *bands), bands[:-1], strict=False):
            self.add_module(name, AliasFreeConv(before, after, dim_w, kernel_size, radial=radial, clamp=clamp))
        self.add_module(self.names[-1], ToRgb(bands[-2], bands[-1], dim_w, clamp=clamp))

    @property
    def layers(self) -> int:
        """How many layers take a style, the Fourier features among them."""
        return 1 + len(self.names)

    def forward(self, styles: Float[Tensor, "batch layers dim_w"]) -> Float[Tensor, "batch c h h"]:
        """Images, mostly in [-1, 1]; nothing keeps them there."""
        x = self.input(styles[:, 0])
        for i, name in enumerate(self.names):
            x = self.get_submodule(name)(x, styles[:, i + 1])
        return x * self.output_scale
