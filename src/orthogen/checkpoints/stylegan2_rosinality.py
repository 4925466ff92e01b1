"""Checkpoints of the PyTorch StyleGAN2 by rosinality (``*.pt`` with ``g_ema``) -> Generator.

Written from the published names of its modules. Files with real weights have not been seen.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._stylegan2 import stylegan2_generator
from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.core.rng import generator
from orthogen.layers.fir import fir

__all__ = ["load", "recognizes"]

_MARK = b"convs.0.conv.modulation.weight"
_HEAD = 1 << 20  # bytes in which the names begin
_STYLES = 10_000  # whose mean is the w_avg of a file without one


def recognizes(path: Path) -> bool:
    """Whether this file of ``torch.save`` names a styled convolution."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:2] != b"PK":
        return _MARK in head and head.startswith(b"\x80")
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            if not pickles or pickles[0].compress_type != zipfile.ZIP_STORED:
                return False
            with archive.open(pickles[0]) as file:
                return _MARK in file.read(_HEAD)
    except (zipfile.BadZipFile, ValueError, RuntimeError, OSError, EOFError):
        return False


def load(path: Path, *, ema: bool = True, model: Model | None = None) -> Generator:
    """The checkpoint's generator on the CPU, in float32.

    The mean style, which this format leaves out or calls ``latent_avg``, is estimated where it is not there.

    Args:
        path: of the checkpoint.
        ema: ``g_ema``, the averaged weights; False for ``g``.
        model: an `orthogen.StyleGan2` with the space, the noise and the truncation that are wanted; sizes are the
            file's.

    Raises:
        ValueError: the file is damaged, names what a checkpoint does not need, or holds another network.
    """
    content, key = read_torch(path), "g_ema" if ema else "g"
    state = content.get(key) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no {key}; that is no StyleGAN2 checkpoint of rosinality's")
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {key}.{str(name)[:80]!a} is a {type(value).__name__}, not a tensor")
        official = _official(str(name))
        if official is None:
            raise ValueError(f"{path}: {key} has {str(name)[:80]!a}, which a StyleGAN2 of rosinality's has not")
        tensors[official] = _reshaped(official, value)
    for name in [name for name in tensors if re.fullmatch(r"synthesis\.b\d+\.conv1\.weight", name)]:
        # there, only a layer that goes up has a filter
        tensors[name.replace("weight", "resample_filter")] = fir()
    tensors["synthesis.b4.resample_filter"] = fir()
    given, bias = content.get("latent_avg"), tensors.get("mapping.fc0.bias")
    known = isinstance(given, Tensor)
    tensors["mapping.w_avg"] = given if known else torch.zeros(0) if bias is None else torch.zeros_like(bias)
    loaded = stylegan2_generator(tensors, path, model)
    if not known:
        mapping: Any = loaded.module.mapping
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
