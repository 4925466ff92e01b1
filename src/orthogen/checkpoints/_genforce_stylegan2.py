"""StyleGAN2 as GenForce names and stores it -> the official names and shapes."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from orthogen.checkpoints._stylegan2 import with_filters
from orthogen.layers.fir import fir

__all__ = ["official"]

_TENSORS = {
    "weight": "weight",
    "bias": "bias",
    "style.weight": "affine.weight",
    "style.bias": "affine.bias",
    "noise_strength": "noise_strength",
    "noise": "noise_const",
}


def official(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors under the official names, and shaped like the official ones.

    Raises:
        ValueError: one has no counterpart.
    """
    found = {}
    for name, value in tensors.items():
        if name.endswith(".kernel"):  # in the modules that change the resolution; ours have it at other places
            _check_filter(name, value, path)
            continue
        known = _official(name)
        if known is None:
            raise ValueError(f"{path} has {name[:80]!a}, which a StyleGAN2 of GenForce (without classes) has not")
        found[known] = _reshaped(known, name, value, path)
    return with_filters(found)


def _official(name: str) -> str | None:
    """The official name; None for one that such a generator does not have.

    Example:
        >>> _official("synthesis.layer3.style.bias"), _official("synthesis.output1.noise"), _official("step")
        ('synthesis.b16.conv0.affine.bias', None, None)
    """
    if name == "truncation.w_avg":
        return "mapping.w_avg"
    if name == "synthesis.early_layer.const":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"mapping\.dense(\d{1,2})\.(weight|bias)", name):
        return f"mapping.fc{int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"synthesis\.(layer|output)(\d{1,2})\.(.+)", name):
        n, own = int(match[2]), _TENSORS.get(match[3])
        if own is None or (match[1] == "output" and own.startswith("noise")):
            return None
        if match[1] == "output":
            return f"synthesis.b{2 ** (n + 2)}.torgb.{own}"
        return f"synthesis.b{2 ** ((n + 1) // 2 + 2)}.conv{0 if n % 2 else 1}.{own}"
    return None


def _reshaped(known: str, name: str, value: Tensor, path: Path) -> Tensor:
    if re.search(r"\.(conv[01]|torgb)\.weight$", known):
        k = 1 if "torgb" in known else 3
        if value.ndim != 4 or value.shape[:2] != (k, k):
            raise ValueError(f"{path} has {name} of shape {tuple(value.shape)}; give ({k}, {k}, inputs, outputs)")
        if ".conv0." in known:  # there, the transposed convolution's kernel is turned over when it is used
            value = value.flip(0, 1)
        return value.permute(3, 2, 0, 1).contiguous()
    if known.endswith("affine.bias"):
        return value + 1  # which is added there when it is used
    if known.endswith("noise_strength") and value.numel() == 1:
        return value.reshape(())
    if known.endswith("noise_const") and value.shape[:2] == (1, 1):
        return value[0, 0]
    return value[0] if known == "synthesis.b4.const" and value.shape[:1] == (1,) else value


def _check_filter(name: str, value: Tensor, path: Path) -> None:
    mine = fir()
    if value.numel() != mine.numel() or not torch.allclose(value.reshape(4, 4) / value.sum(), mine, atol=1e-6):
        raise ValueError(f"{path} has {name[:80]!a} that is not the filter (1, 3, 3, 1) of StyleGAN2")
