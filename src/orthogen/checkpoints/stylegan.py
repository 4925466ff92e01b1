"""Snapshots of StyleGAN2-ADA and StyleGAN3 (``network-snapshot-*.pkl``), without running the code they carry.

Written from the published layout: a pickled dictionary with ``G``, ``D`` and ``G_ema``, each an object of
``torch_utils.persistence``. Files with real weights have not been seen.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._pickle_parts import shown
from orthogen.checkpoints._restricted import Persistent, read_pickle
from orthogen.checkpoints._state_dict import affordable
from orthogen.checkpoints._stylegan2 import number, stylegan2
from orthogen.checkpoints._stylegan3 import recorded, stylegan3

__all__ = ["load", "recognizes"]

_PARTS = ("_parameters", "_buffers", "_modules")  # of a pickled nn.Module
_SETTINGS = (("clamp", "synthesis.b4.conv1", "conv_clamp"), ("lr_multiplier", "mapping.fc0", "bias_gain"))
# a generator has 5 and some hundred of both; a pickle can share them, and their names, until they are billions
_DEPTH, _MODULES, _TENSORS, _LETTERS = 16, 10_000, 10_000, 100


def recognizes(path: Path) -> bool:
    """Whether this is a pickle with StyleGAN's persistent objects, or calls itself a pickle."""
    if not path.is_file():
        return False
    if path.suffix == ".pkl":
        return True
    with path.open("rb") as file:
        return b"torch_utils.persistence" in file.read(4096)


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = MappingProxyType({})) -> Loaded:
    """The snapshot's generator on the CPU, in float32.

    Args:
        path: of the snapshot.
        ema: ``G_ema``, the averaged weights; False for ``G``.
        settings: fields of `orthogen.StyleGan2` or `orthogen.StyleGan3` that say how to use it: space, truncation, and
            in StyleGAN2 noise.

    Raises:
        ValueError: the file is damaged, names what a snapshot does not need, or holds another network.
    """
    snapshot, key = read_pickle(path), "G_ema" if ema else "G"
    if not isinstance(snapshot, dict) or not isinstance(snapshot.get(key), Persistent):
        raise ValueError(f"{path} holds no network {key}; that is no snapshot of StyleGAN2 or StyleGAN3")
    modules = dict(_modules(snapshot[key], path))
    tensors = dict(_tensors(modules, path))
    affordable(tensors, path)
    told: dict[str, Any] = {}
    for field, module, attribute in _SETTINGS:
        value = number(modules.get(module, {}).get(attribute))
        if value is not None:
            told[field] = value
    if "synthesis.input" in modules:
        told |= recorded(modules)
        return stylegan3(tensors, path, settings, format="StyleGAN3", **told)
    return stylegan2(tensors, path, settings, format="StyleGAN2-ADA (PyTorch)", **told)


def _modules(root: Persistent, path: Path) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The attributes of all modules, by name."""
    waiting, seen = [("", root)], 0
    while waiting:
        name, module = waiting.pop()
        seen += 1
        for part in _PARTS:
            if not isinstance(module.state.get(part), dict):
                raise ValueError(f"{path}: {name or 'the generator'} has no {part}; it is no pickled module")
        children = module.state["_modules"]
        if seen + len(waiting) + len(children) > _MODULES or name.count(".") >= _DEPTH:
            raise ValueError(f"{path} holds modules inside modules without end; that is no generator")
        yield name, module.state
        for inner, child in children.items():
            full = _inside(name, inner, path)
            if not isinstance(child, Persistent):
                raise ValueError(f"{path}: {full} is a {type(child).__name__}, not a module")
            waiting.append((full, child))


def _inside(module: str, own: Any, path: Path) -> str:
    """The full name of what a module calls ``own``."""
    if not isinstance(own, str) or len(own) > _LETTERS or not own.isprintable():
        name = shown(own) if isinstance(own, str) else f"a {type(own).__name__}"
        raise ValueError(f"{path} calls a module or tensor {name}, which no snapshot does")
    return f"{module}.{own}".removeprefix(".")


def _tensors(modules: Mapping[str, dict[Any, Any]], path: Path) -> Iterator[tuple[str, Tensor]]:
    left = _TENSORS
    for module, state in modules.items():
        found = {**state["_parameters"], **state["_buffers"]}
        left -= len(found)
        if left < 0:
            raise ValueError(f"{path} holds more than {_TENSORS} tensors; that is no generator")
        for own, value in found.items():
            name = _inside(module, own, path)
            if value is None:  # a parameter that a module does without
                continue
            if not isinstance(value, Tensor):
                raise ValueError(f"{path}: {name} is a {type(value).__name__}, not a tensor")
            yield name, value
