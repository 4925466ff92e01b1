"""Frozen dataclasses to JSON and back, so that a run can be written down and resumed without code of its own.

A dataclass becomes ``{"type": "module:Class", field: value, ...}``; tuples become lists and return as tuples. Only
dataclasses are ever rebuilt, from modules of this package, or from files named by the caller.
"""

import dataclasses
import importlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["from_json", "to_json"]


def to_json(value: Any) -> Any:
    """Plain JSON data for a tree of dataclasses, mappings, sequences, paths and numbers.

    Raises:
        TypeError: something in the tree is none of these.

    Example:
        >>> from orthogen.core.latent import Normal
        >>> to_json(Normal(6))
        {'type': 'orthogen.core.latent:Normal', 'dim': 6}
        >>> from_json(to_json(Normal(6)))
        Normal(dim=6)
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": f"{kind.__module__}:{kind.__qualname__}", **fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written to JSON; use dataclasses of numbers, strings and lists")


def _class(name: str) -> type:
    module, _, qualname = name.partition(":")
    if not (module == "orthogen" or module.startswith(("orthogen.", "orthogen_user_"))):
        raise ValueError(f"{name} is not a class of orthogen; a record may only name those")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        needs = "another version"
        if module.startswith("orthogen_user_"):
            needs = "a file of its own: catalogue.load_file(path), or --with FILE.py"
        raise ValueError(f"{name} is not there ({error}); the record needs {needs}") from error
    # of that module, because a record must not reach other people's classes through what we import
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and found.__module__ == module):
        raise ValueError(f"{name} is not a dataclass of that module; a record may only name those")
    return found


def _fit(value: Any, hint: Any) -> Any:
    """Give a rebuilt value the container type its field declares (JSON knows no tuples or paths)."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        origin = typing.get_origin(option) or option
        if isinstance(value, list) and origin is tuple:
            inner = typing.get_args(option)
            each = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is ... else (inner or [Any] * len(value))
            return tuple(_fit(item, kind) for item, kind in zip(value, each, strict=False))
        if isinstance(value, str) and origin is Path and str not in options:
            return Path(value)
        if isinstance(value, dict) and isinstance(origin, type) and issubclass(origin, Mapping):
            kind = (typing.get_args(option) or (Any, Any))[1]
            return {key: _fit(item, kind) for key, item in value.items()}
    return value


def from_json(data: Any) -> Any:
    """Rebuild what `to_json` wrote.

    Raises:
        ValueError: a type is not a dataclass of this package, or is not there, or a field is not one of its fields.
    """
    if isinstance(data, list):
        return [from_json(item) for item in data]
    if not isinstance(data, dict):
        return data
    if "type" not in data or ":" not in str(data["type"]):
        return {key: from_json(item) for key, item in data.items()}
    kind = _class(data["type"])
    hints = typing.get_type_hints(kind)
    values = {key: from_json(item) for key, item in data.items() if key != "type"}
    unknown = set(values) - {f.name for f in dataclasses.fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}; the record is of another version")
    built = {key: _fit(item, hints.get(key, Any)) for key, item in values.items()}
    custom = kind.__dict__.get("__init__")
    if custom is not None and not kind.__dataclass_params__.init:  # type: ignore[attr-defined]
        return kind(*built.values())
    return kind(**built)
