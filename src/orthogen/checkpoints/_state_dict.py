"""State dicts out of other people's files: named tensors, their shapes, and spectral norms folded into them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["affordable", "float_tensors", "folded", "sides"]

_COPIES = 4  # times the size of the file: bytes of its tensors in float32
_LETTERS = 200  # of a name; the longest known has some 60


def affordable(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse far more numbers than a file can hold. Under many names, one tensor costs a file nothing; us, a copy each.

    Raises:
        ValueError: there are far more.
    """
    count = 4 * sum(value.numel() for value in tensors.values())
    if count > _COPIES * path.stat().st_size + 2**20:
        raise ValueError(f"{path} asks for far more memory than its size: {len(tensors)} tensors of {count} bytes")


def float_tensors(content: Any, path: Path, kind: str) -> dict[str, Tensor]:
    """The tensors of a state dict, in float32.

    Args:
        content: what the file holds.
        path: of the file, for messages.
        kind: what it should be, for messages: "a BigGAN".

    Raises:
        ValueError: it is no dictionary of named tensors of floats, or of far more than the file can hold.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; {kind} is a dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_floating_point():
            found = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
            text = ascii(str(name)[:80])
            raise ValueError(f"{path} has {text} of type {found}; {kind} holds named tensors of floats")
        if len(name) > _LETTERS or not name.isprintable():
            raise ValueError(f"{path} has {name[:80]!a}, which {kind} does not have")
    affordable(content, path)
    return {name: value.detach().float().contiguous() for name, value in content.items()}


def sides(tensors: Mapping[str, Tensor], name: str, dimensions: int, path: Path, kind: str) -> tuple[int, ...]:
    """The shape of a tensor that must be there, with that many dimensions, and not empty.

    Raises:
        ValueError: it is missing, empty, or has another number of dimensions.
    """
    if name not in tensors:
        raise ValueError(f"{path} lacks {name}, which {kind} has")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions:
        raise ValueError(f"{path} has {name} of shape {shape}; {dimensions} dimensions are needed")
    if 0 in shape:
        raise ValueError(f"{path} has {name} of shape {shape}, which holds nothing")
    return shape


def folded(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors with each triple ``weight_orig, weight_u, weight_v`` of torch's spectral norm made one ``weight``.

        weight = weight_orig / (u^T W v),   W = weight_orig, flattened to rows

    as a frozen network of torch computes it at every pass.

    Raises:
        ValueError: u or v is missing, or does not fit the weight.
    """
    plain = {name: x for name, x in tensors.items() if not name.endswith(("weight_orig", "weight_u", "weight_v"))}
    for name, weight in tensors.items():
        if not name.endswith("weight_orig"):
            continue
        base = name.removesuffix("_orig")
        (count, *_), rows = sides(tensors, name, max(2, weight.ndim), path, "a spectral norm"), weight.flatten(1)
        for part, length in (("_u", count), ("_v", rows.shape[1])):
            (given,) = sides(tensors, base + part, 1, path, "a spectral norm")
            if given != length:
                raise ValueError(f"{path} has {base}{part} of {given} numbers; beside its {name} it needs {length}")
        plain[base] = weight / torch.dot(tensors[f"{base}_u"], torch.mv(rows, tensors[f"{base}_v"]))
    return plain
