"""Where encoded images lie: a folder or a zip file, and the labels StyleGAN's ``dataset.json`` gives them."""

import json
import os
import re
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

__all__ = ["LABELS", "NoImages", "Source", "folder_source", "is_image", "natural", "zip_source"]

LABELS = "dataset.json"  # StyleGAN's name for the member with the class numbers
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
LARGEST = 2**30  # bytes; a zip member that claims more is not read into memory
MOST_CLASSES = 100_000  # a label beyond this is a mistake, not a class


class NoImages(ValueError):
    """A folder or a zip file without any image."""


@dataclass(frozen=True)
class Source:
    """Encoded images.

    Attributes:
        where: the folder or file they lie in, for messages.
        names: their names there, in natural order.
        open: opens one of the names.
        labels: class number of each image; None where there are no classes.
        classes: class names.
    """

    where: str
    names: tuple[str, ...]
    open: Callable[[str], AbstractContextManager[IO[bytes]]]
    labels: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()

    def title(self, i: int) -> str:
        """Image ``i`` in words."""
        return f"{self.names[i]} in {self.where}"


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key under which ``img2`` comes before ``img10``.

    Example:
        >>> sorted(["b/1", "a/img10", "a/img2"], key=natural)
        ['a/img2', 'a/img10', 'b/1']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def is_image(name: str) -> bool:
    """Whether a name is an image's, and not hidden.

    Example:
        >>> is_image("a/b.JPG"), is_image("a/.b.jpg"), is_image("a/b.txt")
        (True, False, False)
    """
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _ordered(names: Iterator[str], where: str, kind: str) -> tuple[str, ...]:
    found = tuple(sorted((name for name in names if is_image(name)), key=natural))
    if not found:
        raise NoImages(f"the {kind} {where} holds no images; accepted are {' '.join(sorted(SUFFIXES))}")
    return found


def _walk(root: Path) -> Iterator[str]:
    """Files below ``root`` relative to it; linked folders are followed, each folder once."""

    def refuse(error: OSError) -> None:
        raise ValueError(f"the folder {error.filename} cannot be listed ({error.strerror})") from error

    seen = set()
    for at, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for file in files:
            yield (Path(at) / file).relative_to(root).as_posix()


def folder_source(path: str, owner: str) -> Source:
    """The images below a folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no folder, or holds no images, or its ``dataset.json`` does not match them.
    """
    root = Path(path)
    if not path:
        raise FileNotFoundError(f"{owner}: no path was given; give the folder that holds the images")
    if not root.exists():
        raise FileNotFoundError(f"{owner}: {path} does not exist; give the folder that holds the images")
    if not root.is_dir():
        raise ValueError(f"{owner}: {path} is a file; give a folder (ImageArchive opens a zip of images)")
    names = _ordered(_walk(root), path, "folder")
    file = root / LABELS
    labels, classes = _read_labels(file.read_bytes(), names, path) if file.is_file() else (None, ())
    return Source(path, names, lambda name: (root / name).open("rb"), labels, classes)


def zip_source(path: str, owner: str) -> Source:
    """The images in a zip file, which are read where they are and never extracted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole zip file, or holds no images, or its ``dataset.json`` does not match them.
    """
    if not path:
        raise FileNotFoundError(f"{owner}: no path was given; give the zip file that holds the images")
    if not Path(path).exists():
        raise FileNotFoundError(f"{owner}: {path} does not exist; give the zip file that holds the images")
    if Path(path).is_dir():
        raise ValueError(f"{owner}: {path} is a folder; give a zip file (ImageFolder opens a folder of images)")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ValueError(f"{owner}: {path} is not a whole zip file ({error}); copy or make it again") from error
    lock = threading.Lock()  # one reader at a time: ZipFile counts its open members without a lock

    @contextmanager
    def read(name: str) -> Iterator[IO[bytes]]:
        if archive.getinfo(name).file_size > LARGEST:
            raise ValueError(f"it claims more than {LARGEST >> 30} GiB")
        with lock, archive.open(name) as file:
            yield file

    weakref.finalize(read, archive.close)  # a set is never closed; its file is, when nothing can read it any more
    for name in archive.namelist():
        if ".." in re.split(r"[/\\]", name) or re.match(r"[/\\]|[A-Za-z]:", name):
            raise ValueError(f"{owner}: member {name!r} of {path} points outside the archive; make it again")
    names = _ordered(iter(archive.NameToInfo), path, "zip file")
    if LABELS not in archive.NameToInfo:
        return Source(path, names, read)
    try:
        with read(LABELS) as file:
            data = file.read()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{LABELS} in {path} cannot be read ({error}); make the zip file again") from error
    return Source(path, names, read, *_read_labels(data, names, path))


def _read_labels(data: bytes, names: Sequence[str], where: str) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    """The class number of each image, and the class names, from ``{"labels": [["FILE", 3], ...]}``; null for none."""
    title = f"{LABELS} in {where}"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{title} is not JSON ({error}); write it again") from error
    if not isinstance(found, dict):
        raise ValueError(f'{title} holds a {type(found).__name__}; {{"labels": [["FILE", CLASS], ...]}} is accepted')
    if found.get("labels") is None:
        return None, ()
    known = set(names)
    labels: dict[str, int] = {}
    for entry in found["labels"] if isinstance(found["labels"], list) else [found["labels"]]:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise ValueError(f'{title} has the entry {json.dumps(entry)[:60]}; ["FILE", CLASS] is accepted')
        name, label = entry
        if type(label) is not int or not 0 <= label < MOST_CLASSES:
            limits = f"a class number from 0 to {MOST_CLASSES - 1:,} is accepted"
            raise ValueError(f"{title} gives {name} the label {json.dumps(label)[:60]}; {limits}")
        if name not in known:
            raise ValueError(f"{title} has a label for {name}, which is not there; drop the entry or add the file")
        if labels.setdefault(name, label) != label:
            raise ValueError(f"{title} gives {name} the labels {labels[name]} and {label}; keep one")
    for name in names:
        if name not in labels:
            raise ValueError(f"{title} has no label for {name}; add one, or write null for no labels at all")
    return tuple(labels[name] for name in names), tuple(str(i) for i in range(max(labels.values()) + 1))
