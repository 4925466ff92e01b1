"""What folders and archives of images have in common: how the images are framed, and how they are kept."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from orthogen.core.kinds import Data
from orthogen.data._decode import Crop, Filter, Framing
from orthogen.data._missing import missing
from orthogen.data._pixels import StoredImages, check_loading
from orthogen.data._sources import NoImages, Source, folder_source, zip_source

__all__ = ["Pictures"]


@dataclass(frozen=True)
class Pictures(Data):
    """Image files below a path; a member says where they are and what their classes are."""

    path: str | Path = ""
    resolution: int | None = None
    crop: Crop = "center"
    resize: Filter = "lanczos"
    channels: int | None = None
    flip: bool = False
    workers: int = 8
    memory: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        check_loading(type(self).__name__, self.channels, self.workers, self.memory)
        Framing(self.resolution, self.crop, self.resize)

    def stored(self, source: Source) -> StoredImages:
        """The images of a source, framed and kept as this description says."""
        return StoredImages(
            source,
            Framing(self.resolution, self.crop, self.resize),
            channels=self.channels,
            flip=self.flip,
            workers=self.workers,
            memory=self.memory,
        )

    def unlabeled(self, give: str) -> StoredImages:
        """All images of a folder or a zip file, without classes; ``give`` says what to give where there is none.

        Raises:
            FileNotFoundError: nothing is at the path, or no images.
        """
        owner, path = type(self).__name__, str(self.path)
        if not path or not Path(path).exists():
            raise missing(owner, path, give)
        try:
            source = (zip_source if Path(path).is_file() else folder_source)(path, owner)
        except NoImages as error:
            raise FileNotFoundError(f"{owner}: {error}; give {give}") from error
        return self.stored(replace(source, labels=None, classes=()))
