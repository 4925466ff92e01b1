"""Bases of spaces: orthonormal rows, and the angles between the spaces that two sets of rows span."""

import torch
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["orthonormalize", "principal_angles"]


def orthonormalize(A: Float[Tensor, "*batch n dim"]) -> Float[Tensor, "*batch n dim"]:
    """Orthonormal rows Q that span the rows of A, each the part of its row that those above it do not have.

        A^T = Q^T R,   R upper triangular with a positive diagonal

    This is the Gram-Schmidt process on rows, computed by a Householder QR with the signs of R's diagonal fixed: the
    same Q to rounding, more orthogonal for ill-conditioned rows, and tens of times faster than the loop. Q does not
    change with the lengths of A's rows. Differentiable.

    Raises:
        ValueError: more rows than columns; a row that is zero, not finite, or (to the precision of its type) a
            combination of those above it.

    Reference:
        Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 5.2 (uniqueness of the thin QR).

    Example:
        >>> orthonormalize(torch.tensor([[3.0, 4.0], [5.0, -2.0]]))
        tensor([[ 0.6000,  0.8000],
                [ 0.8000, -0.6000]])
    """
    n, dim = A.shape[-2:]
    if n > dim:
        raise ValueError(f"{n} directions in {dim} dimensions cannot be orthonormal; give at most {dim}")
    Q, R = torch.linalg.qr(A.mT)
    diagonal = R.diagonal(dim1=-2, dim2=-1)
    least = 4 * dim * torch.finfo(A.dtype).eps
    dependent = ~(diagonal.abs() > least * A.norm(dim=-1))
    if dependent.any():
        row = int(dependent.nonzero()[0, -1])
        raise ValueError(
            f"direction {row} is zero, not finite, or a combination of those above it; give linearly independent rows"
        )
    return (Q * diagonal.sign().unsqueeze(-2)).mT


def principal_angles(
    A: Float[Tensor, "*batch n dim"], B: Float[Tensor, "*batch m dim"]
) -> Float[Tensor, "*batch angles"]:
    """The min(n, m) angles between the spaces that the rows of A and B span, in radians, smallest first.

        cos t_k = k-th largest singular value of Q_A Q_B^T
        sin t_k = k-th smallest singular value of Q_B - Q_B Q_A^T Q_A        (n >= m)

    The cosine does not see angles below 1e-4 in float32, and the sine does not see how far an angle is from a right
    one; the arc tangent of both is accurate everywhere.

    Raises:
        ValueError: rows of A or of B that are not linearly independent, see `orthonormalize`.

    Reference:
        A. Björck and G. H. Golub, "Numerical Methods for Computing Angles Between Linear Subspaces", Mathematics of
        Computation 27, 1973.

    Example:
        A line at 45 degrees to a plane's one axis and at right angles to its other.

        >>> plane = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> torch.rad2deg(principal_angles(plane, torch.tensor([[1.0, 0.0, 1.0]])))
        tensor([45.])
    """
    larger, smaller = (A, B) if A.shape[-2] >= B.shape[-2] else (B, A)
    P, Q = orthonormalize(larger), orthonormalize(smaller)
    across = Q @ P.mT
    cosines = torch.linalg.svdvals(across)
    sines = torch.linalg.svdvals(Q - across @ P).flip(-1)
    return torch.atan2(sines, cosines)
