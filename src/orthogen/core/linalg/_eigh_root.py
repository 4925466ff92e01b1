"""The root of a positive semidefinite matrix, or its inverse, by eigenvalues, with a derivative free of their gaps."""

from typing import Any

import torch
from torch import Tensor

from orthogen.core.linalg._once import only_once
from orthogen.core.linalg._precision import full_precision

__all__ = ["eigh", "eigh_root"]


def eigh(A: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, smallest first, and eigenvectors; as torch's, it reads the lower triangle.

    A matrix that is not finite has NaN among its eigenvalues. It is kept from the solver, which may raise, and take the
    rest of the batch with it, or find something finite.
    """
    values, vectors = torch.linalg.eigh(A.nan_to_num(0.0, 0.0, 0.0))
    return torch.add(values, A.sum(dim=-1), alpha=0), vectors  # 0 times the sum of a row: 0 or NaN


def eigh_root(A: Tensor, *, inverse: bool, ridge: float, cutoff: float) -> Tensor:
    """(A + ridge)^(1/2), or its inverse, of symmetric matrices; their lower triangles are read.

    Negative eigenvalues are rounding and count as 0. Without a ridge, those of at most ``cutoff`` times the largest
    count as 0 in the inverse, which leaves them out, and in the derivative.
    """
    if A.requires_grad and torch.is_grad_enabled():
        root: Tensor = _EighRoot.apply(A, inverse, ridge, cutoff)
        return root
    return _compose(*_decompose(A, inverse, ridge, cutoff), inverse)


def _decompose(A: Tensor, inverse: bool, ridge: float, cutoff: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues with the ridge, infinite where one is left out, and eigenvectors."""
    values, vectors = eigh(A)
    if ridge:
        values = values.clamp_min(0) + ridge
    elif inverse:
        left_out = values <= cutoff * values.narrow(-1, -1, 1)  # written so that NaN is not left out
        values = values.masked_fill(left_out, torch.inf)
    else:
        values = values.clamp_min(0)
    return values, vectors


def _compose(values: Tensor, Q: Tensor, inverse: bool) -> Tensor:
    f = values.rsqrt() if inverse else values.sqrt()
    return (Q * f.unsqueeze(-2)) @ Q.mT


class _EighRoot(torch.autograd.Function):
    """Q f(L) Q^T, and the derivative of Daleckii and Krein, Q [K o (Q^T dA Q)] Q^T.

    K_ij = (f(l_i) - f(l_j)) / (l_i - l_j), with the difference of the eigenvalues divided out.
    """

    @staticmethod
    def forward(ctx: Any, A: Tensor, inverse: bool, ridge: float, cutoff: float) -> Tensor:
        values, Q = _decompose(A, inverse, ridge, cutoff)
        ctx.save_for_backward(A, values, Q)
        ctx.slopes = _inverse_slopes if inverse else _slopes
        ctx.cutoff = 0.0 if ridge else cutoff
        return _compose(values, Q, inverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        A, values, Q = ctx.saved_tensors
        with torch.no_grad(), full_precision(A):
            found = Q @ (ctx.slopes(values.sqrt(), ctx.cutoff) * (Q.mT @ grad @ Q)) @ Q.mT
            found = (found + found.mT) / 2
        return only_once(found, grad, A), None, None, None


def _slopes(s: Tensor, cutoff: float) -> Tensor:
    """K of the root: 1 / (s_i + s_j). Between two zeros the root has no slope, and 0 stands for it."""
    K = (s.unsqueeze(-1) + s.unsqueeze(-2)).reciprocal()
    if cutoff:
        small = s <= cutoff**0.5 * s.narrow(-1, -1, 1)
        K = K.masked_fill(small.unsqueeze(-1) & small.unsqueeze(-2), 0)
    return K


def _inverse_slopes(s: Tensor, cutoff: float) -> Tensor:
    """K of the inverse root: -1 / (s_i s_j (s_i + s_j)); towards a zero, (f(l) - 0) / (l - 0) = 1 / s³."""
    a, b = s.unsqueeze(-1), s.unsqueeze(-2)
    K = -1 / ((a + b) * a * b)
    if cutoff:
        outwards = a.pow(-3) * b.isinf()
        K = K + outwards + outwards.mT
    return K
