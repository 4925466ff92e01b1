"""What a pickle may cost and may mention, for all readers of pickles."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Budget", "Built", "Name", "Refused", "Rules", "shown"]

Rules = Mapping[str, Callable[..., Any] | None]  # None: may be named, not called

_STEPS = 1_000_000  # opcodes; a StyleGAN snapshot with both networks has some ten thousand
_COPIES = 4  # times the size of the file: bytes that calls may make; a snapshot needs less than two


class Refused(ValueError):
    """The pickle is broken or wants what it does not get; the message completes "the file ..."."""


def shown(text: str) -> str:
    r"""A text out of a file, fit for one line on a terminal.

    Example:
        >>> print(shown("os.system\n"))
        'os.system\n'
    """
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")


class Budget:
    """How much may still be made from a file of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self.steps, self.bytes = _STEPS, _COPIES * size + 2**20

    def step(self) -> None:
        """One opcode.

        Raises:
            Refused: there were too many.
        """
        self.steps -= 1
        if self.steps < 0:
            raise Refused(f"has more than {_STEPS} opcodes, which no checkpoint needs")

    def spend(self, count: int, what: str) -> None:
        """``count`` bytes of memory.

        Raises:
            Refused: all that the file's size allows is spent.
        """
        self.bytes -= count
        if self.bytes < 0:
            raise Refused(f"asks for far more memory than its size: {what} of {count} bytes")


@dataclass(frozen=True)
class Name:
    """Something a pickle names, such as ``torch.FloatStorage``."""

    text: str


class Built(ABC):
    """What a rule makes when the rest of it arrives by the opcode BUILD."""

    @abstractmethod
    def build(self, state: Any) -> None:
        """Take the state in."""
