"""Affine changes of place by resampling at twice the resolution, behind a wavelet's low-pass filter.

The filter is that of Daubechies' least asymmetric wavelet with six vanishing moments, sym6 (I. Daubechies, "Ten
Lectures on Wavelets", 1992). It is orthonormal to its own shifts by two, so that doubling the resolution with it and
halving it again gives back what was there.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["SYM6", "resampled"]

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
BEFORE = 5  # taps that lie before the pixel they belong to
# how far the filter moves a picture, in pixels of the doubled resolution
DELAY = sum(i * h for i, h in enumerate(SYM6)) / sum(SYM6) - BEFORE


def resampled(
    images: Float[Tensor, "batch c h w"], matrix: Float[Tensor, "batch 2 2"], shift: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch c h w"]:
    """The pixel at p of each result is the image at matrix (p - shift); outside it there is its own reflection.

    Doubled resolution, linear interpolation between four pixels there, halved again. Differentiable in the images as
    often as is wanted; on CUDA the last digits of gradients vary from run to run.

    Args:
        images: at least float32.
        matrix: back from places of the result to places of the image, as (x, y) from the center, in pixels.
        shift: of the result, in pixels.

    Example:
        >>> x = torch.arange(32.0).expand(1, 1, 32, 32)
        >>> resampled(x, torch.eye(2)[None], torch.tensor([[0.5, 0.0]]))[0, 0, 0, 14:18]
        tensor([13.5000, 14.5000, 15.5000, 16.5000])
    """
    height, width = images.shape[2:]
    rows, columns = (_between(side, images.dtype, images.device) for side in (height, width))
    fine = rows.doubling @ images @ columns.doubling.mT
    y, x = (line.places - shift[:, i, None] for line, i in ((rows, 1), (columns, 0)))
    source = (
        matrix[:, i, 0, None, None] * x[:, None, :] + matrix[:, i, 1, None, None] * y[:, :, None] for i in range(2)
    )
    # the fine picture begins half a pixel before the first one, and ends half a pixel after the last
    grid = [
        (2 * _folded(at + (side - 1) / 2, side) + DELAY + 1) / side - 1
        for at, side in zip(source, (width, height), strict=True)
    ]
    looked_up: Tensor = _Lookup.apply(fine, torch.stack(grid, dim=-1))
    return rows.halving @ looked_up @ columns.halving.mT


class _Line:
    """What is the same for all images of a side.

    Attributes:
        doubling: a line of pixels to one of twice the resolution, from half a pixel before it to half a pixel after
            it: (2 side + 1, side).
        halving: back, from a line that is longer by the taps of the filter: (side, 2 side + 10).
        places: of that longer line's pixels, from the center, in pixels of the image.
    """

    def __init__(self, side: int) -> None:
        taps = torch.tensor(SYM6, dtype=torch.float64)
        fine, tap = torch.arange(-1, 2 * side)[:, None], torch.arange(len(SYM6))
        twice = fine - tap + BEFORE  # the pixel that a tap multiplies, where this is even
        weight = torch.where(twice % 2 == 0, 2**0.5 * taps, 0.0)
        self.doubling = torch.zeros(2 * side + 1, side, dtype=torch.float64)
        source = _folded(twice.div(2, rounding_mode="floor"), side)
        self.doubling.scatter_add_(1, source, weight)
        self.halving = torch.zeros(side, 2 * side + len(SYM6) - 2, dtype=torch.float64)
        pixel = torch.arange(side)[:, None]
        self.halving.scatter_(1, 2 * pixel + tap, (taps / 2**0.5).expand(side, -1))
        self.places = (torch.arange(2.0 * side + len(SYM6) - 2, dtype=torch.float64) - BEFORE - DELAY - side + 1) / 2

    def to(self, dtype: torch.dtype, device: torch.device) -> "_Line":
        for name, value in vars(self).items():
            setattr(self, name, value.to(device, dtype, non_blocking=device.type == "cuda"))
        return self


@lru_cache(maxsize=16)
def _between(side: int, dtype: torch.dtype, device: torch.device) -> _Line:
    with torch.inference_mode(False), torch.device("cpu"):  # kept for passes outside of inference mode too
        return _Line(side).to(dtype, device)


def _folded(place: Tensor, side: int) -> Tensor:
    """Reflected at 0 and at side - 1 for as long as it is outside."""
    if side == 1:
        return torch.zeros_like(place)
    return (side - 1) - (place.remainder(2 * side - 2) - (side - 1)).abs()


# Interpolation is linear in the image: its derivative is its transpose, and that one's is the interpolation again. The
# two have derivatives of all orders, where `grid_sample` has a second one in the later versions of torch only.
_SETTINGS = (0, 1, True)  # bilinear, edges repeated, places counted from pixel center to pixel center


class _Lookup(torch.autograd.Function):
    """Images at the places of a grid."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors, ctx.shape), None


class _Spread(torch.autograd.Function):
    """The transpose: values at the places of a grid, shared out to the pixels around each."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        nothing = values.new_empty(1).expand(shape)  # only its shape is looked at
        return torch.ops.aten.grid_sampler_2d_backward(values, nothing, grid, *_SETTINGS, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Lookup.apply(gradient, *ctx.saved_tensors), None, None
