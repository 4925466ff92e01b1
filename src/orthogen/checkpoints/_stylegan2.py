"""Weights under the official names of StyleGAN2 -> generator; the sizes of the network are read off the weights."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._state_dict import sides
from orthogen.checkpoints._tensors import fill
from orthogen.core import catalogue
from orthogen.layers.fir import fir

__all__ = ["channel_rule", "mapping_sizes", "number", "stylegan2", "with_filters"]


def channel_rule(widths: Mapping[int, int]) -> dict[str, int]:
    """The fields of a model whose widths by resolution are min(channel_base / resolution, channel_max).

    Where they are no such thing, those of one that has some of them.

    Example:
        >>> channel_rule({4: 512, 8: 512, 16: 256})
        {'channel_base': 4096, 'channel_max': 512}
    """
    largest = max(widths.values())
    below = [side * width for side, width in widths.items() if width < largest]
    return {"channel_base": below[0] if below else largest * max(widths), "channel_max": largest}


def mapping_sizes(tensors: Mapping[str, Tensor], path: Path, kind: str) -> dict[str, int]:
    """The fields of a model that say how large its mapping network is; StyleGAN3 has the same."""
    embedding = "mapping.embed.weight"
    classes = sides(tensors, embedding, 2, path, kind)[1] if embedding in tensors else 0
    (dim_w,) = sides(tensors, "mapping.w_avg", 1, path, kind)
    return {
        "dim_z": sides(tensors, "mapping.fc0.weight", 2, path, kind)[1] - (dim_w if classes else 0),
        "dim_w": dim_w,
        "mapping_layers": sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors),
        "classes": classes,
    }


def number(value: Any) -> float | None:
    """An attribute in a pickle, if it is a number of a size that a setting can have.

    Example:
        >>> [number(value) for value in (3, "3", True, float("nan"), 10**400)]
        [3.0, None, None, None, None]
    """
    return float(value) if type(value) in (int, float) and abs(value) < 2**31 else None


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    kind = "a StyleGAN2 generator (of the skip architecture)"

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        return sides(tensors, name, dimensions, path, kind)

    found = (re.fullmatch(r"synthesis\.b(\d{1,5})\.conv1\.weight", name) for name in tensors)
    resolutions = sorted(int(match[1]) for match in found if match) or [4]
    return {
        "resolution": resolutions[-1],
        "channels": shape(f"synthesis.b{resolutions[-1]}.torgb.weight", 4)[0],
        **mapping_sizes(tensors, path, kind),
        **channel_rule({side: shape(f"synthesis.b{side}.conv1.weight", 4)[0] for side in resolutions}),
    }


def with_filters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, and the low-pass filters that the official files have at every layer and others leave out."""
    layers = (re.fullmatch(r"(synthesis\.b\d+(?:\.conv[01])?)(?:\.torgb)?\.weight", name) for name in tensors)
    names = (f"{layer[1]}.resample_filter" for layer in layers if layer)
    return {**tensors, **{name: fir() for name in names if name not in tensors}}


def stylegan2(
    tensors: Mapping[str, Tensor], path: Path, settings: Mapping[str, Any], *, format: str, **told: Any
) -> Loaded:
    """The generator with these weights, in float32.

    Args:
        tensors: by their official names.
        path: of the file, for messages.
        settings: fields of `orthogen.StyleGan2` that say how to use it: space, noise, truncation.
        format: of the file, in words.
        told: fields that the file tells beside its weights.

    Raises:
        ValueError: a weight is missing, too much, or of another shape than the others ask for.
    """
    sizes = _sizes(tensors, path)
    try:
        model = catalogue.find("StyleGan2", "models").load()(**sizes, **told)
    except ValueError as error:
        raise ValueError(f"{path} has the weights of no StyleGAN2: {error}") from error
    floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return fill(with_settings(model, settings, path), floats, path, format)
