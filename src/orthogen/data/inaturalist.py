"""iNaturalist 2019: photographs of 1010 species, as unevenly spread as people met them."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Data
from orthogen.core.sampling import round_robin
from orthogen.data._decode import Framing
from orthogen.data._missing import missing
from orthogen.data._pixels import StoredImages, check_loading
from orthogen.data._sources import MOST_CLASSES, Source

__all__ = ["INaturalist2019"]

CITATION = """\
@inproceedings{vanhorn2018inaturalist,
  title     = {The {iNaturalist} Species Classification and Detection Dataset},
  author    = {Van Horn, Grant and Mac Aodha, Oisin and Song, Yang and Cui, Yin and Sun, Chen and Shepard, Alex and
               Adam, Hartwig and Perona, Pietro and Belongie, Serge},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2018}
}
"""

SITE = "github.com/visipedia/inat_comp (2019)"


@dataclass(frozen=True)
class INaturalist2019(Data):
    """iNaturalist 2019 in its natural distribution: 265,213 training and 3,030 validation images of 1010 species.

    The largest square in the middle of each photograph is resized. Training images are few for most species; the
    validation images are three for each. Nothing is downloaded.

    Attributes:
        path: the folder with ``train_val2019`` and the annotations ``train2019.json`` and ``val2019.json`` in it; or
            with text lists, one line ``path label`` for each image, as group spectral regularization's code reads them.
        split: ``"train"`` or ``"val"``.
        listed: the JSON or text file in ``path`` that says which images there are; for ``""`` it is the split's JSON,
            or else the only ``.txt`` with the split in its name.
        resolution: side to resize to, in pixels, by Pillow's bilinear filter.
        order: ``"listed"``, or ``"round_robin"``: one image of each species, then the second of each, as many of each
            as the rarest has. The release evaluates on the validation split in that order.
        flip: mirror each image with probability 1/2 every time it is shown.
        workers: threads that decode.
        memory: GiB of decoded images that are kept; a larger set is decoded anew every time. All training images take
            3.1 GiB at 64 pixels.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Van Horn et al., The iNaturalist Species Classification and Detection Dataset (CVPR 2018). Center crop and 64
        pixels as in the released code of Rangwani et al., Improving GANs for Long-Tailed Data through Group Spectral
        Regularization (ECCV 2022).

    Example:
        >>> INaturalist2019().resolution, INaturalist2019(split="val", order="round_robin").order
        (64, 'round_robin')
    """

    path: str | Path = ""
    split: Literal["train", "val"] = "train"
    listed: str = ""
    resolution: int = 64
    order: Literal["listed", "round_robin"] = "listed"
    flip: bool = False
    workers: int = 8
    memory: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        check_choices(self)
        check_loading("INaturalist2019", None, self.workers, self.memory)
        Framing(self.resolution)

    def open(self) -> StoredImages:
        """The photographs.

        Raises:
            FileNotFoundError: the folder, its lists or an image is not there; the message says where to get them.
            ValueError: a list or an image cannot be read.
        """
        source = self._source(self._list())
        if self.order == "round_robin":
            index = round_robin(torch.tensor(source.labels)).tolist()
            names, labels = (tuple(each[i] for i in index) for each in (source.names, source.labels or ()))
            source = replace(source, names=names, labels=labels)
        return StoredImages(
            source,
            Framing(self.resolution, "center", "bilinear"),
            channels=3,
            flip=self.flip,
            workers=self.workers,
            memory=self.memory,
        )

    def _list(self) -> Path:
        """The file that says which images there are."""
        root, usual = Path(self.path), f"{self.split}2019.json"
        needed = f"the folder that train_val2019 and {usual} of {SITE} are unpacked in"
        if not self.path or not root.exists():
            raise missing("INaturalist2019", self.path, needed)
        if not root.is_dir():
            raise ValueError(f"INaturalist2019: {self.path} is a file; give {needed}")
        if self.listed or (root / usual).is_file():
            found = root / (self.listed or usual)
            if not found.is_file():
                raise FileNotFoundError(f"INaturalist2019: the list {found} does not exist; give {needed}")
            return found
        texts = sorted(file for file in root.glob("*.txt") if self.split in file.name)
        if len(texts) != 1:
            names = ", ".join(file.name for file in texts) or "none"
            raise FileNotFoundError(
                f"INaturalist2019: {self.path} has no {usual}, and of text lists of {self.split} {names}; "
                f"give {needed}, or name the list (listed=...)"
            )
        return texts[0]

    def _source(self, file: Path) -> Source:
        """Names, labels and classes out of a list."""
        read = _read_json if file.suffix == ".json" else _read_text
        try:
            names, labels, classes = read(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"INaturalist2019: {file}: {error}; copy the list again") from error
        if not names:
            raise ValueError(f"INaturalist2019: {file} lists no images; copy the list again")
        root = Path(self.path)
        absent = next((name for name in names if not (root / name).is_file()), None)
        if absent is not None:
            raise FileNotFoundError(
                f"INaturalist2019: {file.name} lists {absent}, which is not in {self.path}; unpack the images of "
                f"{SITE} there"
            )
        return Source(str(self.path), names, lambda name: (root / name).open("rb"), labels, classes)


Listed = tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]


def _read_text(text: str) -> Listed:
    """Paths, labels and class names (the numbers) of lines ``path label``."""
    names, labels = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not (name and label.isdecimal() and int(label) < MOST_CLASSES):
            raise ValueError(f"line {number} is {line[:60]!r}, and a path and a class number are accepted")
        names.append(name.strip())
        labels.append(int(label))
    return tuple(names), tuple(labels), tuple(map(str, range(max(labels, default=-1) + 1)))


def _read_json(text: str) -> Listed:
    """Paths, labels and class names of annotations in COCO's layout; classes are in the order of their ids."""
    found = json.loads(text)
    images, annotations, categories = (_rows(found, part) for part in ("images", "annotations", "categories"))
    try:
        species = sorted((row["id"], str(row.get("name", row["id"]))) for row in categories)
        place = {identity: label for label, (identity, _) in enumerate(species)}
        label_of = {row["image_id"]: place[row["category_id"]] for row in annotations}
        names = tuple(str(row["file_name"]) for row in images)
        labels = tuple(label_of[row["id"]] for row in images)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an entry is missing or of another kind ({type(error).__name__}: {error})") from error
    return names, labels, tuple(name for _, name in species)


def _rows(found: Any, part: str) -> Sequence[Any]:
    rows = found.get(part) if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise ValueError(f"it has no {part!r}, and annotations with images, annotations and categories are accepted")
    return rows
