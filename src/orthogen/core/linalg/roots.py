"""Square roots of positive semidefinite matrices and their inverses, with gradients that stay finite."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from orthogen.core.linalg._eigh_root import eigh_root
from orthogen.core.linalg._newton_schulz import newton_schulz_root
from orthogen.core.linalg._precision import full_precision, widened
from orthogen.core.linalg._series_root import series_root
from orthogen.core.linalg._svd_root import DROPPED, svd_root
from orthogen.core.shapes import Float

__all__ = ["RootMethod", "inv_sqrtm_psd", "sqrtm_psd"]

RootMethod = Literal[
    "eigh",
    "newton_schulz",
    "pade",
    "taylor",
    "svd_original",
    "svd_trunc",
    "svd_taylor",
    "svd_pade",
    "svd_topn",
]


def sqrtm_psd(
    A: Float[Tensor, "*batch n n"], *, eps: float = 0.0, method: RootMethod = "eigh", iterations: int | None = None
) -> Float[Tensor, "*batch n n"]:
    """The symmetric positive semidefinite root S of A + eps I, so that S S = A + eps I.

        A = Q diag(l) Q^T,   S = Q diag(sqrt(l)) Q^T
        dL/dA = Q [K o (Q^T sym(dL/dS) Q)] Q^T,   K_ij = 1 / (sqrt(l_i) + sqrt(l_j))

    No difference of eigenvalues is in the gradient, so that equal ones are like any others. Where two eigenvalues are
    both 0 the root has a vertical slope; their pair gives no gradient, which is the gradient among matrices of that
    rank. Negative eigenvalues are taken for rounding, of which there is about 1e-7 of the largest in float32: hand in
    float64 for condition numbers above 1e4. A matrix that is not finite gives NaN and does not touch the others of its
    batch. On a GPU, eigh makes the host wait.

    The other methods are there to compare with what has been published:

    ==================  ============================================================================================
    ``newton_schulz``   the coupled iteration on A / tr(A), ``iterations`` steps; differentiable twice. 5 as released:
                        an approximation; 10 converge up to a condition number of 10, 15 up to 1e3, 20 up to 1e4
    ``pade``            the [5/5] Padé approximant of (1 - z)^(1/2) at z = I - A / |A|_F. It cannot fall below 1/11: of
                        |A|_F = 1, an eigenvalue of 0.05 has a root 1.3 % too large, of 0.005 53 %, and 0 has 1/11
    ``taylor``          its Taylor series up to z^10; further off
    ``svd_original``    gradient through 1 / (l_i - l_j), infinite entries replaced by the largest finite one
    ``svd_trunc``       the same, cut at ±1e10
    ``svd_taylor``      its geometric series, 101 terms
    ``svd_pade``        its [50/50] Padé approximant, which equals it: ``svd_original``
    ``svd_topn``        ``svd_original`` with the 50 smallest eigenvalues set to 2e-16
    ==================  ============================================================================================

    ``pade`` and ``taylor`` go backward as if their root S were exact: eight steps of the sign iteration for
    S X + X S = dL/dS. The released power iteration (PI) is not offered: it multiplies by I - U U^T, which is 0, and so
    is its gradient.

    Args:
        A: symmetric positive semidefinite matrices. Their lower triangle is read, and the gradient is symmetric.
        eps: the ridge, in units of A. Above 0, every eigenvalue is at least eps.
        method: one of the names above, or "eigh".
        iterations: of ``newton_schulz``, 5 by default; the others have none.

    Raises:
        ValueError: an eps below 0 or not finite, an unknown method, iterations where there are none or below 1,
            ``svd_topn`` of a matrix that has no more than 50 eigenvalues.

    Reference:
        Daleckii and Krein, "Integration and Differentiation of Functions of Hermitian Operators and Applications to
        the Theory of Perturbations", AMS Translations 47, 1965; Higham, Functions of Matrices, 2008, Theorem 3.11.
        Li, Xie, Wang, Gao, "Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square
        Root Normalization", CVPR 2018 (newton_schulz); Song, Sebe, Wang, "Why Approximate Matrix Square Root
        Outperforms Accurate SVD in Global Covariance Pooling?", ICCV 2021 (svd_*); "Fast Differentiable Matrix Square
        Root", ICLR 2022 (pade, taylor).

    Example:
        >>> sqrtm_psd(torch.tensor([[5.0, 4.0], [4.0, 5.0]])).round(decimals=4)
        tensor([[2., 1.],
                [1., 2.]])
    """
    return _root(A, eps, method, iterations, inverse=False)


def inv_sqrtm_psd(
    A: Float[Tensor, "*batch n n"], *, eps: float = 0.0, method: RootMethod = "eigh", iterations: int | None = None
) -> Float[Tensor, "*batch n n"]:
    """The inverse root R of A + eps I, so that R (A + eps I) R = I: what whitens data of covariance A.

        R = Q diag(1 / sqrt(l)) Q^T,   K_ij = -1 / (sqrt(l_i) sqrt(l_j) (sqrt(l_i) + sqrt(l_j)))

    Without a ridge, eigenvalues of at most n times the rounding of A's type beside the largest are 0, and are left out:
    R is the inverse on the space that A has, and nothing on the rest. A matrix of zeros has 0.

    Methods, Args, Raises, Reference: as of `sqrtm_psd`; ``pade`` is the inverse of its root (at most 11, of |A|_F = 1),
    ``taylor`` the series of (1 - z)^(-1/2), ``newton_schulz`` the iteration's other half.

    Example:
        >>> inv_sqrtm_psd(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.0000]])
        >>> inv_sqrtm_psd(torch.tensor([[4.0, 0.0], [0.0, 0.0]]), eps=0.01)
        tensor([[ 0.4994,  0.0000],
                [ 0.0000, 10.0000]])
    """
    return _root(A, eps, method, iterations, inverse=True)


def _root(A: Tensor, eps: float, method: RootMethod, iterations: int | None, *, inverse: bool) -> Tensor:
    _check(A.shape[-1], eps, method, iterations)
    with full_precision(A):
        wide = widened(A)
        if method == "eigh":  # the ridge is added to eigenvalues, none of which are below 0 then
            cutoff = A.shape[-1] * torch.finfo(wide.dtype).eps
            return eigh_root(wide, inverse=inverse, ridge=eps, cutoff=cutoff).to(A.dtype)
        symmetric = (wide + wide.mT) / 2
        if eps:
            symmetric = symmetric + eps * torch.eye(A.shape[-1], dtype=wide.dtype, device=A.device)
        if method == "newton_schulz":
            root = newton_schulz_root(symmetric, inverse=inverse, iterations=5 if iterations is None else iterations)
        elif method == "pade" or method == "taylor":
            root = series_root(symmetric, method, inverse=inverse)
        else:
            root = svd_root(symmetric, method, inverse=inverse)
        return root.to(A.dtype)


def _check(side: int, eps: float, method: RootMethod, iterations: int | None) -> None:
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps={eps}: give a ridge of 0 or more")
    if method not in get_args(RootMethod):
        raise ValueError(f"method={method!r}: {', '.join(get_args(RootMethod))} are accepted")
    if iterations is not None and (method != "newton_schulz" or iterations < 1):
        raise ValueError(f"iterations={iterations} of {method}: give 1 or more, of newton_schulz only")
    if method == "svd_topn" and side <= DROPPED:
        raise ValueError(f"svd_topn drops the {DROPPED} smallest eigenvalues, and the matrix has {side}; take another")
