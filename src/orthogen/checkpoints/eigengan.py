"""Checkpoints of EigenGAN in PyTorch, as its released training code and that of the orthogonality papers name it.

The network is recognized by the names of its weights and read off their shapes. What the files call the networks beside
the optimizers is not known to us, so the generator is found by its weights too, and its average by ``ema`` in its name.
Files with trained weights have not been met.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._state_dict import float_tensors, sides
from orthogen.checkpoints._tensors import fill
from orthogen.checkpoints._torch_names import names_all
from orthogen.core.catalogue import find
from orthogen.core.kinds import Model

__all__ = ["load", "recognizes"]

_KIND = "an EigenGAN's generator"
_FIRST, _LAST = "blocks.0.projection.U", "to_rgb.0.1.weight"
_LAYERS = 10  # to 4096 pixels; a file must not ask for more


def recognizes(path: Path) -> bool:
    """Whether this file of ``torch.save`` names the first and the last layer of such a generator."""
    return path.is_file() and names_all(path, _FIRST.encode(), _LAST.encode())


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = MappingProxyType({})) -> Loaded:
    """The generator.

    Args:
        path: of the file: the generator's state dict, or a dictionary with it under any name.
        ema: the averaged weights, under a name with ``ema``; False for the others. A bare state dict is one set.
        settings: fields of `EigenGan`, which has none beyond its sizes.

    Raises:
        ValueError: the file is damaged, lacks the weights asked for, holds something else, or wants to run code; a
            tensor is missing or misshapen.
    """
    weights = float_tensors(_generator(read_torch(path), path, ema), path, _KIND)
    return fill(with_settings(_model(weights, path), settings, path), weights, path, "EigenGAN")


def _generator(content: Any, path: Path, ema: bool) -> Any:
    """The generator's state dict."""
    if not isinstance(content, dict) or _FIRST in content:
        return content
    found = {str(name): entry for name, entry in content.items() if isinstance(entry, dict) and _FIRST in entry}
    if not found:
        raise ValueError(f"{path} has no dictionary with {_FIRST}, which {_KIND} has")
    of_kind = {name: entry for name, entry in found.items() if ("ema" in name.lower()) == ema}
    if not of_kind:
        what = "averaged weights of a generator" if ema else "weights of a generator but averaged ones"
        raise ValueError(f"{path} has no {what}; load it with ema={not ema}")
    if len(of_kind) > 1:
        names = ", ".join(ascii(name[:40]) for name in list(of_kind)[:3])
        raise ValueError(f"{path} has {len(of_kind)} generators, {names}; save one of them alone")
    return next(iter(of_kind.values()))


def _model(weights: Mapping[str, Tensor], path: Path) -> Model:
    """The `EigenGan` of these weights, by their shapes."""
    layers = sum(bool(re.fullmatch(r"blocks\.\d{1,3}\.projection\.U", name)) for name in weights)
    if layers > _LAYERS:
        raise ValueError(f"{path} has {layers} layers; {_KIND} has 1 (8 pixels) to {_LAYERS} (4096)")
    n_basis, _ = sides(weights, _FIRST, 2, path, _KIND)
    first, noise_dim = sides(weights, "fc.weight", 2, path, _KIND)
    channels, base_channels, _, _ = sides(weights, _LAST, 4, path, _KIND)
    try:
        return find("EigenGan", "models").load()(
            resolution=4 * 2**layers,
            channels=channels,
            n_basis=n_basis,
            noise_dim=noise_dim,
            base_channels=base_channels,
            max_channels=first // 16,  # the channels at 4 pixels are the most that it has
        )
    except ValueError as error:
        raise ValueError(f"{path} is of no {_KIND.partition(' ')[2]}: {error}") from error
