"""A name for tensors that follows from their content."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["digest"]


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of tensors, in the order of their names.

    Copies of the same tensors agree, whatever file or device they are in.

    Example:
        >>> a, b = torch.zeros(2), torch.ones(3, dtype=torch.float16)
        >>> digest({"a": a, "b": b}) == digest({"b": b, "a": a})
        True
        >>> digest({"a": a}) == digest({"a": a.double()})
        False
    """
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
