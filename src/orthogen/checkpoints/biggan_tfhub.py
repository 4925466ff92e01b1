"""The BigGAN-deep of TFHub under the names that Hugging Face gave it: ``config.json`` and ``pytorch_model.bin``.

The names are those of the package ``pytorch-pretrained-biggan``, with whose networks, at random weights, images agree.
The released weights of 128, 256 and 512 pixels have not been met. Each batch norm has 51 sets of running statistics,
for the truncations 0, 0.02, ..., 1; all are kept, and the setting ``truncation`` picks one, or interpolates between two
(the package does so with the weights of the two exchanged).
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from orthogen.checkpoints._biggan import residual_model
from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._state_dict import float_tensors, folded, sides
from orthogen.checkpoints._tensors import fill
from orthogen.core.kinds import Model

__all__ = ["load", "recognizes"]

_WEIGHTS, _CONFIG = "pytorch_model.bin", "config.json"
_KIND = "a BigGAN of TFHub"
_LARGEST = 1 << 16  # bytes of a config.json, which has some 700
_PARTS = {
    "scale": "gain",
    "offset": "bias",
    "running_means": "stored_mean",
    "running_vars": "stored_var",
    "snconv1x1_theta": "theta",
    "snconv1x1_phi": "phi",
    "snconv1x1_g": "g",
    "snconv1x1_o_conv": "o",
}
_ENDS = {  # what is not in a layer
    "generator.bn.weight": "output_layer.0.gain",
    "generator.bn.bias": "output_layer.0.bias",
    "generator.bn.running_means": "output_layer.0.stored_mean",
    "generator.bn.running_vars": "output_layer.0.stored_var",
    "generator.conv_to_rgb.weight": "output_layer.2.weight",
    "generator.conv_to_rgb.bias": "output_layer.2.bias",
    "generator.gen_z.weight": "linear.weight",
    "generator.gen_z.bias": "linear.bias",
    "embeddings.weight": "shared.weight",
}


def recognizes(path: Path) -> bool:
    """Whether this is the file of weights, or a folder with it and with a ``config.json`` of such a network."""
    if not path.is_dir():
        return path.name.endswith(_WEIGHTS)
    if not (path / _WEIGHTS).is_file() or not (path / _CONFIG).is_file():
        return False
    with (path / _CONFIG).open("rb") as file:
        return b"channel_width" in file.read(_LARGEST)


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = {}) -> Loaded:
    """The generator, spectral norm folded; it takes class labels as ``label=``. Without settings its truncation is 1.

    Args:
        path: the folder, or the file of weights; its configuration is looked for beside it.
        ema: not looked at; the weights are averaged ones.
        settings: fields of `BigGanDeep` that say how to use it, such as ``truncation``.

    Raises:
        ValueError: a file is damaged, holds something else, or wants to run code; a tensor is missing or misshapen.
    """
    file = path / _WEIGHTS if path.is_dir() else path
    eps = _eps(file.with_name(file.name.removesuffix(_WEIGHTS) + _CONFIG))
    weights = folded(float_tensors(read_torch(file), file, _KIND), file)
    places = dict(_places(weights, file))
    model = with_settings(_model(weights, places, eps, file), settings, path)
    shared_dim = len(weights["embeddings.weight"])
    tensors = {ours: _rearranged(name, weights[name], shared_dim, file) for name, ours in _names(weights, places, file)}
    return fill(model, tensors, file, "BigGAN-deep of TFHub, by Hugging Face's names")


def _eps(file: Path) -> float:
    """What the configuration says and shapes do not; the releases' value where there is no file."""
    if not file.is_file():
        return 1e-4
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError("too large")
        config = json.loads(file.read_bytes())
        doubles = [bool(layer[0]) for layer in config.get("layers", [])]
        eps = float(config.get("eps", 1e-4))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ValueError(f"{file} is no configuration of {_KIND}; take the one beside the weights") from error
    if doubles != [i % 2 == 1 for i in range(len(doubles))]:
        raise ValueError(
            f"{file} has layers of which not every second one doubles the side; such a network is not read"
        )
    if not 0 < eps < 1:
        raise ValueError(f"{file} has eps={eps}; a number such as 1e-4 is one")
    return eps


def _places(weights: Mapping[str, Tensor], file: Path) -> Iterator[tuple[int, str]]:
    """Where each of their layers is here: ``blocks.i.0``, or ``blocks.i.1`` for the attention behind block i."""
    found = (re.match(r"generator\.layers\.(\d{1,3})\.", name) for name in weights)
    layers, blocks = {int(match[1]) for match in found if match}, 0
    for layer in range(max(layers, default=0) + 1):
        if layer not in layers:
            raise ValueError(f"{file} lacks generator.layers.{layer}, which {_KIND} has")
        if f"generator.layers.{layer}.gamma" not in weights:
            yield layer, f"blocks.{blocks}.0"
            blocks += 1
        elif blocks and blocks % 2 == 0:
            yield layer, f"blocks.{blocks - 1}.1"
        else:
            raise ValueError(f"{file} has its attention, layer {layer}, not behind a layer that doubles the side")


def _names(weights: Mapping[str, Tensor], places: Mapping[int, str], file: Path) -> Iterator[tuple[str, str]]:
    """Their name and ours, of every tensor."""
    for name in weights:
        match = re.fullmatch(r"generator\.layers\.(\d{1,3})\.(.+)", name)
        if name in _ENDS:
            yield name, _ENDS[name]
        elif match:
            parts = re.sub(r"\b(bn|conv)_(\d)\b", lambda part: f"{part[1]}{int(part[2]) + 1}", match[2])
            yield name, ".".join([places[int(match[1])], *(_PARTS.get(part, part) for part in parts.split("."))])
        else:
            raise ValueError(f"{file} has {name[:80]!a}, which {_KIND} does not have")


def _model(weights: Mapping[str, Tensor], places: Mapping[int, str], eps: float, file: Path) -> Model:
    """The `BigGanDeep` of these weights, by their shapes."""
    shared_dim, classes = sides(weights, "embeddings.weight", 2, file, _KIND)
    first, inputs = sides(weights, "generator.gen_z.weight", 2, file, _KIND)
    recorded, _ = sides(weights, "generator.bn.running_means", 2, file, _KIND)
    blocks = [layer for layer, place in places.items() if place.endswith(".0")]
    after = (sides(weights, f"generator.layers.{i}.conv_3.weight", 4, file, _KIND)[0] for i in blocks[1::2])
    behind = (int(place.split(".")[1]) for place in places.values() if place.endswith(".1"))
    return residual_model(
        "BigGanDeep",
        (first // 16, *after),
        file,
        classes=classes,
        dim=inputs - shared_dim,
        shared_dim=shared_dim,
        attention=tuple(4 * 2 ** ((i + 1) // 2) for i in behind),
        critic_attention=(),
        spectral=False,
        recorded=recorded,
        eps=eps,
        truncation=1.0,
    )


def _rearranged(name: str, value: Tensor, shared_dim: int, file: Path) -> Tensor:
    """The tensor as our networks have it."""
    if name == "embeddings.weight":
        return value.T.contiguous()
    if value.ndim == 2 and name.endswith((".scale.weight", ".offset.weight", "gen_z.weight")):
        value = value.roll(shared_dim, dims=1)  # of the latent, then the class; here the class comes first
    if name.startswith("generator.gen_z"):
        if value.ndim == 0 or len(value) == 0 or len(value) % 16:
            raise ValueError(f"{file} has {name} of shape {tuple(value.shape)}; its rows are those of 16 pixels")
        return value.unflatten(0, (16, -1)).transpose(0, 1).flatten(0, 1)  # here channels come before pixels
    if name.startswith("generator.conv_to_rgb") and value.ndim:
        return value[:3].contiguous()  # the others were never looked at
    return value.reshape(()) if name.endswith(".gamma") and value.numel() == 1 else value
