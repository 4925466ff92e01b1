"""The released format of pairs on disk: strips ``pair_%06d.jpg`` with both images side by side, and ``labels.npy``."""

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from orthogen.core.files import write_atomically
from orthogen.core.progress import track
from orthogen.core.shapes import Float, UInt8

__all__ = ["QUALITY", "Format", "decode", "encode", "read_labels", "read_strips", "write"]

Format = Literal["jpg", "png"]

QUALITY = 75  # Pillow's own, with which the released pairs were written
NAME = re.compile(r"pair_(\d{6,})\.(jpg|png)")
MODES = {"L": 1, "RGB": 3}


def encode(strip: UInt8[Tensor, "c h w"], kind: Format = "jpg", quality: int = QUALITY) -> bytes:
    """An image file; JPEG halves the resolution of color, as Pillow does by default.

    Raises:
        ValueError: neither 1 nor 3 channels.
    """
    pixels = strip.cpu().numpy()
    if len(pixels) not in MODES.values():
        raise ValueError(f"pairs of {len(pixels)} channels were given; image files hold gray (1) or color (3)")
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    file = BytesIO()
    image.save(file, "PNG") if kind == "png" else image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def decode(data: bytes, name: str) -> UInt8[Tensor, "c h w"]:
    """The pixels of an image file.

    Raises:
        ValueError: it is no image, or neither gray nor color in 8 bits.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, zlib.error, struct.error, ...
        raise ValueError(f"{name} cannot be read as an image; write the pairs again") from error
    if image.mode not in MODES:
        raise ValueError(f"{name} is of mode {image.mode}; pairs are gray (L) or color (RGB) in 8 bits")
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if image.mode == "L" else pixels.permute(2, 0, 1)


def write(
    folder: Path, strips: Iterable[Tensor], labels: Float[Tensor, "n classes"], kind: Format, quality: int
) -> None:
    """Write a new folder of pairs; the labels come last, so that a folder that has them is complete.

    Raises:
        FileExistsError: there are pairs or labels already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "labels.npy").exists() or any(NAME.fullmatch(path.name) for path in folder.iterdir()):
        raise FileExistsError(f"{folder} holds pairs already; give a new folder")
    for i, strip in enumerate(track(strips, "writing pairs", total=len(labels))):
        (folder / f"pair_{i:06d}.{kind}").write_bytes(encode(strip, kind, quality))
    file = BytesIO()
    np.save(file, labels.double().cpu().numpy())
    write_atomically(folder / "labels.npy", file.getvalue())


def read_labels(folder: Path) -> Float[Tensor, "n classes"]:
    """The numbers in ``labels.npy``, in float64.

    Raises:
        FileNotFoundError: there is no such folder or no such file in it.
        ValueError: the file is no table of numbers.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; give a folder of pairs (pair_000000.jpg, ..., labels.npy)")
    path = folder / "labels.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no labels.npy, which tells for each pair what changed; write it again")
    try:
        labels = np.load(BytesIO(path.read_bytes()), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not an array written by numpy.save; write the pairs again") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "fiu":
        found = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else "an archive"
        raise ValueError(f"{path} holds {found}; a table of numbers (pairs, classes) is needed")
    return torch.from_numpy(labels.astype(np.float64))


def _files(folder: Path, count: int) -> list[Path]:
    """The files of ``count`` pairs in order, when exactly these are there."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = NAME.fullmatch(path.name)
        if match is None:
            continue
        i = int(match[1])
        if i in found:
            raise ValueError(f"{folder} holds both {found[i].name} and {path.name}; remove one")
        found[i] = path
    kind = next(iter(found.values())).suffix if found else ".jpg"
    missing = [i for i in range(count) if i not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{folder} lacks pair_{missing[0]:06d}{kind}{more}, but labels.npy has {count} rows; write the pairs again"
        )
    extra = sorted(i for i in found if i >= count)
    if extra:
        raise ValueError(f"{folder} holds {found[extra[0]].name}, but labels.npy has {count} rows; remove it")
    return [found[i] for i in range(count)]


def read_strips(folder: Path, count: int) -> UInt8[Tensor, "n c h w"]:
    """All strips of a folder.

    Raises:
        ValueError: files are missing, too many, no images, of an odd width or of several shapes; the message names one.
    """
    if count == 0:
        raise ValueError(f"{folder}/labels.npy has no rows; a folder of pairs has one for each")
    files = _files(folder, count)
    strips = torch.empty(0)
    for i, path in enumerate(track(files, "reading pairs")):
        strip = decode(path.read_bytes(), path.name)
        if i == 0:
            if strip.shape[2] % 2:
                raise ValueError(f"{path} is {strip.shape[2]} pixels wide; two images side by side have an even width")
            strips = torch.empty(count, *strip.shape, dtype=torch.uint8)
        if strip.shape != strips.shape[1:]:
            shapes = " and ".join(f"{w} x {h} x {c}" for c, h, w in (strip.shape, strips.shape[1:]))
            raise ValueError(f"{path} and {files[0].name} differ in width x height x channels: {shapes}")
        strips[i] = strip
    return strips
