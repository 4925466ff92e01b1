"""Recognizing a scene of the room whatever its colors are, by projection."""

import torch
from torch import Tensor

from orthogen.core.shapes import Float, Int
from orthogen.data._room import FLOOR, GLINT, OBJECT, SKY, WALL

__all__ = ["RoomReader"]


class RoomReader:
    """Every geometry as a subspace of images, spanned by its lit floor, wall and object.

    One RGB channel x of an image is what is known of it, sky and glints, plus the three planes of light times three
    unknown colors. With q an orthonormal basis of the three planes, a geometry leaves |x - known|^2 - |q'(x - known)|^2
    of the channel unexplained, and the colors that do so follow from the projection.

    Args:
        planes: the five planes of each geometry, in [0, 1].
        sky: RGB of the sky, in [0, 1].
    """

    def __init__(self, planes: Float[Tensor, "g 5 p"], sky: Float[Tensor, "3"]) -> None:
        self.basis, self.mix = torch.linalg.qr(planes[:, [FLOOR, WALL, OBJECT]].mT)
        self.known = sky[:, None] * planes[:, None, SKY] + planes[:, None, GLINT]
        self.known_part = self.known @ self.basis
        self.known_energy = self.known.square().sum(dim=(1, 2))

    def best(self, x: Float[Tensor, "n 3 p"], k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k 3 3"]]:
        """The ``k`` geometries that leave least unexplained, and in each the RGB of floor, wall and object (rows)."""
        part = torch.einsum("ncp,gpm->ngcm", x, self.basis) - self.known_part
        left = self.known_energy - 2 * torch.einsum("ncp,gcp->ng", x, self.known) - part.square().sum(dim=(2, 3))
        geometry = left.topk(min(k, left.shape[1]), dim=1, largest=False).indices
        part = part.gather(1, geometry[:, :, None, None].expand(-1, -1, 3, 3))
        return geometry, torch.linalg.solve_triangular(self.mix[geometry], part.mT, upper=True)
