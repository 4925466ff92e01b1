"""Checkpoints of GenForce (``*.pth`` with ``generator_smooth``): StyleGAN2 and ProGAN -> generator.

Written from the published names of its modules. Files with real weights have not been seen. Not read: networks with
class labels, and StyleGAN.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orthogen.checkpoints._genforce_progan import progan
from orthogen.checkpoints._genforce_stylegan2 import official
from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._state_dict import float_tensors
from orthogen.checkpoints._stylegan2 import stylegan2
from orthogen.checkpoints._torch_names import names_all

__all__ = ["load", "recognizes"]

_STYLES = "synthesis.early_layer.const"
_MARKS = ((_STYLES.encode(),), (b"layer0.weight", b"output0.weight"))  # of StyleGAN2, of ProGAN


def recognizes(path: Path) -> bool:
    """Whether this file of ``torch.save`` names a generator of one of the two kinds."""
    return path.is_file() and any(names_all(path, b"generator", *marks) for marks in _MARKS)


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = MappingProxyType({})) -> Loaded:
    """The checkpoint's generator on the CPU, in float32.

    Args:
        path: of the checkpoint; ``generator_smooth`` and ``generator`` are at its top, or under ``models``.
        ema: ``generator_smooth``, the averaged weights; False for ``generator``.
        settings: fields of `orthogen.StyleGan2` or `orthogen.ProGan` that say how to use it.

    Raises:
        ValueError: the file is damaged, names what a checkpoint does not need, or holds another network.
    """
    content, key = read_torch(path), "generator_smooth" if ema else "generator"
    models = content.get("models", content) if isinstance(content, dict) else content
    if not isinstance(models, dict) or key not in models:
        raise ValueError(f"{path} has no {key}; a checkpoint of GenForce has it, or load the other with ema={not ema}")
    tensors = float_tensors(models[key], path, f"{key} of GenForce")
    if _STYLES in tensors:
        return stylegan2(official(tensors, path), path, settings, format="StyleGAN2 of GenForce")
    return progan(tensors, path, settings)
