"""ProGAN as GenForce names and stores it -> generator."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._state_dict import sides
from orthogen.checkpoints._stylegan2 import channel_rule
from orthogen.checkpoints._tensors import fill
from orthogen.core import catalogue
from orthogen.core.latent import Normal

__all__ = ["progan"]

_KIND = "a ProGAN of GenForce"


def progan(tensors: Mapping[str, Tensor], path: Path, settings: Mapping[str, Any]) -> Loaded:
    """The generator with these weights.

    Layers that double the resolution are stored in one of two ways: to be applied to the enlarged map, or (``fused``)
    as a transposed convolution. Their shapes tell, if any of them changes the number of channels; if none does, they
    are taken for the first, which is the default there.

    Raises:
        ValueError: a weight is missing, too much, or of another shape than the others ask for.
    """

    def shape(name: str, dimensions: int = 4) -> tuple[int, ...]:
        return sides(tensors, name, dimensions, path, _KIND)

    highest = max((int(m[1]) for name in tensors if (m := re.fullmatch(r"output(\d{1,2})\.weight", name))), default=0)
    widths = {4 * 2**k: shape(f"layer{2 * k + 1}.weight")[0] for k in range(highest + 1)}
    dim, channels = shape("layer0.weight")[1], shape(f"output{highest}.weight")[0]
    sizes = {"channels": channels, "resolution": 4 * 2**highest, **channel_rule(widths)}
    try:
        model = catalogue.find("ProGan", "models").load()(Normal(dim), **sizes)
    except ValueError as error:
        raise ValueError(f"{path} has the weights of no ProGAN: {error}") from error
    rising = [(shape(f"layer{2 * k}.weight")[:2], widths[2 * 2**k], widths[4 * 2**k]) for k in range(1, highest + 1)]
    fused = any(given == (before, after) for given, before, after in rising if before != after)
    found = {"lod": torch.zeros(())}
    for name, value in tensors.items():
        own = _own(name)
        if own is None:
            raise ValueError(f"{path} has {name[:80]!a}, which {_KIND} has not")
        found[own] = _reshaped(own, value, fused)
    return fill(with_settings(model, settings, path), found, path, "ProGAN of GenForce")


def _own(name: str) -> str | None:
    """Our name; None for one that such a generator does not have.

    Example:
        >>> _own("layer0.bias"), _own("layer5.weight"), _own("output2.weight"), _own("layer1.scale")
        ('b4.conv0.conv.bias', 'b16.conv1.conv.weight', 'b16.torgb.weight', None)
    """
    if name == "lod":
        return name
    if match := re.fullmatch(r"layer(\d{1,2})\.(weight|bias)", name):
        n = int(match[1])
        return f"b{4 * 2 ** (n // 2)}.conv{n % 2}.conv.{match[2]}"
    if match := re.fullmatch(r"output(\d{1,2})\.(weight|bias)", name):
        return f"b{4 * 2 ** int(match[1])}.torgb.{match[2]}"
    return None


def _reshaped(own: str, value: Tensor, fused: bool) -> Tensor:
    if own == "b4.conv0.conv.weight":  # there a convolution over the latent, amid zeros; here a matrix
        return value.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, value.shape[1])
    if fused and own.endswith("conv0.conv.weight") and value.ndim == 4:
        return value.transpose(0, 1).flip(2, 3).contiguous()
    return value
