"""pix2pix's pairs of images -> a zip file of their halves, shuffled."""

import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from orthogen.core.progress import track
from orthogen.data._decode import look, naming
from orthogen.data._reduced import block_means
from orthogen.data._sources import Source, is_image

__all__ = ["shuffled_places", "write_pairs"]

SIDE = 256  # pixels, of each half
SEED = 123
FOLDER = 1000  # images in one folder of the zip file
PART = 64  # pairs whose halves are in memory at once


def shuffled_places(n: int) -> list[int]:
    """Where each of ``n`` images comes to stand when numpy's ``RandomState(123)`` shuffles them.

    Example:
        >>> shuffled_places(4)
        [1, 2, 3, 0]
    """
    order = np.arange(n)
    np.random.RandomState(SEED).shuffle(order)
    return np.argsort(order).tolist()


def write_pairs(owner: str, pairs: Path, to: Path, resolution: int, workers: int) -> int:
    """What `EdgesShoes.prepare` does, and raises."""
    if to.suffix != ".zip":
        raise ValueError(f"{owner}: {str(to)!r} was given to write to; give the name of a zip file, such as shoes.zip")
    if to.exists():
        raise FileExistsError(f"{owner}: {to} exists; remove it, or give another name to write to")
    if resolution > SIDE:
        raise ValueError(f"{owner}: resolution={resolution} is more than the pairs' {SIDE}; give {SIDE} or less")
    source = _pairs_in(owner, pairs)
    n = len(source.names)
    places = shuffled_places(2 * n)
    parts = [range(start, min(start + PART, n)) for start in range(0, n, PART)]
    with ThreadPoolExecutor(workers) as pool:
        for part in track(parts, "Reading headers"):  # all of them first: a wrong one is found in seconds
            list(pool.map(lambda i: _check(source, i), part))
        with _archive(to) as archive:
            for part in track(parts, "Preparing pairs"):
                for i, halves in zip(part, pool.map(lambda i: _halves(source, i, resolution), part), strict=True):
                    for place, image in zip(places[2 * i : 2 * i + 2], halves, strict=True):
                        name = f"{place // FOLDER:05d}/img{place:08d}.png"
                        archive.writestr(zipfile.ZipInfo(name), image)  # without today's date: same pairs, same file
    return 2 * n


def _pairs_in(owner: str, pairs: Path) -> Source:
    """The pairs that lie in a folder, in the order of their names as strings."""
    inner = [folder for folder in (pairs / "edges2shoes" / "train", pairs / "train") if folder.is_dir()]
    folder = inner[0] if inner else pairs
    give = "give the folder that edges2shoes.tar.gz of github.com/phillipi/pix2pix is unpacked to"
    if not folder.is_dir():
        raise FileNotFoundError(f"{owner}: there is no folder {folder}; {give}")
    found = {path.name for path in folder.iterdir() if is_image(path.name)}
    if not found:
        raise FileNotFoundError(f"{owner}: {folder} holds no images; {give}")
    return Source(str(folder), tuple(sorted(found)), lambda name: (folder / name).open("rb"))


def _check(source: Source, i: int) -> None:
    title = source.title(i)
    with naming(title), source.open(source.names[i]) as file:
        width, height = look(file, title).size
    if (width, height) != (2 * SIDE, SIDE):
        raise ValueError(f"{title} is {width} x {height} pixels; pairs of {2 * SIDE} x {SIDE} are expected")


def _halves(source: Source, i: int, resolution: int) -> tuple[bytes, bytes]:
    """The left and the right half of a pair, as PNG files."""
    with naming(source.title(i)), source.open(source.names[i]) as file, Image.open(file) as image:
        pair = torch.from_numpy(np.array(ImageOps.exif_transpose(image).convert("RGB"))).permute(2, 0, 1)
    left, right = (_png(half, resolution) for half in pair[None].split(SIDE, dim=3))
    return left, right


def _png(half: torch.Tensor, resolution: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(block_means(half, resolution)[0].permute(1, 2, 0).numpy()).save(file, "png")
    return file.getvalue()


@contextmanager
def _archive(to: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file that takes its name when it is whole; two processes at once each write one of their own."""
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, to)
    finally:
        Path(unfinished).unlink(missing_ok=True)
