"""CIFAR-10 and CIFAR-100, in any of the forms that people have them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orthogen.core.kinds import Data
from orthogen.data._array import ArrayImages
from orthogen.data._cifar import Published

__all__ = ["Cifar10", "Cifar100"]

TEN = Published(
    owner="Cifar10",
    name="CIFAR-10",
    folders=("cifar-10-batches-py", "cifar-10-batches-bin"),
    parts={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    key="labels",
    columns=1,
    column=0,
    classes=tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
)
HUNDRED = Published(
    owner="Cifar100",
    name="CIFAR-100",
    folders=("cifar-100-python", "cifar-100-binary"),
    parts={"train": ("train",), "test": ("test",)},
    key="fine_labels",
    columns=2,
    column=1,
    classes=tuple(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()
    ),
)
TWENTY = replace(
    HUNDRED,
    key="coarse_labels",
    column=0,
    classes=tuple(
        """aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
        household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
        large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
        vehicles_1 vehicles_2""".split()
    ),
)


@dataclass(frozen=True)
class Cifar10(Data):
    """CIFAR-10: 50,000 training and 10,000 test photographs of 32 x 32 pixels in ten classes, kept in memory.

    Read are the archives ``cifar-10-python.tar.gz`` and ``cifar-10-binary.tar.gz`` of the set's site, packed or
    unpacked (torchvision's layout); pickles without running anything in them. A copy whose images are encoded is read
    from an npz file with ``data`` (all files joined, uint8), ``offsets`` (where each begins, and the end) and
    ``labels``; its description says "CIFAR-10 (JPEG)", because scores on lossy copies are not comparable with others'.

    Attributes:
        path: the folder that holds one of the archives or what they unpack to, that unpacked folder, the archive, or
            the npz file. Nothing is downloaded.
        split: ``"train"`` or ``"test"``.
        resolution: side of the images, in pixels: None for their own 32, others are resized to by Pillow's bilinear
            filter.
        flip: mirror each image with probability 1/2 every time it is shown, as all of the papers' training does;
            evaluation shows images as they are.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Krizhevsky, Learning Multiple Layers of Features from Tiny Images (technical report, University of Toronto,
        2009).

    Example:
        >>> Cifar10(split="test").flip
        True
        >>> Cifar10().open()
        Traceback (most recent call last):
        FileNotFoundError: Cifar10: no path was given; give the folder with cifar-10-python.tar.gz of
            www.cs.toronto.edu/~kriz/cifar.html, packed or unpacked, wherever it lies, as Cifar10(path=...), or
            Cifar10:PATH on the command line
    """

    path: str | Path = ""
    split: Literal["train", "test"] = "train"
    resolution: int | None = None
    flip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        TEN.check(self.split, self.resolution)

    def open(self) -> ArrayImages:
        """The images.

        Raises:
            FileNotFoundError: nothing is there, or a part of it is missing.
            ValueError: it is something else, or damaged.
        """
        return TEN.open(str(self.path), self.split, resolution=self.resolution, flip=self.flip)


@dataclass(frozen=True)
class Cifar100(Data):
    """CIFAR-100: 50,000 training and 10,000 test photographs of 32 x 32 pixels in a hundred classes, kept in memory.

    Read from the same forms as `Cifar10`, of the archives ``cifar-100-python.tar.gz`` and ``cifar-100-binary.tar.gz``.

    Attributes:
        path: the folder that holds one of the archives or what they unpack to, that unpacked folder, the archive, or
            an npz file. Nothing is downloaded.
        split: ``"train"`` or ``"test"``.
        coarse: label images by their 20 superclasses.
        resolution: side of the images, in pixels: None for their own 32, others are resized to by Pillow's bilinear
            filter.
        flip: mirror each image with probability 1/2 every time it is shown.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Krizhevsky, Learning Multiple Layers of Features from Tiny Images (technical report, University of Toronto,
        2009).

    Example:
        >>> Cifar100(split="test").coarse
        False
    """

    path: str | Path = ""
    split: Literal["train", "test"] = "train"
    coarse: bool = False
    resolution: int | None = None
    flip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        HUNDRED.check(self.split, self.resolution)

    def open(self) -> ArrayImages:
        """The images.

        Raises:
            FileNotFoundError: nothing is there, or a part of it is missing.
            ValueError: it is something else, or damaged.
        """
        published = TWENTY if self.coarse else HUNDRED
        return published.open(str(self.path), self.split, resolution=self.resolution, flip=self.flip)
