"""A gradient that may not be differentiated again, and says so."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["only_once"]


class _Once(torch.autograd.Function):
    """Passes a value on; its own gradient is an error."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *parents: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> None:
        raise RuntimeError(
            "this root or factor has a first derivative only; where a gradient is differentiated again, take "
            "newton_schulz for a root and PolarExpress for a polar factor"
        )


def only_once(value: Tensor, *parents: Tensor) -> Tensor:
    """The value, a gradient made outside autograd; ``parents`` are what it depends on.

    torch's ``once_differentiable`` sees the incoming gradient only. Where that one is a constant, the result becomes a
    constant too, and a second derivative silently lacks this term.
    """
    if not torch.is_grad_enabled():  # nobody asked for a graph of the gradient
        return value
    passed: Tensor = _Once.apply(value, *parents)
    return passed
