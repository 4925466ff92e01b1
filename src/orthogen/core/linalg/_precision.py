"""Arithmetic in the type that the tensors have."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["full_precision", "widened"]


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """No autocast on the tensor's device: a matrix product in bfloat16 has no root left in it."""
    device = like.device.type
    if like.is_meta:  # nothing is computed there, and autocast does not know it
        return nullcontext()
    # a context costs as much as three products of small matrices
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def widened(A: Tensor) -> Tensor:
    """In float32 at least."""
    return A if A.dtype in (torch.float32, torch.float64) else A.float()
