"""Generators with a planted answer: what a method for finding directions should find in them is known."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from orthogen.core.directions import Directions
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Normal
from orthogen.core.linalg import orthonormalize
from orthogen.core.shapes import Float

__all__ = ["PlantedLinear", "PlantedShapes"]


def _rotation(n: int, dim: int) -> Float[Tensor, "n dim"]:
    """Random orthonormal rows, from torch's global generator, as networks are initialized."""
    # drawn column by column: a method that draws directions row by row must not find these by having the same seed
    rows = torch.randn(dim, n, dtype=torch.float64).mT
    return rows if rows.is_meta else orthonormalize(rows)


class LinearGenerator(nn.Module):
    """z -> sum_i s_i (q_i . z) c_i: orthonormal cosine patterns c_i along random orthonormal directions q_i."""

    directions: Tensor
    strength: Tensor

    def __init__(self, dim: int, resolution: int, strength: Float[Tensor, "dim"]) -> None:
        super().__init__()
        self.resolution = resolution
        directions = _rotation(dim, dim)
        self.linear = nn.Linear(dim, resolution**2, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(_cosines(dim, resolution).T @ (strength[:, None] * directions))
        self.register_buffer("directions", directions.float())
        self.register_buffer("strength", strength.float())

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 1 h w"]:
        """Images, nearly always in [-1, 1]."""
        return self.linear(z).unflatten(1, (1, self.resolution, self.resolution))


def _cosines(n: int, side: int) -> Float[Tensor, "n pixels"]:
    """The n two-dimensional cosine waves of lowest frequency, orthonormal over the pixels."""
    position = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    waves = torch.cos(math.pi * torch.arange(side, dtype=torch.float64)[:, None] * position)
    waves = waves / waves.norm(dim=1, keepdim=True)
    order = sorted(((i, j) for i in range(side) for j in range(side)), key=lambda ij: (sum(ij), ij))
    return torch.stack([torch.outer(waves[i], waves[j]).flatten() for i, j in order[:n]])


@dataclass(frozen=True)
class PlantedLinear(Model):
    """A linear generator whose singular vectors are known: every method on derivatives or weights should find them.

        G(z) = sum_i s_i (q_i . z) c_i,   s_i = contrast · resolution · ratio^i

    q_i: a random orthonormal basis of the latent space, the planted directions; c_i: cosine patterns, orthonormal over
    the pixels. J^T J has the eigenvectors q_i and eigenvalues s_i²; second derivatives vanish.

    Attributes:
        latent: where latents come from; as many directions are planted as it has dimensions.
        resolution: side of the images, in pixels.
        contrast: of the strongest direction: the images' root mean square change per unit of latent.
        ratio: of each direction's strength to the one before it, below 1.

    Raises:
        ValueError: more dimensions than pixels; a contrast or ratio out of range.

    Reference:
        Y. Shen, B. Zhou, "Closed-Form Factorization of Latent Semantics in GANs", CVPR 2021 (whose
        answer is the planted one).

    Example:
        >>> model = PlantedLinear(Normal(3))
        >>> planted = model.planted(model.build()["generator"])
        >>> planted.basis.shape, [round(s, 3) for s in planted.strength.tolist()]
        (torch.Size([3, 3]), [1.28, 1.024, 0.819])
    """

    latent: Latent = field(default_factory=lambda: Normal(8))
    resolution: int = 16
    contrast: float = 0.08
    ratio: float = 0.8

    channels: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.latent.dim > self.resolution**2:
            raise ValueError(
                f"PlantedLinear(resolution={self.resolution}): {self.latent.dim} directions need as many pixels"
            )
        if not (self.contrast > 0 and 0 < self.ratio < 1):
            raise ValueError(
                f"PlantedLinear(contrast={self.contrast}, ratio={self.ratio}): give a positive contrast, and a ratio "
                "between 0 and 1, so that the strengths differ"
            )

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim)`` to images."""
        dim = self.latent.dim
        strength = self.contrast * self.resolution * self.ratio ** torch.arange(dim, dtype=torch.float64)
        return {"generator": LinearGenerator(dim, self.resolution, strength)}

    def planted(self, generator: nn.Module) -> Directions:
        """The answer for a built (or loaded) generator, strongest first.

        Raises:
            TypeError: another model's generator.
        """
        if not isinstance(generator, LinearGenerator):
            raise TypeError(f"PlantedLinear.planted was given {type(generator).__name__}; give the generator it built")
        return Directions(
            generator.directions.cpu(), strength=generator.strength.cpu(), provenance={"method": "planted"}
        )


class ShapesGenerator(nn.Module):
    """A rotation of the latent, then a drawing of what its components say."""

    FACTORS: ClassVar = ("x", "y", "size", "angle", "color", "background")

    across: Tensor
    down: Tensor
    colors: Tensor

    def __init__(self, dim: int, resolution: int) -> None:
        super().__init__()
        self.rotation = nn.Linear(dim, len(self.FACTORS), bias=False)
        with torch.no_grad():
            self.rotation.weight.copy_(_rotation(len(self.FACTORS), dim))
        axis = (torch.arange(resolution) + 0.5) / resolution * 2 - 1
        self.register_buffer("across", axis.expand(resolution, resolution).clone(), persistent=False)
        self.register_buffer("down", axis[:, None].expand(resolution, resolution).clone(), persistent=False)
        self.register_buffer("colors", torch.tensor([[0.9, 0.1, -0.8], [-0.8, 0.2, 0.9]]), persistent=False)

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 3 h w"]:
        """Images in [-1, 1]: a rounded bar on a plain background."""
        # each component, normal for a normal latent, becomes uniform on (-1, 1)
        factors = torch.erf(self.rotation(z) / math.sqrt(2))
        x, y, size, angle, color, background = (u[:, None, None] for u in factors.unbind(dim=1))
        size, angle = 0.32 * 1.5**size, math.pi / 3 * angle
        right, below = self.across - 0.45 * x, self.down - 0.45 * y
        along = (right * angle.cos() + below * angle.sin()) / size
        aside = (below * angle.cos() - right * angle.sin()) / (0.5 * size)
        # the fourth power makes a rounded bar, and no root is needed: smooth everywhere
        inside = torch.sigmoid(6 * (1 - along**4 - aside**4))[:, None]
        share = (1 + color[:, None]) / 2
        paint = (1 - share) * self.colors[0, :, None, None] + share * self.colors[1, :, None, None]
        ground = 0.7 * background[:, None]
        return ground + inside * (paint - ground)


@dataclass(frozen=True)
class PlantedShapes(Model):
    """A drawn bar whose position, size, angle, color and background are known directions of the latent.

        G(z) = draw(erf(q_i . z / sqrt 2) for i = x, y, size, angle, color, background)

    q_i: random orthonormal rows, the planted directions; the latent's other dimensions change nothing. The drawing is
    smooth, so its derivatives of all orders exist; it is not linear, and its factors are not orthogonal in the image (a
    larger bar shows more of a color), as in trained generators. The first layer is a rotation: its weights tell which
    dimensions matter, and nothing about the directions within them.

    Attributes:
        latent: where latents come from.
        resolution: side of the images, in pixels.

    Raises:
        ValueError: the latent has fewer than 6 dimensions.

    Reference:
        After the factors of dSprites: L. Matthey, I. Higgins, D. Hassabis, A. Lerchner, "dSprites: Disentanglement
        testing Sprites dataset", 2017.

    Example:
        >>> model = PlantedShapes()
        >>> model.planted(model.build()["generator"]).names
        ('x', 'y', 'size', 'angle', 'color', 'background')
    """

    latent: Latent = field(default_factory=lambda: Normal(10))
    resolution: int = 32

    channels: ClassVar[int] = 3

    def __post_init__(self) -> None:
        need = len(ShapesGenerator.FACTORS)
        if self.latent.dim < need:
            raise ValueError(f"PlantedShapes(latent={self.latent}): {need} factors need as many dimensions")

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim)`` to images."""
        return {"generator": ShapesGenerator(self.latent.dim, self.resolution)}

    def planted(self, generator: nn.Module) -> Directions:
        """The answer for a built (or loaded) generator, by name.

        Raises:
            TypeError: another model's generator.
        """
        if not isinstance(generator, ShapesGenerator):
            raise TypeError(f"PlantedShapes.planted was given {type(generator).__name__}; give the generator it built")
        basis = generator.rotation.weight.detach().cpu().clone()
        return Directions(basis, names=ShapesGenerator.FACTORS, provenance={"method": "planted"})
