"""What all files of ours share: tensors in safetensors, and beside them the record of the model that made them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.core.record import from_json

__all__ = ["ABOUT", "build_generator", "generator_bytes", "read_about", "read_tensors", "tensor_bytes"]

ABOUT = "orthogen.generator"  # the metadata entry of a generator file


def tensor_bytes(tensors: Mapping[str, Any], about: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file in memory. Tied tensors are written apart (the format refuses memory that is shared).

    Raises:
        TypeError: an entry is no tensor (a module's extra state, say).
    """
    apart = {}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}; only tensors can be saved")
        apart[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return save(apart, metadata=dict(about or {}))


def generator_bytes(module: nn.Module, about: Mapping[str, Any]) -> bytes:
    """A generator file in memory; ``about["model"]`` is the model's record."""
    return tensor_bytes(module.state_dict(), {ABOUT: json.dumps(about)})


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, which is cut off."""
    with safe_open(str(path), framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def read_about(path: Path) -> dict[str, Any] | None:
    """What a generator file says of itself; None where the file is not one of ours."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return json.loads((file.metadata() or {})[ABOUT])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _model(record: Mapping[str, Any], path: Path) -> Model:
    kind = str(record["type"])
    try:
        return from_json(record)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} was made by the model {kind}, which is not part of orthogen; hand it over: load(path, model=...)"
        ) from error


def build_generator(
    record: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path, model: Model | None = None
) -> Generator:
    """The generator of a recorded (or given) model with these weights, in eval mode.

    Raises:
        ValueError: the model cannot be rebuilt here, or the weights are not its own.
    """
    model = _model(record, path) if model is None else model
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then overwritten
        module = model.build()["generator"]
    expected = module.state_dict()
    shapes, given = ({name: value.shape for name, value in state.items()} for state in (expected, tensors))
    wrong = [name for name in {**shapes, **given} if shapes.get(name) != given.get(name)]
    if wrong:
        raise ValueError(
            f"the weights in {path} do not fit {model}: {len(wrong)} tensors differ, {wrong[0]} among them"
        )
    module.load_state_dict(tensors)
    return model.adapt(module.eval())
