"""A score: a number with its standard error, its sample count and the protocol that gave it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Score"]

NORMAL_95 = 1.959963984540054  # the normal quantile of a two-sided interval of 95 %


def _with_error(value: float, error: float) -> str:
    """Both with the decimals that the error makes sense of, and a common power of ten where that is long.

    The error has one digit, or two where the first is a 1, which alone would be coarse.
    """
    if not (error > 0 and math.isfinite(error) and math.isfinite(value)):
        return f"{value:.4f} ± {error:.4f}"
    power = math.floor(math.log10(max(abs(value), error)))
    if -4 < power < 6:
        power = 0
    value, error = value / 10**power, error / 10**power
    first = math.floor(math.log10(error))
    leading = float(f"{error / 10**first:.1f}")  # what rounding to two digits makes of it
    digits = max(0, (1 if leading < 2 else 0) - first)
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
        protocol: every setting that changes the number's meaning, ready for JSON; scores of different protocols are not
            compared.
        parts: the value by layer, factor, dimension or class, where there is one, as plain numbers or lists of them;
            ``note``, where there is one, is what nobody should read the value without.
        about: what was measured: the checkpoint, its directions, the seed; scores that differ only here are compared.

    Example:
        >>> print(Score(0.8312, stderr=0.0214, n=2000, name="MIG"))
        MIG 0.83 ± 0.02 (n=2000)
        >>> print(Score(0.000152, stderr=0.000012, name="Activeness"))
        Activeness (1.52 ± 0.12)e-04
    """

    value: float
    stderr: float | None = None
    n: int = 0
    name: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def interval_95(self) -> tuple[float, float] | None:
        """The value ± 1.96 standard errors: a normal interval of 95 %; None without a standard error.

        Example:
            >>> low, high = Score(1.0, stderr=0.5).interval_95
            >>> f"{low:.2f} {high:.2f}"
            '0.02 1.98'
        """
        if self.stderr is None:
            return None
        return self.value - NORMAL_95 * self.stderr, self.value + NORMAL_95 * self.stderr

    def named_parts(self) -> "list[tuple[str, Score]]":
        """The parts that are numbers with a standard error of their own (``X`` beside ``X_stderr``), as scores.

        Example:
            >>> parts = {"precision": 0.71, "precision_stderr": 0.02, "k": 3}
            >>> [str(part) for _, part in Score(0.65, parts=parts, n=100).named_parts()]
            ['precision 0.71 ± 0.02 (n=100)']
        """
        found = []
        for name, value in self.parts.items():
            error = self.parts.get(f"{name}_stderr")
            if isinstance(value, int | float) and isinstance(error, int | float):
                found.append((name, Score(float(value), float(error), self.n, name.replace("_", " "), self.protocol)))
        return found

    def __str__(self) -> str:
        if self.stderr is None:
            text = f"{self.value:.4g}"
        else:
            text = _with_error(self.value, self.stderr)
        return f"{self.name} {text}".strip() + (f" (n={self.n})" if self.n else "")
