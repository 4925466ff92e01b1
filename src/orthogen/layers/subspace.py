"""A linear subspace of feature maps, with a coordinate for each of its directions."""

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["SubspaceLayer"]


class SubspaceLayer(nn.Module):
    """A point of a learned linear subspace.

        phi = (L * z) U + mu

    Parameters: ``U``, the basis, a row per direction, orthonormal at first; ``L``, how far a unit of each coordinate
    reaches, 3 n_basis, ..., 6, 3 at first; ``mu``, the origin, zero at first. Nothing here keeps the basis orthonormal;
    EigenGAN asks it to be so by `orthogen.SoftOrthogonality`.

    Args:
        n_basis: directions.
        dim: of the space it lies in.

    Raises:
        ValueError: there are more directions than dimensions, or none.

    Reference:
        Z. He, M. Kan, S. Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021.

    Example:
        >>> layer = SubspaceLayer(n_basis=3, dim=8)
        >>> layer.L.tolist(), layer(torch.zeros(2, 3)).shape
        ([9.0, 6.0, 3.0], torch.Size([2, 8]))
    """

    def __init__(self, n_basis: int, dim: int) -> None:
        super().__init__()
        if not 1 <= n_basis <= dim:
            raise ValueError(f"SubspaceLayer(n_basis={n_basis}, dim={dim}): give 1 to {dim} directions")
        self.U = nn.Parameter(nn.init.orthogonal_(torch.empty(n_basis, dim)))
        self.L = nn.Parameter(3.0 * torch.arange(n_basis, 0, -1))
        self.mu = nn.Parameter(torch.zeros(dim))

    def forward(self, z: Float[Tensor, "batch n_basis"]) -> Float[Tensor, "batch dim"]:
        """The points of coordinates ``z``."""
        return torch.addmm(self.mu, self.L * z, self.U)

    @property
    def reach(self) -> Float[Tensor, "n_basis"]:
        """How far a unit of each coordinate moves the point: |L_j| |U_j|, which is |L_j| for an orthonormal basis.

        Example:
            >>> layer = SubspaceLayer(n_basis=2, dim=4)
            >>> _ = layer.U.data.mul_(2.0)
            >>> [round(reach, 4) for reach in layer.reach.tolist()]
            [12.0, 6.0]
        """
        return (self.L.abs() * self.U.norm(dim=1)).detach()

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        n_basis, dim = self.U.shape
        return f"n_basis={n_basis}, dim={dim}"
