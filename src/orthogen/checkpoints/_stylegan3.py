"""Weights under the official names of StyleGAN3 -> generator; sizes are read off the weights and their names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._state_dict import sides
from orthogen.checkpoints._stylegan2 import mapping_sizes, number
from orthogen.checkpoints._tensors import fill
from orthogen.core import catalogue

__all__ = ["recorded", "stylegan3"]

_KIND = "a StyleGAN3 generator"
_LAYER = re.compile(r"synthesis\.(L(\d{1,2})_(\d{1,5})_\d{1,5})\.weight")
_LARGEST = 8192  # samples along a side; no tensor of a file is as large as the activations it leads to
_WHOLE = ("channel_base", "channel_max", "num_critical", "margin_size")
_NUMBERS = ("first_cutoff", "first_stopband", "last_stopband_rel", "output_scale", "conv_clamp")


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    found = sorted((int(match[2]), int(match[3]), match[1]) for match in map(_LAYER.fullmatch, tensors) if match)
    if len(found) < 2:
        raise ValueError(f"{path} has {len(found)} layers synthesis.L0_..., synthesis.L1_...; {_KIND} has 2 or more")
    if max(size for _, size, _ in found) > _LARGEST:
        raise ValueError(f"{path} asks for more than {_LARGEST} samples along a side, which no published network does")
    shapes = [sides(tensors, f"synthesis.{name}.weight", 4, path, _KIND) for *_, name in found]
    config, resolution = "r" if shapes[0][-1] == 1 else "t", found[-1][1]
    return {
        "config": config,
        "resolution": resolution,
        "channels": shapes[-1][0],
        "num_layers": len(found) - 1,
        "channel_base": shapes[-2][0] * resolution,  # as the model's rule has it, where the file records nothing else
        "channel_max": shapes[0][0],
        **mapping_sizes(tensors, path, _KIND),
    }


def recorded(modules: Mapping[str, Mapping[Any, Any]]) -> dict[str, Any]:
    """What a snapshot's modules say of themselves that is a field of `orthogen.StyleGan3` and not seen in the weights.

    Args:
        modules: the attributes of each by its name; those of classes of StyleGAN's hold what they were made with.
    """
    first = next((name for name in modules if name.startswith("synthesis.L0_")), "synthesis")
    said: dict[Any, Any] = {}
    for name in ("", "synthesis"):
        made_with = modules[name].get("_init_kwargs")
        said |= made_with if isinstance(made_with, dict) else {}
    said |= {**modules["synthesis"], **modules[first], "first_cutoff": modules["synthesis.input"].get("bandwidth")}
    found = {name: value for name in (*_WHOLE, *_NUMBERS) if (value := number(said.get(name))) is not None}
    whole = {name: int(found[name]) for name in _WHOLE if name in found}
    return {**found, **whole, **({"conv_clamp": None} if said.get("conv_clamp", 0) is None else {})}


def stylegan3(
    tensors: Mapping[str, Tensor], path: Path, settings: Mapping[str, Any], *, format: str, **told: Any
) -> Loaded:
    """The generator with these weights, in float32.

    Args:
        tensors: by their official names.
        path: of the file, for messages.
        settings: fields of `orthogen.StyleGan3` that say how to use it: space, truncation. There is no noise.
        format: of the file, in words.
        told: fields that the file tells beside its weights.

    Raises:
        ValueError: a weight is missing, too much, or of another shape than the others ask for.
    """
    sizes = {**_sizes(tensors, path), **told}
    if sizes["config"] == "r":  # the model doubles them
        sizes = {**sizes, "channel_base": sizes["channel_base"] // 2, "channel_max": sizes["channel_max"] // 2}
    try:
        model = catalogue.find("StyleGan3", "models").load()(**sizes)
    except ValueError as error:
        raise ValueError(f"{path} has the weights of no StyleGAN3: {error}") from error
    floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return fill(with_settings(model, settings, path), floats, path, format)
