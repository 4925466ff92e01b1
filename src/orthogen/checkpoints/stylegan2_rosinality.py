"""Checkpoints of the PyTorch StyleGAN2 by rosinality (``*.pt`` with ``g_ema``) -> generator.

Written from the published names of its modules. Files with real weights have not been seen.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._state_dict import float_tensors
from orthogen.checkpoints._stylegan2 import stylegan2, with_filters
from orthogen.checkpoints._torch_names import names_all
from orthogen.core.rng import generator

__all__ = ["load", "recognizes"]

_STYLES = 10_000  # whose mean is the w_avg of a file without one


def recognizes(path: Path) -> bool:
    """Whether this file of ``torch.save`` names a styled convolution."""
    return path.is_file() and names_all(path, b"convs.0.conv.modulation.weight")


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = MappingProxyType({})) -> Loaded:
    """The checkpoint's generator on the CPU, in float32.

    The mean style, which this format leaves out or calls ``latent_avg``, is estimated where it is not there.

    Args:
        path: of the checkpoint.
        ema: ``g_ema``, the averaged weights; False for ``g``.
        settings: fields of `orthogen.StyleGan2` that say how to use it: space, noise, truncation.

    Raises:
        ValueError: the file is damaged, names what a checkpoint does not need, or holds another network.
    """
    content, key = read_torch(path), "g_ema" if ema else "g"
    if not isinstance(content, dict) or key not in content:
        raise ValueError(f"{path} has no {key}; that is no StyleGAN2 checkpoint of rosinality's")
    tensors: dict[str, Tensor] = {}
    for name, value in float_tensors(content[key], path, f"{key} of rosinality's StyleGAN2").items():
        official = _official(name)
        if official is None:
            raise ValueError(f"{path}: {key} has {name[:80]!a}, which a StyleGAN2 of rosinality's has not")
        tensors[official] = _reshaped(official, value)
    average = content.get("latent_avg")
    if isinstance(average, Tensor):
        tensors["mapping.w_avg"] = average
    else:  # until the network is there to estimate it
        tensors["mapping.w_avg"] = torch.zeros(tensors.get("mapping.fc0.weight", torch.zeros(1)).shape[:1] or 1)
    loaded = stylegan2(with_filters(tensors), path, settings, format="StyleGAN2 of rosinality's")
    if not isinstance(average, Tensor):
        mapping: Any = loaded.module.eval().mapping
        with torch.no_grad():
            z = torch.randn(_STYLES, mapping.fc0.weight.shape[1], generator=generator(0, "w_avg"))
            mapping.w_avg.copy_(mapping(z).mean(dim=0))
    return loaded


_LAYERS = (  # what a module is called there; its name here, of its number
    (r"style\.(\d+)", lambda n: f"mapping.fc{n - 1}"),
    (r"conv1()", lambda _: "synthesis.b4.conv1"),
    (r"to_rgb1()", lambda _: "synthesis.b4.torgb"),
    (r"convs\.(\d+)", lambda n: f"synthesis.b{2 ** (n // 2 + 3)}.conv{n % 2}"),
    (r"to_rgbs\.(\d+)", lambda n: f"synthesis.b{2 ** (n + 3)}.torgb"),
)
_TENSORS = {
    "weight": "weight",
    "bias": "bias",
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "conv.blur.kernel": "resample_filter",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
}


def _official(name: str) -> str | None:
    """The official name; None for one that such a generator does not have.

    Example:
        >>> _official("convs.3.conv.modulation.bias"), _official("noises.noise_4"), _official("optimizer")
        ('synthesis.b16.conv1.affine.bias', 'synthesis.b16.conv1.noise_const', None)
    """
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        n = int(match[1])
        return f"synthesis.b{2 ** ((n + 5) // 2)}.conv{0 if n % 2 else 1}.noise_const"
    if match := re.fullmatch(r"to_rgbs\.(\d{1,2})\.upsample\.kernel", name):
        return f"synthesis.b{2 ** (int(match[1]) + 3)}.resample_filter"
    for pattern, official in _LAYERS:
        if (match := re.fullmatch(rf"{pattern}\.(.+)", name)) and match[2] in _TENSORS and len(match[1]) < 3:
            return f"{official(int(match[1] or 0))}.{_TENSORS[match[2]]}"
    return None


def _reshaped(official: str, value: Tensor) -> Tensor:
    """Without the dimensions of size 1 that the format adds, and the filter's factor for the zeros between pixels."""
    if official.endswith("resample_filter"):
        return value / 4
    if official.endswith("noise_strength") and value.shape == (1,):
        return value[0]
    if official.endswith("noise_const") and value.shape[:2] == (1, 1):
        return value[0, 0]
    if official.endswith("torgb.bias"):
        return value.flatten()
    return value[0] if value.ndim in (4, 5) and len(value) == 1 else value
