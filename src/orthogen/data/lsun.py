"""LSUN: photographs of scenes, out of its LMDB databases."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, ClassVar, Literal

from orthogen.core.kinds import Data
from orthogen.data._decode import Crop, Filter, Framing
from orthogen.data._lmdb import is_database, lmdb_source
from orthogen.data._missing import missing
from orthogen.data._pixels import StoredImages, check_loading
from orthogen.data._sources import Source, folder_source

__all__ = ["Lsun"]


@dataclass(frozen=True)
class Lsun(Data):
    """LSUN's scenes, a class to a category, in the order of the database's keys (of names, in a folder).

    Images that are not square are squashed, as the papers' code does. The released evaluation of long-tailed GANs looks
    at the first 2,000 records of each class, which training has seen; ``held_out`` describes records that it has not.

    Attributes:
        path: the folder with ``church_outdoor_train_lmdb`` (unpacked), or with a folder of images that is called
            ``church_outdoor_train`` or ``church_outdoor``; or one category's own folder. Nothing is downloaded.
        categories: which to take; the classes, in this order, where there is more than one. ``Lsun.LONG_TAIL`` are the
            five that long-tailed GANs are trained on.
        split: ``"train"`` or ``"val"`` (300 images of each category).
        resolution: side of the images, in pixels.
        crop: ``"squash"`` for whole images at the cost of their aspect; others as in `ImageFolder`.
        resize: Pillow's filter; torchvision's resize of a Pillow image is bilinear, wider where it shrinks.
        skip: records of each class that are passed over at first.
        limit: records of each class that are taken then; None for all.
        flip: mirror each image with probability 1/2 every time it is shown, as long-tailed GANs are trained; simple
            ones are trained without.
        workers: threads that decode.
        memory: GiB of decoded images that are kept; a larger set is decoded anew every time. All 126,227 churches take
            5.8 GiB at 128 pixels.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Yu et al., LSUN: Construction of a Large-Scale Image Dataset Using Deep Learning with Humans in the Loop (2015).

    Example:
        >>> training = Lsun(categories=Lsun.LONG_TAIL, resolution=64, limit=50_000, flip=True)
        >>> testing = training.held_out(2000)
        >>> testing.skip, testing.limit, testing.flip
        (50000, 2000, False)
    """

    LONG_TAIL: ClassVar[tuple[str, ...]] = ("bedroom", "conference_room", "dining_room", "kitchen", "living_room")

    path: str | Path = ""
    categories: tuple[str, ...] = ("church_outdoor",)
    split: Literal["train", "val"] = "train"
    resolution: int = 128
    crop: Crop = "squash"
    resize: Filter = "bilinear"
    skip: int = 0
    limit: int | None = None
    flip: bool = False
    workers: int = 8
    memory: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        if not self.categories or len(set(self.categories)) < len(self.categories):
            raise ValueError(f"Lsun(categories={self.categories}): name at least one category, each once")
        if self.split not in ("train", "val"):
            raise ValueError(f"Lsun(split={self.split!r}): the splits with images of each category are train and val")
        if self.skip < 0 or (self.limit is not None and self.limit < 1):
            raise ValueError(f"Lsun(skip={self.skip}, limit={self.limit}): skip none or more records, take at least 1")
        check_loading("Lsun", None, self.workers, self.memory)
        Framing(self.resolution, self.crop, self.resize)

    def held_out(self, n: int) -> "Lsun":
        """The ``n`` records of each class behind these, never mirrored: to evaluate on what was not trained on.

        Raises:
            ValueError: this description takes all records.
        """
        if self.limit is None:
            raise ValueError("Lsun(limit=None) takes all records and leaves none to hold out; give a limit")
        return replace(self, skip=self.skip + self.limit, limit=n, flip=False)

    def open(self) -> StoredImages:
        """The images.

        Raises:
            FileNotFoundError: a category is not there.
            ModuleNotFoundError: the package lmdb is not installed, and a category is in a database.
            ValueError: a category has fewer records than are asked for, or an image cannot be read.
        """
        if not self.path or not Path(self.path).exists():
            raise missing("Lsun", self.path, f"the folder with {self._databases} of github.com/fyu/lsun")
        sources = [self._source(category) for category in self.categories]
        return StoredImages(
            sources[0] if len(sources) == 1 else _joined(sources, self.categories, str(self.path)),
            Framing(self.resolution, self.crop, self.resize),
            channels=3,
            flip=self.flip,
            workers=self.workers,
            memory=self.memory,
        )

    @property
    def _databases(self) -> str:
        return ", ".join(f"{category}_{self.split}_lmdb" for category in self.categories)

    def _source(self, category: str) -> Source:
        """The records of one category."""
        names = (f"{category}_{self.split}_lmdb", f"{category}_{self.split}", category)
        root = Path(self.path)
        found = [root / name for name in names if (root / name).is_dir()]
        if not found and len(self.categories) == 1 and (is_database(root) or root.name in names):
            found = [root]
        if not found:
            packed = f"{names[0]}.zip of github.com/fyu/lsun"
            raise FileNotFoundError(f"Lsun: {root} holds none of {', '.join(names)}; unpack {packed} there")
        at = found[0]
        if is_database(at):
            source = lmdb_source(at, "Lsun", skip=self.skip, limit=self.limit)
        else:
            source = folder_source(str(at), "Lsun")
            end = None if self.limit is None else self.skip + self.limit
            source = replace(source, names=source.names[self.skip : end], labels=None, classes=())
        if len(source.names) < (self.limit or 1):
            asked = f"skip={self.skip} and limit={self.limit}"
            raise ValueError(f"Lsun: {at} has {len(source.names):,} records left for {asked}; ask for fewer")
        if not self.skip and self.limit is None:
            return source
        return replace(
            source, where=f"records {self.skip:,} to {self.skip + len(source.names) - 1:,} of {source.where}"
        )


def _joined(sources: Sequence[Source], classes: tuple[str, ...], where: str) -> Source:
    """One source of several, each a class."""
    of = dict(zip(classes, sources, strict=True))

    @contextmanager
    def read(name: str) -> Iterator[IO[bytes]]:
        category, _, own = name.partition("/")
        with of[category].open(own) as file:
            yield file

    names = tuple(f"{category}/{name}" for category, source in of.items() for name in source.names)
    labels = tuple(i for i, source in enumerate(sources) for _ in source.names)
    return Source(where, names, read, labels, classes)
