"""Square roots by eigenvalues, with the published ways around 1 / (l_i - l_j) in their derivative.

They are here for comparison: `_eigh_root` has the same derivative without that quotient.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from orthogen.core.linalg._eigh_root import eigh
from orthogen.core.linalg._once import only_once

__all__ = ["DROPPED", "Quotient", "inverse_gaps", "svd_root"]

Quotient = Literal["svd_original", "svd_trunc", "svd_taylor", "svd_pade", "svd_topn"]
SMALLEST = torch.finfo(torch.float64).eps  # eigenvalues are at least this
LARGEST = 1e10  # of svd_trunc
TERMS = 100  # of svd_taylor, after the first
DROPPED = 50  # of svd_topn


def svd_root(A: Tensor, quotient: Quotient, *, inverse: bool) -> Tensor:
    """A^(1/2) or its inverse, of symmetric matrices, in float64 inside."""
    root: Tensor = _SvdRoot.apply(A, quotient, inverse)
    return root


class _SvdRoot(torch.autograd.Function):
    """U f(L) U^T, and backward, through eigenvectors and eigenvalues apart,

    dU = (G + G^T) U f(L),   dL = diag(f'(L) U^T G U),   dA = U [K^T o (U^T dU) + diag(dL)] U^T,   symmetrized.
    """

    @staticmethod
    def forward(ctx: Any, A: Tensor, quotient: Quotient, inverse: bool) -> Tensor:
        values, U = eigh(A.double())
        values = values.clamp_min(SMALLEST)
        power = -0.5 if inverse else 0.5
        ctx.save_for_backward(values, U, A)
        ctx.quotient, ctx.power = quotient, power
        return ((U * values.pow(power).unsqueeze(-2)) @ U.mT).to(A.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        values, U, A = ctx.saved_tensors
        with torch.no_grad():
            G = grad.double()
            roots = values.pow(ctx.power)
            slopes = ctx.power * values.pow(ctx.power - 1)
            turned = U.mT @ ((G + G.mT) @ (U * roots.unsqueeze(-2)))
            stretched = slopes * (U.mT @ G @ U).diagonal(dim1=-2, dim2=-1)
            K = finite(inverse_gaps(values, ctx.quotient))
            found = U @ (K.mT * turned + torch.diag_embed(stretched)) @ U.mT
            found = ((found + found.mT) / 2).to(A.dtype)
        return only_once(found, grad, A), None, None


def inverse_gaps(values: Tensor, quotient: Quotient) -> Tensor:
    """What stands for 1 / (l_i - l_j), zeros on the diagonal; infinite at ties where the name does not prevent that."""
    if quotient == "svd_topn":
        values = torch.where(values.argsort(-1).argsort(-1) < DROPPED, SMALLEST, values)
    a, b = values.unsqueeze(-1), values.unsqueeze(-2)
    if quotient in ("svd_taylor", "svd_pade"):
        larger, smaller = torch.maximum(a, b), torch.minimum(a, b)
        r, sign = smaller / larger, torch.where(a >= b, 1.0, -1.0)
        # the [50/50] approximant of 1 / (1 - r) in 20 digits is that function
        series = 1 / (1 - r) if quotient == "svd_pade" else sum(r**t for t in range(TERMS + 1))
        K = sign / larger * series
    else:
        K = 1 / (a - b)
        if quotient == "svd_trunc":
            K = K.clamp(-LARGEST, LARGEST)
    diagonal = torch.eye(K.shape[-1], dtype=torch.bool, device=K.device)
    return K.masked_fill(diagonal, 0)


def finite(K: Tensor) -> Tensor:
    """The released overflow rule: infinite entries become the largest and the smallest finite entry of their matrix."""
    known = torch.where(K.isfinite(), K, 0)
    largest, smallest = known.amax((-2, -1), keepdim=True), known.amin((-2, -1), keepdim=True)
    return torch.where(K.isposinf(), largest, torch.where(K.isneginf(), smallest, K))
