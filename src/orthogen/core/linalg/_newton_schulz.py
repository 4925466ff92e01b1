"""Square roots by the coupled Newton-Schulz iteration."""

import torch
from torch import Tensor

__all__ = ["newton_schulz_root"]


def newton_schulz_root(A: Tensor, *, inverse: bool, iterations: int) -> Tensor:
    """Y and Z approach the root and the inverse root of A / tr(A).

    T = (3 I - Z Y) / 2,  Y <- Y T,  Z <- T Z,  from Y = A / tr(A) and Z = I
    """
    trace = A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    size = torch.where(trace > 0, trace, 1)  # a matrix of zeros stays one
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    Y, Z = A / size, identity.expand_as(A)
    for _ in range(iterations):
        T = 1.5 * identity - 0.5 * Z @ Y
        Y, Z = Y @ T, T @ Z
    return Z / size.sqrt() if inverse else Y * size.sqrt()
