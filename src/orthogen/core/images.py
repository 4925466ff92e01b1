"""Pixels: uint8 at the borders, float in [-1, 1] inside."""

import torch
from torch import Tensor

from orthogen.core.shapes import Float, UInt8

__all__ = ["to_float", "to_uint8"]


def to_float(images: UInt8[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
    """uint8 pixels v -> v / 127.5 - 1 in [-1, 1].

    Example:
        >>> to_float(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)).flatten().tolist()
        [-1.0, 1.0]
    """
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Float[Tensor, "*n c h w"]) -> UInt8[Tensor, "*n c h w"]:
    """Images in [-1, 1] -> the nearest of 256 levels, round((x + 1) 127.5), clipped.

    Example:
        >>> to_uint8(torch.tensor([-1.0, 0.0, 3.0]).view(1, 1, 1, 3)).flatten().tolist()
        [0, 128, 255]
    """
    return images.detach().float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
