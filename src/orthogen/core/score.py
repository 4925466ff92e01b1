"""A score: a number with its standard error, its sample count and the protocol that gave it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Score"]


def _with_error(value: float, error: float) -> str:
    """Both with as many decimals as show two digits of the error, and a common power of ten where that is long."""
    if not (error > 0 and math.isfinite(error) and math.isfinite(value)):
        return f"{value:.4f} ± {error:.4f}"
    power = math.floor(math.log10(max(abs(value), error)))
    if -4 < power < 6:
        power = 0
    value, error = value / 10**power, error / 10**power
    digits = max(0, 1 - math.floor(math.log10(error)))
    text = f"{value:.{digits}f} ± {error:.{digits}f}"
    return f"({text})e{power:+03d}" if power else text


@dataclass(frozen=True)
class Score:
    """One measured value.

    Attributes:
        value: the number.
        stderr: its standard error, in the unit of the value; None if it cannot be estimated.
        n: how many samples, pairs or images it rests on.
        name: what is measured, e.g. ``"MIG"``.
        protocol: every setting that changes the number, ready for JSON.
        parts: the value by layer, factor, dimension or class, where there is one, as plain numbers or lists of them.

    Example:
        >>> print(Score(0.8312, stderr=0.0214, n=2000, name="MIG"))
        MIG 0.831 ± 0.021 (n = 2000)
        >>> print(Score(0.000152, stderr=0.00002, name="Activeness"))
        Activeness (1.52 ± 0.20)e-04
    """

    value: float
    stderr: float | None = None
    n: int = 0
    name: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.stderr is None:
            text = f"{self.value:.4g}"
        else:
            text = _with_error(self.value, self.stderr)
        return f"{self.name} {text}".strip() + (f" (n = {self.n})" if self.n else "")
