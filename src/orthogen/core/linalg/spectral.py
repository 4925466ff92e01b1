"""The largest singular value of matrices: exactly, or by power iteration that goes on where it left off."""

from typing import NamedTuple

import torch
from torch import Tensor

from orthogen.core.linalg._eigh_root import eigh
from orthogen.core.linalg._precision import full_precision, widened
from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["TopSingular", "spectral_norm"]


class TopSingular(NamedTuple):
    """The largest singular value of a matrix with its two vectors."""

    sigma: Tensor  # (*batch)
    u: Tensor  # left, (*batch, m)
    v: Tensor  # right, (*batch, n)


def spectral_norm(
    W: Float[Tensor, "*batch m n"],
    u: Float[Tensor, "*batch m"] | None = None,
    *,
    steps: int | None = None,
    rng: torch.Generator | None = None,
) -> TopSingular:
    """The largest singular value of each matrix, with its left and right singular vectors.

        sigma = u^T W v,   d sigma / dW = u v^T

    Without ``steps`` exactly, by the eigenvalues of the Gram matrix of the shorter side in float64. With ``steps`` by
    so many rounds of power iteration,

        v <- N(W^T u),   u <- N(W v),   N(x) = x / |x|,

    from ``u``, or from a random vector; the error falls by (sigma_2 / sigma_1)² per round. Give the u of one call to
    the next where W changes little in between, and a single step will do. Its sigma is never larger than the exact one.
    The vectors carry no gradient; that of sigma is exact once they are, and a second one lacks their part.

    A matrix of zeros has sigma 0 and gradient 0, and leaves u as it was, ready for when the matrix is none.

    Raises:
        ValueError: no step, or a start without steps.

    Reference:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, Algorithm 1.

    Example:
        >>> W = torch.diag(torch.tensor([1.0, -3.0, 2.0]))
        >>> spectral_norm(W).sigma
        tensor(3.)
        >>> near = spectral_norm(W, torch.ones(3), steps=1)
        >>> [round(spectral_norm(W, near.u, steps=k).sigma.item(), 4) for k in (1, 20)]
        [2.9303, 3.0]
    """
    if steps is None and u is not None:
        raise ValueError("a start u is for power iteration: give steps, or no u for the exact value")
    if steps is not None and steps < 1:
        raise ValueError(f"steps={steps}: give 1 or more, or None for the exact value")
    with full_precision(W):
        matrix = widened(W)
        with torch.no_grad():
            if steps is None:
                u, v = _exact(matrix)
            else:
                start = _random(matrix, rng) if u is None else u
                u, v = _iterated(matrix, start.to(matrix), steps)
        sigma = (u * (matrix @ v.unsqueeze(-1)).squeeze(-1)).sum(-1)
        return TopSingular(sigma.to(W.dtype), u.to(W.dtype), v.to(W.dtype))


def _random(W: Tensor, rng: torch.Generator | None) -> Tensor:
    rng = private() if rng is None else rng
    return torch.randn(W.shape[:-1], generator=rng, device=rng.device)


def _iterated(W: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The vectors after so many rounds from ``u``."""
    for _ in range(steps):
        v = _normalized((W.mT @ u.unsqueeze(-1)).squeeze(-1))
        ahead = _normalized((W @ v.unsqueeze(-1)).squeeze(-1))
        u = torch.where((ahead == 0).all(-1, keepdim=True), u, ahead)
    return u, v


def _exact(W: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors, by the smaller Gram matrix."""
    if W.shape[-2] > W.shape[-1]:
        v, u = _exact(W.mT)
        return u, v
    peak = torch.linalg.vector_norm(W, torch.inf, dim=(-2, -1), keepdim=True)
    D = W.double() / torch.where(peak > 0, peak, 1)  # squares neither overflow nor vanish
    u = eigh(D @ D.mT)[1][..., -1]
    return u.to(W), _normalized((D.mT @ u.unsqueeze(-1)).squeeze(-1)).to(W)


def _normalized(x: Tensor) -> Tensor:
    """Of length 1; 0 stays 0."""
    peak = x.abs().amax(-1, keepdim=True)
    x = x / torch.where(peak > 0, peak, 1)  # of entries below 1e-19, float32 squares to 0
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(size > 0, size, 1)
