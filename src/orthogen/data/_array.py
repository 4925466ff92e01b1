"""Small images that lie in memory as they came, and are shown at the side that is asked for."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from orthogen.core.kinds import ImageSet
from orthogen.core.shapes import Int, UInt8
from orthogen.data._pixels import each, mirrored

__all__ = ["ArrayImages"]

THREADS = 4  # images as small as these are resized in little more time than Python's lock is passed on


def _resized(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """RGB images ``(n, 3, h, w)`` at another side, by Pillow's bilinear filter, which widens where it shrinks."""
    images = np.empty((len(pixels), 3, side, side), dtype=np.uint8)

    def resize(i: int) -> None:
        image = Image.fromarray(pixels[i].transpose(1, 2, 0)).resize((side, side), Image.Resampling.BILINEAR)
        images[i] = np.asarray(image).transpose(2, 0, 1)

    each(resize, len(pixels), THREADS, "Resizing images")
    return images


class ArrayImages(ImageSet):
    """RGB images with a class each, all in memory.

    Args:
        title: what they are and where they came from, for descriptions.
        pixels: ``(n, 3, side, side)``.
        labels: class of each.
        classes: class names.
        resolution: side to resize to, in pixels, bilinearly; None keeps their own.
        flip: mirror each image with probability 1/2 whenever an ``rng`` is given.
    """

    channels = 3

    def __init__(
        self,
        title: str,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: tuple[str, ...],
        *,
        resolution: int | None = None,
        flip: bool = False,
    ) -> None:
        self.title, self.classes, self._flip = title, classes, flip
        own = pixels.shape[2]
        self.resolution = resolution or own
        self._done = "not resized" if self.resolution == own else f"resized from {own} (bilinear)"
        self._pixels = torch.from_numpy(pixels if self.resolution == own else _resized(pixels, self.resolution))
        self._labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self._labels)

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """The images of those indices, on the index's device; mirrored at random if ``flip`` and ``rng`` are set."""
        batch = self._pixels.index_select(0, index.cpu())
        return (mirrored(batch, rng) if self._flip else batch).to(index.device)

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The class labels of those indices."""
        return self._labels.index_select(0, index.cpu()).to(index.device)

    def describe(self) -> str:
        """Everything that was done to the pixels, in one line."""
        parts = (
            f"{len(self):,} images of {self.title}",
            f"{self.resolution} x {self.resolution} RGB",
            self._done,
            "mirrored at random" if self._flip else "not mirrored",
            f"{len(self.classes)} classes",
            f"kept in memory ({self._pixels.numel() / 2**20:,.1f} MiB)",
        )
        return ", ".join(parts)

    __repr__ = describe
