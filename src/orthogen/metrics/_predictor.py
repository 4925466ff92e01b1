"""The network of the VP score, which tells from two images what changed."""

import copy
from collections import OrderedDict
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from orthogen.core.images import to_float
from orthogen.core.shapes import Float, Int
from orthogen.metrics._pairs import Pairs

__all__ = ["Input", "Predictor", "look"]

Input = Literal["difference", "concat"]


class _Mean(nn.Module):
    """The mean over pixels, as a matrix product: its gradient keeps channels last, where that of ``mean`` does not."""

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c"]:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        share = pixels.new_full((len(x), 1, pixels.shape[1]), 1 / pixels.shape[1])
        return torch.bmm(share, pixels).squeeze(1)


class _Bfloat16Relu(nn.Module):
    """ReLU in place on the bits: a negative bfloat16 is a negative int16, which takes a quarter of the time."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        x.view(torch.int16).relu_()
        return x


class Predictor(nn.Sequential):
    """Four convolutions with batch norm and ReLU, a max pool after the second, the mean over pixels, a linear layer.

    The convolutions have 64 (7x7, stride 2), 64, 128 and 256 channels (3x3). The pool stands before the ReLU, which
    gives the same numbers from a quarter of the work.

    Example:
        >>> sum(p.numel() for p in Predictor(3, 6).parameters())
        417478
    """

    def __init__(self, channels: int, classes: int) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, width in enumerate((64, 64, 128, 256)):
            size, stride = (7, 2) if i == 0 else (3, 1)
            layers[f"conv{i}"] = nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
            layers[f"bn{i}"] = nn.BatchNorm2d(width)
            if i == 1:
                layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
            layers[f"relu{i}"] = nn.ReLU(inplace=True)
            channels = width
        layers["mean"] = _Mean()
        layers["output"] = nn.Linear(channels, classes)
        super().__init__(layers)

    def folded(self, dtype: torch.dtype) -> nn.Module:
        """A copy for testing in ``dtype``, each batch norm taken into the convolution before it."""
        network = copy.deepcopy(self).eval()
        for i in range(4):
            conv, norm = f"conv{i}", f"bn{i}"
            pair: Any = (network.get_submodule(conv), network.get_submodule(norm))
            setattr(network, conv, fuse_conv_bn_eval(*pair))
            setattr(network, norm, nn.Identity())
            if dtype == torch.bfloat16:
                setattr(network, f"relu{i}", _Bfloat16Relu())
        return network.to(dtype)


def look(
    pairs: Pairs, index: Int[Tensor, "b"], input: Input, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "b c h w"]:
    """What the predictor sees of some pairs: x1 - x2, or both in the channels; gray becomes three equal channels."""
    first, second = (
        images[index].contiguous(memory_format=torch.channels_last) for images in (pairs.first, pairs.second)
    )
    if input == "difference":
        seen = (
            first.to(dtype).sub_(second).div_(127.5)
        )  # bfloat16 has the 8 bits that a difference of gray levels needs
    else:
        seen = to_float(torch.cat([first, second], dim=1)).to(dtype)
    if first.shape[1] == 1:
        seen = seen.repeat_interleave(3, dim=1)
    return seen.contiguous(memory_format=torch.channels_last)
