"""A pickle of plain values and uint8 arrays, read without anything that it could run.

Whatever a pickle names is looked up in a short list of ours, whose entries make inert things; numpy's own functions are
never called, and any other name ends the reading.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Refused", "read_plain"]


class Refused(ValueError):
    """The pickle is broken or names what it must not; the message completes "the file ..."."""


class _Named:
    """What a name of the pickle stands for: it can be called, and nothing of it can be set."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *args: Any) -> Any:
        return self.make(*args)

    def __setstate__(self, state: Any) -> None:
        raise Refused("sets the state of a function")


class _Type:
    """The type of an array's numbers, which can only be uint8."""

    __slots__ = ()

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in ("u1", b"u1", "|u1", b"|u1"):
            raise Refused(f"has an array of the type {ascii(code)[:20]}; images are uint8")

    def __setstate__(self, state: Any) -> None:
        """Nothing is kept: a byte has no order."""


class _Array:
    """An array, whose numbers arrive as its state."""

    __slots__ = ("values",)
    values: np.ndarray

    def __init__(self, *_: Any) -> None:
        self.values = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), tuple(shape), _Type(), False, content):
                self.values = _shaped(content, shape)
            case _:
                raise Refused("has an array that is no plain uint8 array of NumPy")


def _shaped(content: Any, shape: Any) -> np.ndarray:
    whole = isinstance(content, bytes | bytearray) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or math.prod(shape) != len(content):
        raise Refused("has an array whose bytes do not fill its shape")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    if not isinstance(kind, _Type) or not isinstance(shape, tuple) or order != "C":
        raise Refused("has an array that is no plain uint8 array of NumPy")
    made = _Array()
    made.values = _shaped(content, shape)
    return made


def _encode(text: Any, encoding: Any) -> bytes:  # how Python 3 writes bytes in protocols 0 to 2
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused("has bytes in another encoding than latin1")
    return text.encode("latin1")


_NAMES = {"numpy.ndarray": _Named(_Array), "numpy.dtype": _Named(_Type), "_codecs.encode": _Named(_encode)}
for _home in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
    _NAMES[f"{_home}.multiarray._reconstruct"] = _Named(_Array)
    _NAMES[f"{_home}.numeric._frombuffer"] = _Named(_from_buffer)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _NAMES:
            raise Refused(
                f"names {ascii(f'{module}.{name}')[:80]}, which images have no need of (nothing in it was run)"
            )
        return _NAMES[f"{module}.{name}"]


def _within_size(data: bytes) -> None:
    """Refuse a pickle whose parts claim more bytes than it has, before Python sets memory aside for them."""
    for opcode, arg, _ in pickletools.genops(data):  # reads lengths against what is there
        if opcode.name.endswith("PUT") and isinstance(arg, int) and arg > len(data):
            raise Refused(f"remembers {arg:,} things in {len(data):,} bytes")


def _plain(value: Any) -> Any:
    """Arrays as arrays and keys as text, of a dictionary; anything else as it is."""
    if not isinstance(value, dict):
        return value
    return {
        key.decode("latin1") if isinstance(key, bytes) else key: each.values if isinstance(each, _Array) else each
        for key, each in value.items()
    }


def read_plain(data: bytes) -> Any:
    """The value in a pickle of Python 2 or 3, such as a dictionary of uint8 arrays, lists, numbers and text.

    Raises:
        Refused: it is cut short or broken, or names anything but uint8 arrays.

    Example:
        >>> read_plain(pickle.dumps({"data": np.full((1, 2), 7, np.uint8), "labels": [3]}))
        {'data': array([[7, 7]], dtype=uint8), 'labels': [3]}
        >>> read_plain(pickle.dumps(print))
        Traceback (most recent call last):
        orthogen...Refused: names 'builtins.print', which images have no need of (nothing in it was run)
    """
    try:
        _within_size(data)
        return _plain(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except Refused:
        raise
    except Exception as error:  # a broken pickle raises whatever its opcodes happen to meet
        raise Refused(f"is no whole pickle ({' '.join(str(error).split()) or type(error).__name__})") from error
