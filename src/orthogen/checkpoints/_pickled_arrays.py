"""NumPy's scalars and arrays out of pickles; only plain numbers, no objects."""

import math
import re
from typing import Any

import numpy as np

from orthogen.checkpoints._pickle_parts import Budget, Built, Name, Refused, Rules, shown

__all__ = ["PickledArray", "array_rules"]


class _DType(Built):
    """A type of plain numbers; its byte order comes with BUILD."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not (isinstance(code, str) and re.fullmatch(r"[<>|=]?([biu]1|[iuf][248]|[c](8|16))", code)):
            named = shown(code) if isinstance(code, str) else type(code).__name__
            raise Refused(f"has numbers of the type {named}; plain integers and floats are read")
        self.value = np.dtype(code)

    def build(self, state: Any) -> None:
        """Take the byte order from ``(version, order, subarray, names, fields, ...)``."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                self.value = self.value.newbyteorder(order)
            case _:
                raise Refused("has numbers of a structured type; plain integers and floats are read")


class PickledArray(Built):
    """An array; ``value`` is None until its numbers arrive."""

    value: np.ndarray | None = None

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def build(self, state: Any) -> None:
        """Take the array from ``(version, shape, dtype, is_fortran, bytes)``."""
        match state:
            case (int(), shape, dtype, bool(fortran), content):
                self.value = _array(content, dtype, shape, "F" if fortran else "C", self.budget)
            case _:
                raise Refused("has an array that NumPy did not write")


def _array(content: Any, dtype: Any, shape: Any, order: Any, budget: Budget) -> np.ndarray:
    if not isinstance(dtype, _DType) or not isinstance(content, bytes | bytearray) or order not in ("C", "F"):
        raise Refused("has an array whose type or bytes are of the wrong kind")
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**40 for n in shape) or len(shape) > 16:
        raise Refused("has an array without a proper shape")
    if math.prod(shape) * dtype.value.itemsize != len(content):
        raise Refused(f"has an array of shape {shape} in {len(content)} bytes")
    budget.spend(len(content), "an array")
    return np.frombuffer(bytearray(content), dtype.value).reshape(shape, order=order)


def array_rules(budget: Budget) -> Rules:
    """What makes scalars (as plain Python numbers) and arrays (as `PickledArray`)."""

    def scalar(dtype: Any, content: Any) -> Any:
        return _array(content, dtype, (), "C", budget).item()

    def reconstruct(kind: Any, shape: Any, code: Any) -> PickledArray:
        if kind != Name("numpy.ndarray"):
            raise Refused("has an array of another type than numpy.ndarray")
        return PickledArray(budget)

    def frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
        made = PickledArray(budget)
        made.value = _array(content, dtype, shape, order, budget)
        return made

    rules: Rules = {"numpy.ndarray": None, "numpy.dtype": _DType}
    for home in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
        rules = {
            **rules,
            f"{home}.multiarray.scalar": scalar,
            f"{home}.multiarray._reconstruct": reconstruct,
            f"{home}.numeric._frombuffer": frombuffer,
        }
    return rules
