"""The nearest matrix with orthonormal rows or columns."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from orthogen.core.linalg.polar_methods import GramEigh, PolarExpress, PolarMethod
from orthogen.core.shapes import Float

__all__ = ["NonFinite", "polar_factor", "polar_factors"]

NonFinite = Literal["raise", "keep", "zero"]
LARGEST_EIGH = 64  # the short side up to which eigenvalues are the default


def polar_factor(
    G: Float[Tensor, "*batch m n"], method: PolarMethod | None = None, *, nonfinite: NonFinite = "raise"
) -> Float[Tensor, "*batch m n"]:
    """The polar factor U V^T of G = U S V^T: all singular values set to 1.

        P = argmin |G - R|_F  over  R R^T = I  (R^T R = I for a tall G)
        <P, G> = sum of singular values,   |P|_F² = rank,   polar(k G) = polar(G) for k > 0

    Without full rank it is the partial isometry: directions in which G has nothing get nothing, where a thin SVD fills
    them with arbitrary ones of full length. A matrix of zeros gives zeros.

    Args:
        G: matrices; the weight of a convolution is one after ``flatten(1)``. Half types are widened inside, and the
            result has the type given.
        method: `GramEigh` or `PolarExpress`; by default the first for a short side up to 64, else the second.
        nonfinite: what becomes of a matrix with NaN or infinities: "raise" an error, "keep" it as it is, or give
            "zero". For the first the host waits for the device, which `GramEigh` makes it do anyway.

    Raises:
        ValueError: an entry is not finite, with "raise"; another word for ``nonfinite``; fewer than two dimensions.

    Reference:
        Higham, "Computing the Polar Decomposition - with Applications", SIAM Journal on Scientific and Statistical
        Computing 7, 1986.

    Example:
        >>> polar_factor(torch.tensor([[0.0, 5.0, 0.0], [0.1, 0.0, 0.0]]))
        tensor([[0., 1., 0.],
                [1., 0., 0.]])
    """
    if _is_empty(G):
        return G
    return _accepted((method or _default(G)).factor(G), G, nonfinite)


def polar_factors(
    matrices: Sequence[Float[Tensor, "..."]], method: PolarMethod | None = None, *, nonfinite: NonFinite = "raise"
) -> list[Tensor]:
    """`polar_factor` of several matrices of any shapes; those of one short side share one eigh.

    Args, Raises: as there.

    Example:
        >>> wide, tall = polar_factors([torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0], [-2.0]])])
        >>> wide.tolist(), tall.tolist()
        ([[0.0, 1.0]], [[0.0], [-1.0]])
    """
    found = list(matrices)  # an empty one is its own factor
    members: dict[PolarMethod, list[int]] = {}
    for i, G in enumerate(matrices):
        if not _is_empty(G):
            members.setdefault(method or _default(G), []).append(i)
    for chosen, indices in members.items():
        factors = chosen.factors([matrices[i] for i in indices])
        for i, P in zip(indices, factors, strict=True):
            found[i] = _accepted(P, matrices[i], nonfinite)
    return found


def _is_empty(G: Tensor) -> bool:
    if G.ndim < 2:
        raise ValueError(f"a tensor of shape {tuple(G.shape)} holds no matrix: give (..., m, n)")
    return not G.numel()


def _default(G: Tensor) -> PolarMethod:
    return GramEigh() if min(G.shape[-2:]) <= LARGEST_EIGH else PolarExpress()


def _accepted(P: Tensor, G: Tensor, nonfinite: NonFinite) -> Tensor:
    """P, and what ``nonfinite`` says where it is NaN."""
    lost = P.narrow(-1, 0, 1).isnan()  # where one entry of a matrix is, all are
    if nonfinite == "keep" or nonfinite == "zero":
        return torch.where(lost, G if nonfinite == "keep" else 0, P)
    if nonfinite != "raise":
        raise ValueError(f"nonfinite={nonfinite!r}: 'raise', 'keep' or 'zero' is accepted")
    if lost.any():
        raise ValueError(
            f"a matrix of {tuple(G.shape[-2:])} has entries that are not finite and no polar factor; "
            "nonfinite='keep' or 'zero' goes on without it"
        )
    return P
