"""Sprites: the frames of dSprites, drawn from a closed form."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from orthogen.core.kinds import Data
from orthogen.core.shapes import Bool, Float, Int, UInt8
from orthogen.data._drawn import DrawnSet, check_resolution
from orthogen.data._hash import uniform
from orthogen.data._sprite_symmetry import TURN, canonical, same_sprite
from orthogen.data._sprite_templates import SpriteTemplates

__all__ = ["Sprites"]

NAMES = ("shape", "scale", "orientation", "posX", "posY")
SIZES = (3, 6, 40, 32, 32)
REACH = 13.6  # no sprite reaches farther from its center: a square's corner is at 9.6 sqrt 2, in 64ths of the image


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= 9.6


def _ellipse(u: Tensor, v: Tensor) -> Tensor:
    return (u / 12.8).square() + (v / 7.2).square() <= 1


def _heart(u: Tensor, v: Tensor) -> Tensor:
    # u = 9.6 sin^3 p leaves two values +-c of cos p for each u, and between them the curve's
    # 13 cos p - 5 cos 2p - 2 cos 3p - cos 4p = (4 - 2c^2 - 8c^4) +- c (19 - 8c^2) encloses the inside
    c2 = 1 - (u.abs() / 9.6).clamp(max=1).pow(2 / 3)
    middle, reach = 4 - c2 * (2 + 8 * c2), c2.sqrt() * (19 - 8 * c2)
    return (u.abs() <= 9.6) & ((v + 1.4 + 0.665 * middle).abs() <= 0.665 * reach)


def draw_sprites(factors: Int[Tensor, "n 5"], resolution: int) -> UInt8[Tensor, "n 1 {resolution} {resolution}"]:
    """White sprites on black: a pixel is lit if and only if its center is inside, tested in a window around the sprite.

    Lengths are in 64ths of the image, x right and y down; angles turn counter-clockwise on the screen.
    """
    unit = 64 / resolution
    window = int(2 * REACH / unit) + 1
    pixels = torch.arange(window, device=factors.device)
    # positions and angles in double precision: their rounding must not decide about pixels
    center = 16 + 32 * factors[:, 3:].double() / 31
    first = ((center - REACH) / unit - 0.5).ceil().long()
    offset = ((first[:, :, None] + pixels + 0.5) * unit - center[:, :, None]).float()
    angle = 2 * math.pi / TURN * (factors[:, 2] % TURN).double()
    scale = 0.5 + 0.1 * factors[:, 1].double()
    cos, sin = (angle.cos() / scale).float()[:, None], (angle.sin() / scale).float()[:, None]

    lit = torch.empty(len(factors), window * window, dtype=torch.uint8, device=factors.device)
    for shape, inside in enumerate((_square, _ellipse, _heart)):
        rows = (factors[:, 0] == shape).nonzero()[:, 0]
        dx, dy = offset[rows].unbind(dim=1)
        u = (cos[rows] * dx)[:, None, :] - (sin[rows] * dy)[:, :, None]
        v = (sin[rows] * dx)[:, None, :] + (cos[rows] * dy)[:, :, None]
        lit[rows] = inside(u, v).flatten(1).to(torch.uint8)
    place = (first[:, 1:] * resolution + first[:, :1]) + (pixels[:, None] * resolution + pixels).flatten()
    frames = torch.zeros(len(factors), resolution * resolution, dtype=torch.uint8, device=factors.device)
    return frames.scatter_(1, place, lit.mul_(255)).view(-1, 1, resolution, resolution)


@lru_cache(maxsize=8)
def _templates(resolution: int, device: torch.device) -> SpriteTemplates:
    looks = torch.cartesian_prod(*(torch.arange(size, device=device) for size in (3, 6, TURN)))
    return SpriteTemplates(lambda factors: draw_sprites(factors, resolution), looks)


class SpriteSet(DrawnSet):
    """All 737,280 frames of `Sprites`; ``draw``, ``images``, ``factors``, ``read_factors``, ``reading_error``."""

    factor_names = NAMES
    factor_sizes = SIZES

    def __init__(self, resolution: int, look: Literal["color", "noisy"] | None) -> None:
        self.resolution, self.look = resolution, look
        self.channels = 1 if look is None else 3

    def _draw(self, factors: Int[Tensor, "n 5"]) -> UInt8[Tensor, "n 1 h w"]:
        return draw_sprites(factors, self.resolution)

    def _dress(
        self, frames: UInt8[Tensor, "n 1 h w"], factors: Int[Tensor, "n 5"], rng: torch.Generator | None
    ) -> UInt8[Tensor, "n c h w"]:
        if self.look is None:
            return frames
        shape = (3, 1, 1) if self.look == "color" else (3, self.resolution, self.resolution)
        if rng is None:
            chance = uniform(self.index(factors), math.prod(shape)).view(-1, *shape)
        else:
            chance = torch.rand(len(frames), *shape, generator=rng, device=rng.device).to(frames.device)
        if self.look == "color":
            return (frames * (0.5 + 0.5 * chance)).round_().to(torch.uint8)
        return (frames + 255 * chance).round_().clamp_(max=255).to(torch.uint8)

    def _propose(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, "n k 5"]:
        return _templates(self.resolution, images.device).match(images, k=8)

    def same(self, a: Int[Tensor, "*n 5"], b: Int[Tensor, "*n 5"]) -> Bool[Tensor, "*n 5"]:
        """Equality, but orientations agree within half a step up to the symmetry of the shape in ``b``."""
        return same_sprite(a, b)

    def canonical(self, factors: Int[Tensor, "n 5"]) -> Int[Tensor, "n 5"]:
        """The same factors with the orientation in the first period of the shape: 9, 19 or 38 is the last."""
        return canonical(factors)


@dataclass(frozen=True)
class Sprites(Data):
    """White squares, ellipses and hearts on black: the factors of dSprites in its order, drawn when asked for.

    With pixel centers (X, Y), the sprite's center (c_x, c_y) = 16 + 32 pos / 31, s = 0.5 + 0.1 scale and
    t = 2 pi orientation / 39, all in 64ths of the image, a pixel is lit if and only if the point

        u = (cos t (X - c_x) - sin t (Y - c_y)) / s,    v = (sin t (X - c_x) + cos t (Y - c_y)) / s

    is inside the shape: |u|, |v| <= 9.6; or (u / 12.8)^2 + (v / 7.2)^2 <= 1; or the curve u = 9.6 sin^3 p,
    v = -0.665 (13 cos p - 5 cos 2p - 2 cos 3p - cos 4p) - 1.4. This was fitted to 320 frames of the original at 64
    pixels and gives squares and ellipses up to 4 wrong pixels a frame and hearts up to 6. The geometry scales with the
    resolution; edges are never smoothed.

    Factors are read back by template matching. Orientation cannot be told beyond the symmetry of the shape: see
    ``SpriteSet.same`` and ``SpriteSet.canonical``. At 64 pixels none of 2,000 clean frames was read wrong, at 16
    there is too little to see; ``open().reading_error()`` measures it.

    Attributes:
        resolution: side of the frames, 16 to 256 pixels.
        look: None for white on black (one channel); "color" multiplies the sprite by a color of U(0.5, 1)^3; "noisy"
            adds U(0, 1) to every pixel and channel and clips. Without an ``rng`` they follow from the index, with one
            they are drawn anew each time.

    Raises:
        ValueError: the resolution is outside 16 to 256, or there is no such look.

    Reference:
        L. Matthey, I. Higgins, D. Hassabis, A. Lerchner, *dSprites: Disentanglement testing Sprites dataset*, 2017;
        looks: F. Locatello et al., *Challenging Common Assumptions in the Unsupervised Learning of Disentangled
        Representations*, ICML 2019, section 5.1.

    Example:
        >>> sprites = Sprites().open()
        >>> len(sprites), sprites.factor_names
        (737280, ('shape', 'scale', 'orientation', 'posX', 'posY'))
        >>> frame = sprites.draw(torch.tensor([[0, 5, 0, 0, 31]]))  # the largest square, upright, at the lower left
        >>> frame.shape, int((frame == 255).sum())
        (torch.Size([1, 1, 64, 64]), 400)
    """

    resolution: int = 64
    look: Literal["color", "noisy"] | None = None

    def __post_init__(self) -> None:
        check_resolution("Sprites", self.resolution)
        if self.look not in (None, "color", "noisy"):
            raise ValueError(f"Sprites(look={self.look!r}): give 'color', 'noisy', or None for white on black")

    def open(self) -> SpriteSet:
        """The frames; nothing is drawn yet."""
        return SpriteSet(self.resolution, self.look)
