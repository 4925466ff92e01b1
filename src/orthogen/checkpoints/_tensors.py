"""What all files of ours share: tensors in safetensors, and beside them the record of the model that made them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.core.kinds import Model
from orthogen.core.record import from_json

__all__ = ["ABOUT", "fill", "generator_bytes", "read_about", "read_tensors", "recorded", "tensor_bytes"]

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
            about = json.loads((file.metadata() or {})[ABOUT])
        kind = about["model"]["type"]
        return about if isinstance(kind, str) and kind.isprintable() else None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError):
        return None


def _model(record: Mapping[str, Any], path: Path) -> Model:
    kind = str(record["type"])
    try:
        found = from_json(record)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        if _ours(kind):
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{path} records a {kind[:80]} that cannot be built here: {reason}") from error
        raise ValueError(
            f"{path} was made by the model {kind[:80]}, which is not part of orthogen; hand it over: "
            "load(path, model=...), or --with FILE.py on the command line"
        ) from error
    if not isinstance(found, Model):
        raise ValueError(f"{path} names {kind[:80]} as its model, which is none")
    return found


def _ours(kind: str) -> bool:
    """Whether a recorded type is of this package, and not of a file of the user's."""
    return kind.startswith("orthogen.")


@contextmanager
def _too_large(path: Path, model: Model) -> Iterator[None]:
    """Torch's own words for numbers that no size can have, in ours."""
    try:
        yield
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} asks for a {type(model).__name__} that cannot be built: {reason}") from error


def fill(model: Model, tensors: Mapping[str, Tensor], path: Path, format: str) -> Loaded:
    """The generator of a model with these weights. The network itself takes no memory and draws nothing.

    Args:
        model: whose generator it is.
        tensors: by the names of its state; they become the weights, and are not copied.
        path: of the file, for messages.
        format: of the file, in words.

    Raises:
        ValueError: a tensor is missing, too much, of another shape or of another kind of number.
    """
    kind = type(model).__name__
    with torch.device("meta"), _too_large(path, model):  # without memory: no file can ask for a huge network
        module = model.build()["generator"]
    expected = module.state_dict()
    for name, value in expected.items():
        given = tensors.get(name)
        if given is None:
            raise ValueError(f"{path} lacks {name}, of shape {tuple(value.shape)}, which its {kind} has")
        if given.shape != value.shape:
            raise ValueError(f"{path} has {name} of shape {tuple(given.shape)}; its {kind} needs {tuple(value.shape)}")
        if given.is_floating_point() != value.is_floating_point():
            raise ValueError(f"{path} has {name} in {given.dtype}; its {kind} needs {value.dtype}")
    for name in tensors:
        if name not in expected:
            raise ValueError(f"{path} has {_shown(name)}, which its {kind} does not have")
    made = [name for name, value in _all_tensors(module).items() if value.is_meta and name not in tensors]
    if made:  # what is computed when the network is built, and is not in its state
        with torch.random.fork_rng(devices=[]):
            own = _all_tensors(model.build()["generator"])
    else:
        own = {}
    module.load_state_dict(tensors, strict=False, assign=True)
    for name in made:
        _put(module, name, own[name])
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return Loaded(model, module, format)


def _all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those that are not saved too."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    """Set a parameter or buffer by its full name."""
    where, _, last = name.rpartition(".")
    home = module.get_submodule(where)
    (home._parameters if last in home._parameters else home._buffers)[last] = value  # type: ignore[assignment]


def _shown(name: str) -> str:
    """A name out of a file, fit for one line."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")


def recorded(
    record: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
    model: Model | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Loaded:
    """The generator of a recorded (or given) model with these weights.

    Unlike `fill` it knows nothing of the model, whose layers may share weights or be initialized by any code.

    Raises:
        ValueError: the model cannot be rebuilt here, or the weights are not its own.
    """
    checked = model is None and _ours(str(record["type"]))
    model = with_settings(_model(record, path) if model is None else model, settings or {}, path)
    if checked:  # names and shapes without memory first: a file must not ask for a huge network
        with torch.device("meta"), _too_large(path, model):
            _fitting(model.build()["generator"], tensors, model, path)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then overwritten
        module = model.build()["generator"]
    _fitting(module, tensors, model, path)
    module.load_state_dict(tensors)
    return Loaded(model, module, "a file of orthogen")


def _fitting(module: nn.Module, tensors: Mapping[str, Tensor], model: Model, path: Path) -> None:
    shapes, given = ({name: value.shape for name, value in state.items()} for state in (module.state_dict(), tensors))
    wrong = [name for name in {**shapes, **given} if shapes.get(name) != given.get(name)]
    if wrong:
        raise ValueError(
            f"the weights in {path} do not fit {model}: {len(wrong)} tensors differ, {_shown(wrong[0])} among them"
        )
