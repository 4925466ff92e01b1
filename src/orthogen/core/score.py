"""A score: a number with its standard error, its sample count and the protocol that gave it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Score"]


def _digits(error: float) -> int:
    """Decimals that show two significant digits of the error."""
    return max(0, 1 - math.floor(math.log10(error))) if error > 0 and math.isfinite(error) else 4


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
        elif 0 < abs(self.value) < 1e-3 or abs(self.value) >= 1e6:
            text = f"{self.value:.3g} ± {self.stderr:.1g}"
        else:
            digits = _digits(self.stderr)
            text = f"{self.value:.{digits}f} ± {self.stderr:.{digits}f}"
        return f"{self.name} {text}".strip() + (f" (n = {self.n})" if self.n else "")
