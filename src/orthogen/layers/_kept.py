"""What is computed from weights alone, kept for as long as they have the same values."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["Kept"]

T = TypeVar("T")


class Kept(Generic[T]):
    """A result that is made again when a tensor it came from has another value, however it came by it.

    Values are compared, and not the version counters of autograd, which writes to ``tensor.data`` pass by: averages of
    weights are often made so, of networks that are never in training mode. On CUDA the comparison waits for the device;
    so it is for evaluation only. The result carries no gradient.
    """

    def __init__(self) -> None:
        self._made: tuple[Tensor, object, T] | None = None

    def get(self, make: Callable[[], T], sources: Sequence[Tensor], setting: object = None) -> T:
        """What ``make`` returns for these sources (of one type and device) and this setting."""
        if not all(map(_comparable, sources)):
            return make()
        with torch.inference_mode(False), torch.no_grad():  # kept for passes outside of inference mode too
            now = torch.cat([source.flatten() for source in sources])
            if self._made is None or self._made[1] != setting or not _same(self._made[0], now):
                self._made = now, setting, make()
            return self._made[2]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)


def _comparable(source: Tensor) -> bool:
    """Whether its values can be looked at: not while they are traced or recorded."""
    capturing = source.is_cuda and torch.cuda.is_current_stream_capturing()
    return not (source.is_meta or capturing or torch.compiler.is_compiling())
