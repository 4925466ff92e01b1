"""Random numbers that follow from an index alone, so that a frame looks the same whenever it is drawn."""

import torch
from torch import Tensor

from orthogen.core.shapes import Float, Int

__all__ = ["uniform"]


def _mix(x: Tensor) -> Tensor:
    """Scramble 32-bit integers: the finalizer of MurmurHash3 (A. Appleby). Products wrap; shifts are made logical."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * -0x7A143595
    x = (x ^ ((x >> 13) & 0x7FFFF)) * -0x3D4D51CB
    return x ^ ((x >> 16) & 0xFFFF)


def uniform(index: Int[Tensor, "n"], count: int) -> Float[Tensor, "n {count}"]:
    """``count`` numbers in [0, 1) for each index, the same ones on every device and in every batch.

    Example:
        >>> a, b = uniform(torch.tensor([7, 8]), 3), uniform(torch.tensor([8]), 3)
        >>> bool((a[1] == b[0]).all()), bool((a[0] == b[0]).any())
        (True, False)
    """
    place = _mix(torch.arange(count, dtype=torch.int32, device=index.device) + 1)
    mixed = _mix(_mix(index.to(torch.int32) + 1)[:, None] ^ place)
    return ((mixed >> 8) & 0xFFFFFF).float() / 2**24
