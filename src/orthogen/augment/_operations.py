"""What is done to images, apart from what is drawn for it. Draws have one entry per sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.shapes import Float, Int

__all__ = ["OPERATIONS", "Operation", "beside", "brightness", "contrast", "cutout", "saturation", "translation"]


def brightness(images: Float[Tensor, "batch c h w"], u: Float[Tensor, "batch"]) -> Float[Tensor, "batch c h w"]:
    """Brighter or darker: x + (u - 1/2)."""
    return images + (u - 0.5)[:, None, None, None]


def saturation(images: Float[Tensor, "batch c h w"], u: Float[Tensor, "batch"]) -> Float[Tensor, "batch c h w"]:
    """Nearer to gray or farther: m + 2u (x - m), m = the mean over the channels of each pixel."""
    mean = images.mean(dim=1, keepdim=True)
    return (images - mean) * (u * 2)[:, None, None, None] + mean


def contrast(images: Float[Tensor, "batch c h w"], u: Float[Tensor, "batch"]) -> Float[Tensor, "batch c h w"]:
    """Flatter or stronger: m + (u + 1/2) (x - m), m = the mean of each image."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (u + 0.5)[:, None, None, None] + mean


def translation(
    images: Float[Tensor, "batch c h w"], rows: Int[Tensor, "batch"], columns: Int[Tensor, "batch"]
) -> Float[Tensor, "batch c h w"]:
    """The pixel at (r, s) comes from (r + rows, s + columns); 0 where that is outside.

    Example:
        >>> translation(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([1]), torch.tensor([0]))
        tensor([[[[3., 4.], [0., 0.]]]])
    """
    return _shifted(_shifted(images, rows, 2), columns, 3)


def _shifted(images: Tensor, by: Tensor, dim: int) -> Tensor:
    side = images.shape[dim]
    shape = [len(images), 1, 1, 1]
    shape[dim] = side
    source = (torch.arange(side, device=images.device) + by[:, None]).view(shape)
    outside = (source < 0) | (source >= side)
    return images.gather(dim, source.clamp(0, side - 1).expand(images.shape)).masked_fill(outside, 0.0)


def cutout(
    images: Float[Tensor, "batch c h w"], rows: Int[Tensor, "batch"], columns: Int[Tensor, "batch"]
) -> Float[Tensor, "batch c h w"]:
    """0 in a rectangle of half the sides around (rows, columns); the part of it that is outside falls on the edge.

    Example:
        >>> cutout(torch.ones(1, 1, 4, 4), torch.tensor([1]), torch.tensor([4]))[0, 0]
        tensor([[1., 1., 1., 0.],
                [1., 1., 1., 0.],
                [1., 1., 1., 1.],
                [1., 1., 1., 1.]])
    """
    return images.masked_fill(_cut(images, rows, 2) & _cut(images, columns, 3), 0.0)


def _cut(images: Tensor, center: Tensor, dim: int) -> Tensor:
    side = images.shape[dim]
    shape = [1, 1, 1, 1]
    shape[dim] = side
    length = _half(side)
    first = center[:, None, None, None] - length // 2
    place = torch.arange(side, device=images.device).view(shape)
    return (place >= first.clamp(0, side - 1)) & (place <= (first + length - 1).clamp(0, side - 1))


def _half(side: int) -> int:
    return int(0.5 * side + 0.5)


# ---------------------------------------------------------------------------------------------- what is drawn
def beside(images: Tensor, drawn: Tensor) -> Tensor:
    """What was drawn, on the device of the images; numbers of a continuum in their precision."""
    dtype = images.dtype if drawn.is_floating_point() else drawn.dtype
    # towards a GPU a copy need not be waited for; away from it, numbers would be read before they are there
    return drawn.to(images.device, dtype, non_blocking=images.is_cuda)


def _uniform(images: Tensor, rng: torch.Generator) -> tuple[Tensor, ...]:
    return (torch.rand(len(images), generator=rng, device=rng.device),)


def _shifts(images: Tensor, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Up to an eighth of the side, in either direction."""
    most = [int(0.125 * side + 0.5) for side in images.shape[2:]]
    return tuple(torch.randint(-m, m + 1, (len(images),), generator=rng, device=rng.device) for m in most)


def _centers(images: Tensor, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Anywhere; for a hole of even side also one beyond the last pixel."""
    ends = [side + 1 - _half(side) % 2 for side in images.shape[2:]]
    return tuple(torch.randint(0, end, (len(images),), generator=rng, device=rng.device) for end in ends)


@dataclass(frozen=True)
class Operation:
    """A change of images.

    Attributes:
        draw: what it needs to be drawn: ``draw(images, rng)``, on the generator's device.
        apply: the change: ``apply(images, *drawn)``.
    """

    draw: Callable[[Tensor, torch.Generator], tuple[Tensor, ...]]
    apply: Callable[..., Tensor]


OPERATIONS: Mapping[str, Operation] = {
    "brightness": Operation(_uniform, brightness),
    "saturation": Operation(_uniform, saturation),
    "contrast": Operation(_uniform, contrast),
    "translation": Operation(_shifts, translation),
    "cutout": Operation(_centers, cutout),
}
