"""Low-pass filtering where an image's resolution changes, so that nothing aliases (R. Zhang, ICML 2019; StyleGAN2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["downsample2d", "filter2d", "fir", "upsample2d"]


def fir(taps: Sequence[float] = (1.0, 3.0, 3.0, 1.0)) -> Float[Tensor, "k k"]:
    """The outer product of the taps with themselves, with sum 1.

    Example:
        >>> fir((1.0, 1.0)).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    one = torch.tensor(taps)
    return torch.outer(one, one) / one.sum() ** 2


def _per_channel(kernel: Tensor, x: Tensor) -> Tensor:
    return kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)


def filter2d(x: Float[Tensor, "batch c h w"], kernel: Float[Tensor, "k k"], pad: int) -> Float[Tensor, "batch c _ _"]:
    """``x``, with ``pad`` zeros around it, convolved with ``kernel``, channel by channel.

    Example:
        >>> filter2d(torch.ones(1, 1, 2, 2), fir((1.0, 1.0)), pad=0)
        tensor([[[[1.]]]])
    """
    # torch correlates; a convolution has its kernel turned over. Depthwise is the fastest of torch's ways to do this
    return F.conv2d(x, _per_channel(kernel.flip(0, 1), x), padding=pad, groups=x.shape[1])


def upsample2d(x: Float[Tensor, "batch c h w"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "batch c _ _"]:
    """Twice the resolution: zeros between the pixels, then the filter, times 4 for the zeros. k is even.

    Example:
        >>> upsample2d(torch.ones(1, 1, 1, 1), fir((1.0, 1.0)))
        tensor([[[[1., 1.], [1., 1.]]]])
    """
    pad = (len(kernel) - 2) // 2
    return F.conv_transpose2d(x, 4 * _per_channel(kernel, x), stride=2, padding=pad, groups=x.shape[1])


def downsample2d(x: Float[Tensor, "batch c h w"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "batch c _ _"]:
    """Half the resolution: the filter, then every second pixel. k is even.

    Example:
        >>> downsample2d(torch.ones(1, 1, 2, 2), fir((1.0, 1.0)))
        tensor([[[[1.]]]])
    """
    pad = (len(kernel) - 2) // 2
    return F.conv2d(x, _per_channel(kernel.flip(0, 1), x), stride=2, padding=pad, groups=x.shape[1])
