"""Drawn images with one of their factors for a class label."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Data, FactorSet, ImageSet
from orthogen.core.rng import generator
from orthogen.core.shapes import Int, UInt8
from orthogen.data._given import given_data

__all__ = ["FactorClasses"]

TEST = 2_000  # images held out of a large set


@dataclass(frozen=True)
class FactorClasses(Data):
    """Labeled images without a download: a set with known factors, one of which is the class.

    With it, whatever takes labels (classifiers, conditional generators, long tails) can be tried anywhere.

    Attributes:
        data: images with factors, or the name of such a set whose defaults will do.
        factor: the one that becomes the class; its values are the classes ``FACTOR 0``, ``FACTOR 1``, ...
        part: "test" for 2,000 images (a tenth of sets with less than 20,000) chosen at random, always the same ones,
            "train" for the others, "all" for both.

    Raises:
        ValueError: another part.
        TypeError: ``data`` is neither a data set nor the name of one.

    Example:
        >>> from orthogen.data.shapes3d import Shapes3d
        >>> images = FactorClasses(Shapes3d(resolution=16), "shape").open()
        >>> images.classes, images.class_counts().tolist()
        (('shape 0', 'shape 1', 'shape 2', 'shape 3'), [120000, 120000, 120000, 120000])
    """

    data: Data | str = "Shapes3d"
    factor: str = "shape"
    part: Literal["all", "train", "test"] = "all"

    def __post_init__(self) -> None:
        check_choices(self)

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
        return _OneFactor(images, self.factor, self._rows(len(images)))

    def _rows(self, n: int) -> Int[Tensor, "m"]:
        """The images of the part."""
        held_out = min(TEST, n // 10)
        order = torch.randperm(n, generator=generator("FactorClasses", n))
        return {"all": torch.arange(n), "train": order[held_out:], "test": order[:held_out]}[self.part]


class _OneFactor(ImageSet):
    """Some images of a set with factors, labeled by one of them."""

    def __init__(self, whole: FactorSet, factor: str, rows: Int[Tensor, "m"]) -> None:
        self.channels, self.resolution = whole.channels, whole.resolution
        self._rows = rows
        self._whole, self._column = whole, whole.factor_names.index(factor)
        self.classes = tuple(f"{factor} {i}" for i in range(whole.factor_sizes[self._column]))

    def __len__(self) -> int:
        return len(self._rows)

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """Those of the whole set."""
        return self._whole.images(self._rows[index.cpu()].to(index.device), rng=rng)

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The factor's values."""
        return self._whole.factors(self._rows[index.cpu()].to(index.device))[:, self._column]
