"""What a function reaches: the networks it sees with, and whatever else decides what it returns.

A network may hide in a closure, an object, a partial or a dictionary. One that is missed would run in training mode,
and two functions that differ only in it would count as the same extractor.
"""

import builtins
import dis
import functools
import inspect
import sys
import tokenize
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Reach"]

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype)
OF_TORCH = frozenset(vars(nn.Module()))  # what every module has; the rest of its attributes are its author's
CHANGES = frozenset({"append", "extend", "insert", "add", "update"})  # of a list, a set or a dictionary


@functools.cache
def _installed(package: str) -> bool:
    if package in ("orthogen", *sys.stdlib_module_names):
        return True
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _foreign(thing: Any) -> bool:
    """Whether it comes from an installed package, which goes by its name and is not looked into."""
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return _installed((name or builtins.__name__).partition(".")[0])


def _source(thing: Any) -> str | None:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        code = getattr(thing, "__code__", None)  # typed in, and nowhere to be read
        return None if code is None else code.co_code.hex()


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _arguments(code: CodeType, *operations: str) -> set[str]:
    """The names that operations of a function, or of one inside it, are done to."""
    found = (each for inner in _codes(code) for each in dis.get_instructions(inner))
    return {each.argval for each in found if each.opname in operations}


def _names(code: CodeType) -> set[str]:
    return {name for inner in _codes(code) for name in inner.co_names}


def _fills(code: CodeType) -> bool:
    """Whether it puts anything into a list or dictionary of somebody's."""
    return bool(_names(code) & CHANGES or _arguments(code, "STORE_SUBSCR"))


class Reach:
    """Everything that can be reached from a function or module.

    Numbers and texts are its settings, except where the code itself assigns them: a count of calls is no setting.

    Args:
        given: what is called with images.

    Attributes:
        networks: the outermost modules.
        tensors: tensors outside of them.
        sources: the text of functions and classes that are not from an installed package.
        settings: the kinds of things, and the numbers and texts they hold, each with the way to it.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> found = Reach(functools.partial(lambda held, x: held["net"](x), {"net": net, "size": 4}))
        >>> found.networks[0] is net, [each for each in found.settings if "size" in each]
        (True, ['.args.0.size = 4'])
    """

    def __init__(self, given: Callable[..., Any]) -> None:
        self.networks: list[nn.Module] = []
        self.tensors: list[Tensor] = []
        self.sources: list[str] = []
        self.settings: list[str] = []
        self._seen: dict[int, Any] = {}  # held, so that no id is used twice
        self._kinds: set[type] = set()
        self._visit("", given, keep=True)

    def _visit(self, where: str, value: Any, *, keep: bool) -> None:
        """Look into a value; without ``keep`` for networks only."""
        if isinstance(value, PLAIN):
            if keep:
                self.settings.append(f"{where} = {value!r}")
            return
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, nn.Module):
            self._network(where, value)
        elif isinstance(value, Tensor | np.ndarray):
            if keep and not (isinstance(value, np.ndarray) and value.dtype.hasobject):
                self.tensors.append(torch.as_tensor(value))
        elif isinstance(value, dict):
            self._all(where, {str(key): part for key, part in value.items()}, keep=keep)
        elif isinstance(value, list | tuple):
            self._all(where, {str(at): part for at, part in enumerate(value)}, keep=keep)
        elif isinstance(value, set | frozenset):
            self._all(where, {str(at): part for at, part in enumerate(sorted(value, key=repr))}, keep=keep)
        elif isinstance(value, FunctionType):
            self._function(where, value, keep=keep)
        elif isinstance(value, MethodType):
            self._visit(f"{where}()", value.__func__, keep=keep)
            self._object(where, value.__self__, keep=keep, code=getattr(value.__func__, "__code__", None))
        elif isinstance(value, BuiltinFunctionType):
            self._kind(where, value, keep=keep)
            self._visit(where, value.__self__, keep=keep)
        elif isinstance(value, functools.partial):
            self._all(where, {"func": value.func, "args": value.args, "keywords": value.keywords}, keep=keep)
        elif isinstance(value, type):
            self._kind(where, value, keep=keep)
        elif not isinstance(value, ModuleType):
            self._object(where, value, keep=keep)

    def _all(self, where: str, values: Mapping[str, Any], *, keep: bool, state: set[str] | None = None) -> None:
        for name, value in values.items():
            self._visit(f"{where}.{name}", value, keep=keep and name not in (state or ()))

    def _kind(self, where: str, thing: Any, *, keep: bool) -> None:
        """A function or class: its name, and its text unless it is installed."""
        if keep:
            self.settings.append(f"{where} is {getattr(thing, '__qualname__', type(thing).__qualname__)}")
        if not isinstance(thing, type) or _foreign(thing):
            return
        for base in thing.__mro__:
            if _foreign(base) or base in self._kinds:
                continue
            self._kinds.add(base)
            if keep and (text := _source(base)) is not None:
                self.sources.append(text)
            for name, part in vars(base).items():
                function = getattr(part, "__func__", part)  # of a static or class method
                if isinstance(function, FunctionType):
                    made = function.__code__.co_filename.startswith("<") and name.startswith("__")  # a dataclass's
                    self._function(f"{where}.{name}", function, keep=keep, text=not made)
                elif not name.startswith("__"):
                    self._visit(f"{where}.{name}", part, keep=keep)

    def _function(self, where: str, function: FunctionType, *, keep: bool, text: bool = True) -> None:
        """A function: its text, what it closes over, its defaults, and the globals that it names."""
        if _foreign(function):
            if keep:
                self.settings.append(f"{where} is {function.__module__}.{function.__qualname__}")
            return
        code = function.__code__
        if keep and text:
            self.sources.append(f"{_source(function)} {sorted(_names(code))}")  # two may share a line
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        held = {name: value for name, cell in cells if (value := _content(cell)) is not _content}
        for name in sorted(_arguments(code, "LOAD_GLOBAL", "LOAD_NAME") & set(function.__globals__)):
            value = function.__globals__[name]
            if isinstance(value, ModuleType) and not _foreign(value):  # of what it holds, what the code names
                held |= {f"{name}.{each}": vars(value)[each] for each in sorted(_names(code) & set(vars(value)))}
            held[name] = value
        held |= {"defaults": function.__defaults__, "keywords": function.__kwdefaults__, **vars(function)}
        state = _arguments(code, "STORE_DEREF", "STORE_GLOBAL")
        if _fills(code):
            state |= {name for name, value in held.items() if isinstance(value, list | set | dict)}
        self._all(where, held, keep=keep, state=state)

    def _object(self, where: str, value: Any, *, keep: bool, code: CodeType | None = None) -> None:
        """An instance: its class and its attributes."""
        if isinstance(value, nn.Module | type | ModuleType):
            self._visit(where, value, keep=keep)
            return
        self._visit(where, inspect.getattr_static(value, "__wrapped__", None), keep=keep)  # of a cached function
        kind = type(value)
        if kind.__module__.partition(".")[0] in sys.stdlib_module_names and kind not in (SimpleNamespace, Namespace):
            return
        self._kind(where, kind, keep=keep)
        try:
            held = object.__getstate__(value)  # attributes and slots, without any code of the class being run
        except TypeError:
            return
        for attributes in held if isinstance(held, tuple) else (held,):
            self._all(where, attributes or {}, keep=keep, state=_state(value, attributes or {}, code))

    def _network(self, where: str, network: nn.Module) -> None:
        """A module: its parts, their attributes and hooks."""
        self.networks.append(network)
        for name, part in network.named_modules():
            self._seen[id(part)] = part
            path = f"{where}.{name}"
            self._kind(path, type(part), keep=True)
            attributes = {key: value for key, value in vars(part).items() if key not in OF_TORCH}
            computed = {key for key in attributes if {f"{key}_orig", f"{key}_g"} & set(part._parameters.keys())}
            self._all(path, attributes, keep=True, state=_state(part, attributes, None) | computed)
            hooks = (part._forward_pre_hooks, part._forward_hooks)
            self._visit(f"{path}.hooks", [hook for each in hooks for hook in each.values()], keep=True)
            if type(part).get_extra_state is not nn.Module.get_extra_state:
                self._visit(f"{path}.extra", part.get_extra_state(), keep=True)


def _content(cell: Any) -> Any:
    """What a closure's cell holds; this function, which nobody closes over, if it is still empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return _content


def _state(value: Any, attributes: Mapping[str, Any], code: CodeType | None) -> set[str]:
    """The attributes of an object that its own call assigns or fills."""
    called = (getattr(type(value), name, None) for name in ("__call__", "forward"))
    codes = [code, *(getattr(each, "__code__", None) for each in called)]
    found: set[str] = set()
    for each in codes:
        if each is None:
            continue
        found |= _arguments(each, "STORE_ATTR")
        if _fills(each):
            found |= {name for name, held in attributes.items() if isinstance(held, list | set | dict)}
    return found
