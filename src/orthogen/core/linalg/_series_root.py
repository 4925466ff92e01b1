"""Square roots by a series of (1 - z)^(1/2) in the matrix, with a backward pass that solves a Lyapunov equation."""

from typing import Any, Literal

import torch
from torch import Tensor

from orthogen.core.linalg._once import only_once
from orthogen.core.linalg._precision import full_precision

__all__ = ["lyapunov", "series_root"]

# [5/5] Padé approximant of (1 - z)^(1/2), ascending: p(z) / q(z)
P = (1.0, -11 / 4, 11 / 4, -77 / 64, 55 / 256, -11 / 1024)
Q = (1.0, -9 / 4, 7 / 4, -35 / 64, 15 / 256, -1 / 1024)
TERMS = 10  # of Taylor's series, after the first
SIGN_STEPS = 8


def taylor_coefficients(power: float) -> list[float]:
    """Of (1 - z)^power, up to z^10: c_k = c_{k-1} (k - 1 - power) / k."""
    found = [1.0]
    for k in range(1, TERMS + 1):
        found.append(found[-1] * (k - 1 - power) / k)
    return found


def series_root(A: Tensor, kind: Literal["pade", "taylor"], *, inverse: bool) -> Tensor:
    """(A / |A|_F)^(1/2), or its inverse, as a series in Z = I - A / |A|_F, scaled back."""
    root: Tensor = _SeriesRoot.apply(A, kind, inverse)
    return root


class _SeriesRoot(torch.autograd.Function):
    """The series forward; backward S X + X S = G for the root S, as if S were exact."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, kind: str, inverse: bool) -> Tensor:
        size = torch.linalg.matrix_norm(A, keepdim=True)
        size = torch.where(size > 0, size, 1)
        identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        Z = identity - A / size
        if kind == "pade":
            powers = _powers(Z, len(P))
            p, q = _series(P, powers), _series(Q, powers)
            # both are positive for eigenvalues from 0 on; not asking whether they are saves the host a wait
            root = torch.linalg.solve_ex(*((p, q) if inverse else (q, p))).result
        else:
            root = _series(taylor_coefficients(-0.5 if inverse else 0.5), _powers(Z, TERMS + 1))
        root = root / size.sqrt() if inverse else root * size.sqrt()
        ctx.save_for_backward(root, size, A)
        ctx.inverse = inverse
        return root

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        root, size, A = ctx.saved_tensors
        with torch.no_grad(), full_precision(A):
            if ctx.inverse:  # R = A^(-1/2):  R X + X R = -A^-1 G A^-1
                squared = root @ root
                scale = torch.linalg.matrix_norm(root, keepdim=True)
                found = lyapunov(root / scale, -squared @ grad @ squared / scale)
            else:
                found = lyapunov(root / size.sqrt(), grad / size.sqrt())
        return only_once(found, grad, A), None, None


def _powers(Z: Tensor, count: int) -> list[Tensor]:
    """I, Z, Z², ... of that count."""
    found = [torch.eye(Z.shape[-1], dtype=Z.dtype, device=Z.device).expand_as(Z), Z]
    while len(found) < count:
        found.append(found[-1] @ Z)
    return found


def _series(coefficients: tuple[float, ...] | list[float], powers: list[Tensor]) -> Tensor:
    total = coefficients[0] * powers[0]
    for c, power in zip(coefficients[1:], powers[1:], strict=True):
        total = total + c * power
    return total


def lyapunov(B: Tensor, C: Tensor) -> Tensor:
    """X of B X + X B = C, for a positive B of norm at most 1, by the sign iteration of [[B, C], [0, -B]]."""
    identity = torch.eye(B.shape[-1], dtype=B.dtype, device=B.device)
    for _ in range(SIGN_STEPS):
        BB = B @ B
        T = 3 * identity - BB
        C = (C @ T - BB @ C + B @ C @ B) / 2
        B = B @ T / 2
    return C / 2
