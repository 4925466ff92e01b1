"""Drawn images with one of their factors for a class label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.kinds import Data, FactorSet, ImageSet
from orthogen.core.shapes import Int, UInt8
from orthogen.data._given import given_data

__all__ = ["FactorClasses"]


@dataclass(frozen=True)
class FactorClasses(Data):
    """Labeled images without a download: a set with known factors, one of which is the class.

    With it, whatever takes labels (classifiers, conditional generators, long tails) can be tried anywhere.

    Attributes:
        data: images with factors, or the name of such a set whose defaults will do.
        factor: the one that becomes the class; its values are the classes ``FACTOR 0``, ``FACTOR 1``, ...

    Raises:
        TypeError: ``data`` is neither a data set nor the name of one.

    Example:
        >>> from orthogen.data.shapes3d import Shapes3d
        >>> images = FactorClasses(Shapes3d(resolution=16), "shape").open()
        >>> images.classes, images.class_counts().tolist()
        (('shape 0', 'shape 1', 'shape 2', 'shape 3'), [120000, 120000, 120000, 120000])
    """

    data: Data | str = "Shapes3d"
    factor: str = "shape"

    def open(self) -> ImageSet:
        """The images.

        Raises:
            ValueError: the data has no factors, or none of this name.
        """
        given = given_data("FactorClasses", self.data, "images with factors, such as Shapes3d()")
        images = given.open()
        if not isinstance(images, FactorSet):
            raise ValueError(
                f"FactorClasses: the images of {type(given).__name__} have no factors; give Sprites or Shapes3d"
            )
        if self.factor not in images.factor_names:
            raise ValueError(
                f"FactorClasses(factor={self.factor!r}): {type(given).__name__} varies "
                f"{', '.join(images.factor_names)}; give one of them"
            )
        return _OneFactor(images, self.factor)


class _OneFactor(ImageSet):
    """Images of a set with factors, labeled by one of them."""

    def __init__(self, whole: FactorSet, factor: str) -> None:
        self.channels, self.resolution = whole.channels, whole.resolution
        self._whole, self._column = whole, whole.factor_names.index(factor)
        self.classes = tuple(f"{factor} {i}" for i in range(whole.factor_sizes[self._column]))

    def __len__(self) -> int:
        return len(self._whole)

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """Those of the whole set."""
        return self._whole.images(index, rng=rng)

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The factor's values."""
        return self._whole.factors(index)[:, self._column]
