"""Images at a lower resolution, as progressive growing prepares them: means of square blocks of pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.kinds import ImageSet
from orthogen.core.shapes import Int, UInt8

__all__ = ["Reduced", "block_means"]


def block_means(images: UInt8[Tensor, "n c h w"], side: int) -> UInt8[Tensor, "n c {side} {side}"]:
    """Square images at a side that divides theirs: 2 x 2 means, one after the other, rounded at the end only.

    Sums of integers divided by a power of two are exact; halves are rounded to even.

    Example:
        >>> block_means(torch.tensor([[[[0, 1], [0, 1]]], [[[3, 3], [4, 4]]]], dtype=torch.uint8), 1).flatten()
        tensor([0, 4], dtype=torch.uint8)
    """
    return F.avg_pool2d(images.float(), images.shape[-1] // side).round_().to(torch.uint8)


class Reduced(ImageSet):
    """All images of a set, at ``resolution``, of which theirs is a multiple by a power of two."""

    def __init__(self, whole: ImageSet, resolution: int) -> None:
        self.channels, self.classes, self.resolution = whole.channels, whole.classes, resolution
        self._whole = whole

    def __len__(self) -> int:
        return len(self._whole)

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """The images of those indices."""
        return block_means(self._whole.images(index, rng=rng), self.resolution)

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"] | None:
        """The class labels of those indices."""
        return self._whole.labels(index)

    def describe(self) -> str:
        """What this is, in one line."""
        blocks = self._whole.resolution // self.resolution
        return f"{self._whole!r}, shown at {self.resolution} x {self.resolution} (means of {blocks} x {blocks} pixels)"

    __repr__ = describe
