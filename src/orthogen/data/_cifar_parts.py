"""The pixels and labels in one of CIFAR's files: a pickle, binary records, or an npz file of encoded images."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orthogen.data._decode import BadImage, naming
from orthogen.data._pixels import each
from orthogen.data._plain_pickle import Refused, read_plain

__all__ = ["Part", "encoded", "pickled", "recorded"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
THREADS = 4  # an image of 32 pixels is decoded in little more time than Python's lock is passed on

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]  # pixels (n, 3, 32, 32) and labels


def pickled(data: bytes, key: str) -> Part:
    """The images in a pickle of ``data`` and ``key``, which holds the labels. Nothing in it is run.

    Raises:
        Refused: it is something else; the message completes "the file ...".
    """
    batch = read_plain(data)
    rows, labels = (batch.get(name) for name in ("data", key)) if isinstance(batch, dict) else (None, None)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != PIXELS:
        raise Refused(f"has no array 'data' with rows of {PIXELS:,} bytes")
    if not isinstance(labels, list) or len(labels) != len(rows) or not all(type(label) is int for label in labels):
        raise Refused(f"has no list {key!r} with a label for each of its {len(rows):,} images")
    try:
        return rows.reshape(-1, 3, SIDE, SIDE), np.array(labels, dtype=np.int64)
    except OverflowError:
        raise Refused(f"has labels in {key!r} of more than 64 bits") from None


def recorded(data: bytes, columns: int, column: int) -> Part:
    """The images in records of ``columns`` labels and the pixels, with the labels of one column.

    Raises:
        Refused: it does not consist of whole records; the message completes "the file ...".
    """
    length = columns + PIXELS
    if len(data) % length:
        raise Refused(f"has {len(data):,} bytes, which are no whole records of {length:,}")
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, length)
    return records[:, columns:].reshape(-1, 3, SIDE, SIDE), records[:, column].astype(np.int64)


def encoded(path: Path, classes: tuple[str, ...]) -> tuple[Part, str]:
    """The images in an npz file, ``data`` cut at ``offsets``, with ``labels``; and the format of the first.

    Raises:
        Refused: it is something else, or has other classes; the message completes "the file ...".
        BadImage: one of the images cannot be read, or is not 32 x 32.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            data, offsets, labels = arrays["data"], arrays["offsets"], arrays["labels"]
            names = tuple(map(str, arrays["label_names"].ravel())) if "label_names" in arrays else classes
    # TypeError: a single array, not a file of several; MemoryError: an array that claims more than there is
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, OSError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).strip("\"'").split())
        raise Refused(f"is no npz file of data, offsets and labels ({reason})") from error
    ends = offsets.tolist() if offsets.ndim == 1 and offsets.dtype.kind in "iu" else []
    if data.dtype != np.uint8 or data.ndim != 1 or ends != sorted(ends) or ends[:1] != [0] or ends[-1] != len(data):
        raise Refused("has offsets that do not cut its data into files")
    if labels.shape != (len(ends) - 1,) or labels.dtype.kind not in "iu":
        raise Refused(f"has labels of shape {labels.shape} and type {labels.dtype} for {len(ends) - 1:,} images")
    if names != classes:
        raise Refused(f"has classes that begin with {', '.join(names[:3])}, not with {', '.join(classes[:3])}")
    pixels, kind = _decoded(data.tobytes(), ends, path)
    return (pixels, labels.astype(np.int64)), kind


def _decoded(data: bytes, ends: list[int], path: Path) -> tuple[NDArray[np.uint8], str]:
    pixels = np.empty((len(ends) - 1, 3, SIDE, SIDE), dtype=np.uint8)

    def decode(i: int) -> str:
        with naming(f"image {i} in {path}"), Image.open(io.BytesIO(data[ends[i] : ends[i + 1]])) as image:
            if image.size != (SIDE, SIDE):
                raise BadImage(
                    f"image {i} in {path} is {image.width} x {image.height} pixels; {SIDE} x {SIDE} is expected"
                )
            pixels[i] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            return str(image.format)

    return pixels, (each(decode, len(pixels), THREADS, "Decoding images") or [""])[0]
