"""Modules that draw from a generator of their own, and passes of them that draw alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import nn

__all__ = ["Drawing", "repeating"]


class Drawing(nn.Module, ABC):
    """A module whose passes draw from a generator that it is given, such as a critic behind an augmentation."""

    @property
    @abstractmethod
    def rng(self) -> torch.Generator:
        """What the next pass draws from."""


def repeating(module: nn.Module) -> Callable[[], None]:
    """What puts the generators of a module's parts back to where they are now: passes after it draw alike.

    Example:
        >>> class Noisy(Drawing):
        ...     rng = torch.Generator()
        ...     def forward(self, x):
        ...         return x + torch.rand(1, generator=self.rng)
        >>> noisy = nn.Sequential(Noisy())
        >>> again, x = repeating(noisy), torch.zeros(1)
        >>> first, other, _ = noisy(x), noisy(x), again()
        >>> bool(noisy(x) == first != other)
        True
    """
    rngs = [part.rng for part in module.modules() if isinstance(part, Drawing)]
    states = [rng.get_state() for rng in rngs]

    def again() -> None:
        for rng, state in zip(rngs, states, strict=True):
            rng.set_state(state)

    return again
