"""One generator in one safetensors file: its weights, and the record of the model that builds it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._tensors import generator_bytes, read_about, read_tensors, recorded
from orthogen.core.files import write_atomically
from orthogen.core.kinds import Model
from orthogen.core.record import to_json

__all__ = ["load", "recognizes", "save_generator"]


def recognizes(path: Path) -> bool:
    """Whether this is a generator file of ours."""
    return path.is_file() and read_about(path) is not None


def load(
    path: Path, *, ema: bool = True, settings: Mapping[str, Any] = MappingProxyType({}), model: Model | None = None
) -> Loaded:
    """The generator in the file. It holds one set of weights.

    Raises:
        ValueError: ``ema=False`` of a file that holds averaged weights, or a model that cannot be rebuilt here.
    """
    about = read_about(path)
    assert about is not None, "recognizes() was asked first"
    if not ema and about.get("ema"):
        raise ValueError(f"{path} holds averaged weights only; the others are in the checkpoint folder of its run")
    return recorded(about["model"], read_tensors(path), path, model, settings)


def save_generator(path: str | Path, model: Model, module: nn.Module) -> None:
    """Write a generator to one file, atomically; `orthogen.load` reads it.

    Args:
        path: of the file, by custom ``*.safetensors``.
        model: what builds the network; its record goes into the file.
        module: the network, as ``model.build()["generator"]`` gives it.

    Raises:
        TypeError: the model cannot be written to JSON, or the module keeps something that is no tensor.
    """
    write_atomically(Path(path), generator_bytes(module, {"model": to_json(model)}))
