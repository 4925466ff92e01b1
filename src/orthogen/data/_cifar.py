"""How CIFAR-10 and CIFAR-100 are published, and where their files are found.

Their site offers two tar archives of each, of pickles and of binary records, which are read packed or unpacked. Copies
whose images are encoded are read from an npz file.
"""

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from orthogen.data._array import ArrayImages
from orthogen.data._cifar_parts import Part, encoded, pickled, recorded
from orthogen.data._decode import BadImage, Framing
from orthogen.data._missing import missing
from orthogen.data._plain_pickle import Refused

__all__ = ["Published"]

LARGEST = 2**30  # bytes; a file in an archive that claims more is none of CIFAR's


def _unzipped(path: Path) -> BufferedIOBase:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


@dataclass(frozen=True)
class Published:
    """One of the two sets, with one of its labelings.

    Attributes:
        owner: the class that describes it, for messages.
        name: what it is called.
        folders: of the pickles and of the binary records, as the archives unpack.
        parts: the files of each split; those of binary records end with ``.bin``.
        key: what a pickle calls the labels.
        columns: how many labels stand before the pixels in a binary record.
        column: which of them is meant.
        classes: class names, in the order of the labels.
    """

    owner: str
    name: str
    folders: tuple[str, str]
    parts: Mapping[str, tuple[str, ...]]
    key: str
    columns: int
    column: int
    classes: tuple[str, ...]

    def check(self, split: str, resolution: int | None) -> None:
        """Refuse settings that no file can fulfil.

        Raises:
            ValueError: there is no such split, or the resolution is not positive.
        """
        if split not in self.parts:
            raise ValueError(f"{self.owner}(split={split!r}): the splits are {' and '.join(self.parts)}")
        Framing(resolution)

    def open(self, path: str, split: str, *, resolution: int | None, flip: bool) -> ArrayImages:
        """All images of a split, from whichever form is at ``path``.

        Raises:
            FileNotFoundError: nothing is there, or a part of it is missing.
            ValueError: it is something else, or damaged.
        """
        title, (pixels, labels) = self._read(path, split)
        known = len(self.classes)
        if not len(labels) or labels.min() < 0 or labels.max() >= known:
            found = f"labels {labels.min()} to {labels.max()}" if len(labels) else "no images"
            raise ValueError(f"{self.owner}: {title} has {found}; labels 0 to {known - 1} are expected")
        return ArrayImages(title, pixels, labels, self.classes, resolution=resolution, flip=flip)

    @property
    def _archives(self) -> tuple[str, str]:
        return f"{self.name.lower()}-python.tar.gz", f"{self.name.lower()}-binary.tar.gz"

    @property
    def _needed(self) -> str:
        return f"the folder with {self._archives[0]} of www.cs.toronto.edu/~kriz/cifar.html, packed or unpacked"

    def _files(self, split: str) -> list[tuple[str, list[str]]]:
        """Folder and file names of both forms, pickles first."""
        suffixes = zip(self.folders, ("", ".bin"), strict=True)
        return [(folder, [f"{part}{suffix}" for part in self.parts[split]]) for folder, suffix in suffixes]

    def _read(self, path: str, split: str) -> tuple[str, Part]:
        root = Path(path)
        if not path or not root.exists():
            raise missing(self.owner, path, self._needed)
        if root.is_dir():
            return self._from_folder(root, split)
        if root.suffix == ".npz":
            return self._from_npz(root, split)
        if root.name.endswith((".tar.gz", ".tgz", ".tar")):
            return self._from_tar(root, split)
        also = " (ImageArchive opens a zip of images)" if root.suffix == ".zip" else ""
        raise ValueError(f"{self.owner}: {path} is none of its files; give {self._needed}{also}")

    def _from_folder(self, root: Path, split: str) -> tuple[str, Part]:
        for folder, names in self._files(split):
            for at in (root / folder, root):
                if any((at / name).is_file() for name in names):
                    for name in names:
                        if not (at / name).is_file():
                            raise FileNotFoundError(f"{self.owner}: {at / name} is missing; unpack the archive again")
                    return self._joined(at, split, {name: (at / name).read_bytes() for name in names})
        for archive in self._archives:
            if (root / archive).is_file():
                return self._from_tar(root / archive, split)
        looked = ", ".join((*self.folders, *self._archives))
        raise FileNotFoundError(
            f"{self.owner}: {root} holds none of {looked}; give {self._needed} "
            "(ImageFolder opens class folders of images)"
        )

    def _from_tar(self, path: Path, split: str) -> tuple[str, Part]:
        forms = self._files(split)
        wanted = {f"{folder}/{name}": name for folder, names in forms for name in names}
        found: dict[str, bytes] = {}
        try:
            with _unzipped(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    if member.size > LARGEST:  # to go past it can take minutes
                        raise tarfile.TarError(f"a file in it claims {member.size:,} bytes")
                    name = wanted.get(member.name.removeprefix("./"))
                    content = archive.extractfile(member) if name and member.isfile() else None
                    if name and content:
                        found[name] = content.read()
                while file.read(2**20):  # to the end, where gzip has its checksum
                    pass
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise ValueError(f"{self.owner}: {path} is no whole tar archive ({error}); copy it again") from error
        for _, names in forms:
            if found.keys() >= set(names):
                return self._joined(path, split, {name: found[name] for name in names})
        raise ValueError(f"{self.owner}: {path} does not hold all files of the {split} split; copy it again")

    def _joined(self, where: Path, split: str, files: Mapping[str, bytes]) -> tuple[str, Part]:
        parts: list[Part] = []
        for name, data in files.items():
            try:
                binary = name.endswith(".bin")
                parts.append(recorded(data, self.columns, self.column) if binary else pickled(data, self.key))
            except Refused as error:
                raise ValueError(f"{self.owner}: {name} in {where} {error}; copy {self.name} again") from error
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return f"the {split} split of {self.name} in {where}", (pixels, labels)

    def _from_npz(self, path: Path, split: str) -> tuple[str, Part]:
        for other in self.parts:
            if other != split and path.stem.endswith(other):
                raise ValueError(f"{self.owner}: {path} is the {other} split by its name; give that of split={split!r}")
        try:
            part, kind = encoded(path, self.classes)
        except BadImage as error:
            raise ValueError(f"{self.owner}: {error}") from error
        except Refused as error:
            raise ValueError(f"{self.owner}: {path} {error}") from error
        return f"the {split} split of {self.name} ({kind}) in {path}", part
