"""Low-pass filtering where an image's resolution changes, so that nothing aliases (R. Zhang, ICML 2019; StyleGAN2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["FilteredDown", "FilteredUp", "downsample2d", "filter2d", "filtered_up_conv2d", "fir", "upsample2d"]


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


def filtered_up_conv2d(
    x: Float[Tensor, "batch inputs h w"], weight: Float[Tensor, "outputs inputs 3 3"], kernel: Float[Tensor, "4 4"]
) -> Float[Tensor, "batch outputs _ _"]:
    """A 3x3 convolution that doubles the resolution: a transposed one of stride 2, then the filter, times 4.

    Example:
        >>> filtered_up_conv2d(torch.ones(1, 2, 4, 4), torch.ones(3, 2, 3, 3), fir()).shape
        torch.Size([1, 3, 8, 8])
    """
    return filter2d(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 4 * kernel, pad=1)


class _Filtered(nn.Module):
    """Holds the filter, which follows the module to its device."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir(), persistent=False)


class FilteredUp(_Filtered):
    """`filtered_up_conv2d` with the default filter, as what an `EqualizedConv2d` convolves with."""

    def forward(
        self, x: Float[Tensor, "batch inputs h w"], weight: Float[Tensor, "outputs inputs 3 3"]
    ) -> Float[Tensor, "batch outputs _ _"]:
        """The convolution, at twice the resolution."""
        return filtered_up_conv2d(x, weight, self.kernel)


class FilteredDown(_Filtered):
    """A convolution that halves the resolution: the default filter, then the convolution with stride 2.

    Example:
        >>> FilteredDown()(torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3)).shape
        torch.Size([1, 3, 4, 4])
    """

    def forward(
        self, x: Float[Tensor, "batch inputs h w"], weight: Float[Tensor, "outputs inputs k k"]
    ) -> Float[Tensor, "batch outputs _ _"]:
        """The convolution, at half the resolution; its kernel is 1 or 3 wide."""
        if weight.shape[-1] == 1:  # the pixels between need no filtering
            return F.conv2d(downsample2d(x, self.kernel), weight)
        return F.conv2d(filter2d(x, self.kernel, pad=2), weight, stride=2)
