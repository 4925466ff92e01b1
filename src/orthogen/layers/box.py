"""Changes of resolution by whole pixels: enlarging by repeating them, shrinking by averaging them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["coarsen", "cross_fade", "down_conv2d", "enlarge", "shrink", "up_conv2d"]


def enlarge(x: Float[Tensor, "batch c h w"], factor: int = 2) -> Float[Tensor, "batch c _ _"]:
    """Every pixel as a square of ``factor`` x ``factor`` pixels.

    Example:
        >>> enlarge(torch.ones(1, 1, 1, 1))
        tensor([[[[1., 1.], [1., 1.]]]])
    """
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="nearest")


def shrink(x: Float[Tensor, "batch c h w"], factor: int = 2) -> Float[Tensor, "batch c _ _"]:
    """The mean of every square of ``factor`` x ``factor`` pixels.

    Example:
        >>> shrink(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        tensor([[[[2.5000]]]])
    """
    return x if factor == 1 else F.avg_pool2d(x, factor)


def cross_fade(
    fine: Float[Tensor, "batch c h w"], coarse: Float[Tensor, "batch c h2 w2"], share: float
) -> Float[Tensor, "batch c h w"]:
    """An image on its way from one resolution to the next.

        (1 - share) fine + share enlarge(coarse)

    Args:
        fine: at the new resolution.
        coarse: at half of it.
        share: of the old, from 1 (the new is not seen) to 0 (the old is not).

    Example:
        >>> cross_fade(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 1, 1), share=0.25)
        tensor([[[[0.2500, 0.2500], [0.2500, 0.2500]]]])
    """
    return torch.lerp(fine, enlarge(coarse), share)


def coarsen(images: Float[Tensor, "batch c h w"], lod: float) -> Float[Tensor, "batch c h w"]:
    """Images with less detail, at the same size: each whole number of ``lod`` halves the sides, a fraction cross-fades
    to the next.

    Example:
        >>> coarsen(torch.tensor([[[[0.0, 4.0], [4.0, 8.0]]]]), lod=0.5)
        tensor([[[[2., 4.], [4., 6.]]]])
    """
    factor, share = 2 ** math.floor(lod), lod % 1
    small = shrink(images, factor)
    return enlarge(cross_fade(small, shrink(small), share) if share else small, factor)


def _four_shifts(weight: Tensor) -> Tensor:
    """The kernel, one wider and higher, that does what ``weight`` does at four neighboring places together."""
    k = weight.shape[-1]
    one = torch.eye(k, dtype=weight.dtype, device=weight.device)
    two = F.pad(one, (0, 0, 0, 1)) + F.pad(one, (0, 0, 1, 0))  # (k + 1, k): a vector and itself, one place on
    # as one matrix product: adding up padded slices takes twenty times as long on a CPU, more than the convolution
    return (weight.flatten(2) @ torch.kron(two, two).T).unflatten(2, (k + 1, k + 1))


def up_conv2d(
    x: Float[Tensor, "batch inputs h w"], weight: Float[Tensor, "outputs inputs 3 3"]
) -> Float[Tensor, "batch outputs _ _"]:
    """The 3x3 convolution of ``enlarge(x)``, in one transposed convolution of stride 2 with 4/9 of the work.

    Example:
        >>> x, weight = torch.randn(2, 4, 5, 5), torch.randn(3, 4, 3, 3)
        >>> bool(torch.allclose(up_conv2d(x, weight), F.conv2d(enlarge(x), weight, padding=1), atol=1e-4))
        True
    """
    # a transposed convolution turns its kernel over
    kernel = _four_shifts(weight.flip(2, 3)).transpose(0, 1)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def down_conv2d(
    x: Float[Tensor, "batch inputs h w"], weight: Float[Tensor, "outputs inputs 3 3"]
) -> Float[Tensor, "batch outputs _ _"]:
    """``shrink`` of the 3x3 convolution of ``x``, in one convolution of stride 2 with 4/9 of the work.

    Example:
        >>> x, weight = torch.randn(2, 4, 6, 6), torch.randn(3, 4, 3, 3)
        >>> bool(torch.allclose(down_conv2d(x, weight), shrink(F.conv2d(x, weight, padding=1)), atol=1e-4))
        True
    """
    return F.conv2d(x, _four_shifts(weight) / 4, stride=2, padding=1)
