"""The transformations of adaptive discriminator augmentation, and what is drawn for each."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from orthogen.augment._moves import moved
from orthogen.augment._operations import beside
from orthogen.augment._resampling import resampled
from orthogen.core.shapes import Float

__all__ = ["PARTS", "Draws", "recolored"]

ROWS = 28  # numbers drawn for a sample, in all


class Draws:
    """One call's draws: a row of numbers, one per sample, for each time that something is asked for.

    Args:
        images: those to be changed, for their number, precision and device.
        rng: draws, on its own device.
        p: the probability of each transformation.
    """

    def __init__(self, images: Float[Tensor, "batch c h w"], rng: torch.Generator, p: Tensor | float) -> None:
        drawn = torch.rand(ROWS, len(images), generator=rng, device=rng.device)  # at once: one copy to the device
        self._rows = iter(beside(images, drawn).unbind())
        self.p = p

    def uniform(self) -> Float[Tensor, "batch"]:
        """In [0, 1)."""
        return next(self._rows)

    def normal(self) -> Float[Tensor, "batch"]:
        """Of mean 0 and variance 1; at most 5.3 from the mean, where the steps of float32 end."""
        return torch.special.ndtri(self.uniform().clamp(2**-24, 1 - 2**-24))

    def octaves(self, std: float) -> Float[Tensor, "batch"]:
        """A factor whose logarithm to base 2 is normal."""
        return torch.exp2(std * self.normal())

    def kept(self, value: Tensor, otherwise: float, p: Tensor | float | None = None) -> Float[Tensor, "batch"]:
        """``value`` with probability p for each sample, else what changes nothing."""
        return torch.where(self.uniform() < (self.p if p is None else p), value, otherwise)


def _rotation(angle: Tensor) -> Tensor:
    c, s = angle.cos(), angle.sin()
    return torch.stack([c, -s, s, c], dim=1).view(-1, 2, 2)


def _any(*differences: Tensor) -> Tensor:
    """Which samples anything changes, to be held against images."""
    return torch.stack(differences).ne(0).any(dim=0)[:, None, None, None]


def blit(images: Tensor, draws: Draws) -> Tensor:
    """Mirrored, turned by quarters and shifted by whole pixels, up to an eighth of the sides."""
    if images.shape[2] != images.shape[3]:
        raise ValueError(
            f"AdaptiveAugment turns images by quarters; {images.shape[2]} x {images.shape[3]} pixels were given, and "
            "square ones are accepted: leave blit out of the policy"
        )
    mirrored = draws.kept((draws.uniform() * 2).floor(), 0.0)
    turns = draws.kept((draws.uniform() * 4).floor(), 0.0)
    coin, side = draws.uniform() < draws.p, images.shape[2]
    rows, columns = (torch.where(coin, ((draws.uniform() - 0.5) * side / 4).round(), 0.0) for _ in range(2))
    return moved(images, mirrored > 0, rows.long(), columns.long(), turns.long())


def geometry(images: Tensor, draws: Draws) -> Tensor:
    """Scaled, turned by any angle, stretched, turned and shifted, in this order."""
    once = 1 - (1 - draws.p) ** 0.5
    scale = draws.kept(draws.octaves(0.2), 1.0)
    before, after = (draws.kept((2 * draws.uniform() - 1) * math.pi, 0.0, once) for _ in range(2))
    stretch = draws.kept(draws.octaves(0.2), 1.0)
    coin, (height, width) = draws.uniform() < draws.p, images.shape[2:]
    x, y = (torch.where(coin, side / 8 * draws.normal(), 0.0) for side in (width, height))
    squeeze = torch.stack([1 / stretch, stretch], dim=1)[:, :, None]
    # back from the result to the image: everything undone, the last first
    matrix = (_rotation(-before) @ (squeeze * _rotation(-after))) / scale[:, None, None]
    changed = _any(scale - 1, before, after, stretch - 1, x, y)
    return torch.where(changed, resampled(images, matrix, torch.stack([x, y], dim=1)), images)


def color(images: Tensor, draws: Draws) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation, in this order."""
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"AdaptiveAugment knows the colors of 1 or 3 channels; images of {images.shape[1]} were given: leave color "
            "out of the policy"
        )
    brightness = draws.kept(0.2 * draws.normal(), 0.0)
    contrast = draws.kept(draws.octaves(0.5), 1.0)
    luma = draws.kept(1 - 2 * (draws.uniform() * 2).floor(), 1.0)
    hue = draws.kept((2 * draws.uniform() - 1) * math.pi, 0.0)
    saturation = draws.kept(draws.octaves(1.0), 1.0)
    changed = _any(brightness, contrast - 1, luma - 1, hue, saturation - 1)
    return torch.where(changed, recolored(images, brightness, contrast, luma, hue, saturation), images)


def recolored(
    images: Float[Tensor, "batch c h w"],
    brightness: Float[Tensor, "batch"],
    contrast: Float[Tensor, "batch"],
    luma: Float[Tensor, "batch"],
    hue: Float[Tensor, "batch"],
    saturation: Float[Tensor, "batch"],
) -> Float[Tensor, "batch c h w"]:
    """The five changes of color as one, as each of them keeps the axis of grays and the plane across it.

        y = luma contrast (g + brightness) + contrast saturation R(hue) (x - g),   g = mean over a pixel's channels

    R turns around that axis. A luma of -1 mirrors it.
    """
    brightness, contrast, luma, hue, saturation = (
        each[:, None, None, None] for each in (brightness, contrast, luma, hue, saturation)
    )
    gray = images.mean(dim=1, keepdim=True)
    chroma = images - gray
    across = (chroma.roll(-2, dims=1) - chroma.roll(-1, dims=1)) / math.sqrt(3)  # (1, 1, 1) / sqrt 3 x chroma
    turned = hue.cos() * chroma + hue.sin() * across
    return luma * contrast * (gray + brightness) + contrast * saturation * turned


PARTS: Mapping[str, Callable[[Tensor, Draws], Tensor]] = {"blit": blit, "geometry": geometry, "color": color}
