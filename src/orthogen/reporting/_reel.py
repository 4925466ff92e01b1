"""A film's frames on disk, and files that appear only when they are complete."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

from PIL import Image

__all__ = ["Reel", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place at the end, or vanishes if something fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Reel(Sequence[Image.Image]):
    """RGB frames of one size in a temporary file: each is drawn once, shown often, and only one is in memory.

    Args:
        folder: where the temporary file may lie; it has no name there.
        order: which of the frames appended are shown, one after another.
    """

    def __init__(self, folder: Path, order: Sequence[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._order = order
        self._size = (0, 0)
        self._file = tempfile.TemporaryFile(dir=folder)

    def __enter__(self) -> "Reel":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, frame: Image.Image) -> None:
        """One more frame."""
        self._size = frame.size
        self._file.write(frame.tobytes())

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | list[Image.Image]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        length = self._size[0] * self._size[1] * 3
        self._file.seek(self._order[index] * length)
        return Image.frombytes("RGB", self._size, self._file.read(length))
