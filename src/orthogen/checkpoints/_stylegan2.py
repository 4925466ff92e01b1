"""Weights under the official names of StyleGAN2 -> Generator; the sizes of the network are read off the weights."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints._tensors import build_generator
from orthogen.core import catalogue
from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.core.record import to_json

__all__ = ["stylegan2_generator"]


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in tensors:
            raise ValueError(f"{path} lacks {name}; that is no StyleGAN2 generator of the skip architecture")
        if tensors[name].ndim != dimensions:
            raise ValueError(f"{path} has {name} of shape {tuple(tensors[name].shape)}; it has {dimensions} dimensions")
        return tuple(tensors[name].shape)

    found = (re.fullmatch(r"synthesis\.b(\d{1,5})\.conv1\.weight", name) for name in tensors)
    sides = sorted(int(match[1]) for match in found if match)
    widths = {side: shape(f"synthesis.b{side}.conv1.weight", 4)[0] for side in sides}
    largest = max(widths.values(), default=0)
    below = [side * width for side, width in widths.items() if width < largest]
    classes = shape("mapping.embed.weight", 2)[1] if "mapping.embed.weight" in tensors else 0
    (dim_w,) = shape("mapping.w_avg", 1)
    return {
        "resolution": max(sides, default=4),
        "channels": shape(f"synthesis.b{max(sides, default=4)}.torgb.weight", 4)[0],
        "dim_z": shape("mapping.fc0.weight", 2)[1] - (dim_w if classes else 0),
        "dim_w": dim_w,
        "mapping_layers": sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors),
        "classes": classes,
        "channel_base": below[0] if below else largest * max(sides, default=4),
        "channel_max": largest,
    }


def stylegan2_generator(tensors: Mapping[str, Tensor], path: Path, model: Model | None, **settings: Any) -> Generator:
    """The generator with these weights, in float32.

    Args:
        tensors: by their official names.
        path: of the file, for messages.
        model: an `orthogen.StyleGan2` whose space, noise and truncation are wanted; its sizes are not looked at.
        settings: other fields that the file tells.

    Raises:
        ValueError: a weight is missing, too much, or of another shape than the others ask for.
        TypeError: ``model`` is another model.
    """
    kind: Any = catalogue.find("StyleGan2", "models").load()
    if model is not None and not isinstance(model, kind):
        raise TypeError(f"{path} holds a StyleGAN2; load was given model={type(model).__name__}(...), not StyleGan2")
    try:
        model = replace(model or kind(), **_sizes(tensors, path), **settings)
    except ValueError as error:
        raise ValueError(f"{path} has the weights of no StyleGAN2: {error}") from error
    with torch.device("meta"):  # names and shapes without memory, so that no file can ask for a huge network
        expected = {name: value.shape for name, value in model.build()["generator"].state_dict().items()}
    for name, wanted in expected.items():
        if name not in tensors:
            raise ValueError(f"{path} lacks {name}, which a StyleGAN2 of its sizes has")
        if tensors[name].shape != wanted:
            raise ValueError(f"{path} has {name} of shape {tuple(tensors[name].shape)}, not {tuple(wanted)}")
        if not tensors[name].is_floating_point():
            raise ValueError(f"{path} has {name} in {tensors[name].dtype}, not in floating point")
    for name in tensors:
        if name not in expected:
            raise ValueError(f"{path} has {name[:80]!a}, which a StyleGAN2 of its sizes has not")
    weights = {name: value.float() for name, value in tensors.items()}
    return build_generator(to_json(model), weights, path, model)
