"""What the sets published for the Hessian Penalty have in common: one TFRecord file for each resolution."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from orthogen.core.kinds import Data, ImageSet
from orthogen.data._decode import Framing, look, naming
from orthogen.data._missing import missing
from orthogen.data._pixels import StoredImages, check_loading
from orthogen.data._record_images import RecordImages
from orthogen.data._reduced import Reduced
from orthogen.data._sources import NoImages, folder_source, zip_source
from orthogen.data._tfrecords import Records

__all__ = ["Leveled"]

SITE = "http://efrosgans.eecs.berkeley.edu/HessianPenalty/resources/"
LOWEST = 4  # pixels


@dataclass(frozen=True)
class Leveled(Data):
    """Images at every resolution of progressive growing; a member says what its files are called."""

    path: str | Path = ""
    resolution: int = 128
    workers: int = 8
    memory: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        owner, side = type(self).__name__, self.resolution
        if side < LOWEST or side & side - 1:
            raise ValueError(f"{owner}(resolution={side}): give a power of two, {LOWEST} or more")
        check_loading(owner, None, self.workers, self.memory)

    def leveled(self, name: str, instead: str) -> ImageSet:
        """The images of ``<name>-rNN.tfrecords``, or else those of a folder or a zip file, at the resolution.

        Args:
            name: of the published files.
            instead: what one may have in place of them, in words.

        Raises:
            FileNotFoundError: nothing is at the path, or no images of that name and resolution; the message says where
                to get them.
            ValueError: what is there is damaged, or its sides are no multiples of the resolution by a power of two.
        """
        path, published = Path(self.path), f"{self._file(name)} of {SITE}"
        if not self.path or not path.exists():
            raise missing(self._owner, self.path, f"the folder with {published} (or {instead})")
        images: ImageSet
        if (file := self._records(path, name)) is not None:
            images = RecordImages(Records(file))
            self._check((images.resolution, images.resolution), f"{file} has images that are")
        else:
            try:
                images = self._pictures(path)
            except NoImages as error:
                get = f"get {published} and put it there, or give {instead}"
                raise FileNotFoundError(f"{self._owner}: {path} holds neither its files nor images; {get}") from error
        return images if images.resolution == self.resolution else Reduced(images, self.resolution)

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def _file(self, name: str) -> str:
        return f"{name}-r{self.resolution.bit_length() - 1:02d}.tfrecords"

    def _records(self, path: Path, name: str) -> Path | None:
        """The file with the lowest resolution that is high enough; None where there is no file of that name."""
        if path.is_file():
            return path if path.suffix == ".tfrecords" else None
        for folder in (path, path / name):
            matches = ((re.fullmatch(rf"{name}-r(\d\d)\.tfrecords", file.name), file) for file in folder.glob("*"))
            levels = {int(match[1]): file for match, file in matches if match}
            enough = [level for level in levels if 2**level >= self.resolution]
            if enough:
                return levels[min(enough)]
            if levels:
                has = f"{folder} has nothing higher than {levels[max(levels)].name}"
                raise FileNotFoundError(f"{self._owner}: {has}; get {self._file(name)} of {SITE} and put it there")
        return None

    def _pictures(self, path: Path) -> StoredImages:
        """Encoded images, which must be squares of one size, decoded at that size."""
        source = (zip_source if path.is_file() else folder_source)(str(path), self._owner)
        title = source.title(0)
        with naming(title), source.open(source.names[0]) as file:
            size = look(file, title).size
        self._check(size, f"{title} is")
        return StoredImages(
            replace(source, labels=None, classes=()),
            Framing(None, "none"),
            channels=3,
            workers=self.workers,
            memory=self.memory,
            size=size,
        )

    def _check(self, size: tuple[int, int], what: str) -> None:
        """Refuse sides from which repeated means of 2 x 2 do not lead to the resolution."""
        width, height = size
        times, rest = divmod(width, self.resolution)
        if width != height or rest or times & times - 1:
            known = f"squares of {self.resolution}, {2 * self.resolution}, {4 * self.resolution}, ... pixels are needed"
            raise ValueError(
                f"{self._owner}: {what} {width} x {height} pixels; for resolution={self.resolution} {known} "
                "(ImageFolder resizes any)"
            )
