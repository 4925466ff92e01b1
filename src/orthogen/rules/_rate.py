"""The optimal learning rate of one matrix."""

import torch
from torch import Tensor

from orthogen.core.shapes import Float
from orthogen.rules._bound import wide

__all__ = ["optimal_rate"]


def optimal_rate(weight: Float[Tensor, "..."], gradient: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The rate eta* = a b / (a c + 2 b²) of weight w and gradient l, with a = <w, w>, b = <l, w>, c = <l, l>.

    In float64 from products in the tensors' own type, float32 at least: those of a million entries in float64 would
    take longer than the optimizer's step. Not finite where one of the two is zero or not finite.

    Example:
        >>> w = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
        >>> [round(optimal_rate(w, k * w).item(), 4) for k in (1.0, 2.0, -1.0)]  # 1 / (3 k)
        [0.3333, 0.1667, -0.3333]
    """
    w, l = wide(weight).flatten(), wide(gradient).flatten()  # noqa: E741 (the paper's letter)
    a, c = (torch.linalg.vector_norm(x).double().square() for x in (w, l))
    b = torch.dot(w, l).double()
    return b / (c * (1 + 2 * b.square() / (a * c)))
