"""dSprites as published: every one of its 737,280 frames, read from the npz file."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from orthogen.core.kinds import Data, FactorSet
from orthogen.core.shapes import Bool, Float, Int, UInt8
from orthogen.data._missing import missing
from orthogen.data._pixels import watched
from orthogen.data._sprite_symmetry import same_sprite

__all__ = ["DSprites"]

NAMES = ("shape", "scale", "orientation", "posX", "posY")
SIZES = (3, 6, 40, 32, 32)
SIDE = 64
FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SITE = "github.com/google-deepmind/dsprites-dataset"
PART = 1024  # frames unpacked at once
REACH = 2  # steps of position by which a heart's center of mass misses its center (2.03 at most, measured)
ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class DSprites(Data):
    """White squares, ellipses and hearts in every scale, orientation and position: 3 x 6 x 40 x 32 x 32 frames.

    Kept in memory as bits (360 MiB). The file's pickled metadata is not read. A file whose ``imgs`` are already packed
    bits, ``(737280, 512)``, is accepted too. `orthogen.Sprites` draws the same images without any file.

    Attributes:
        path: the file ``dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz``, or the folder that it lies in. Nothing is
            downloaded.

    Reference:
        Matthey et al., dSprites: Disentanglement testing Sprites dataset (2017).

    Example:
        >>> DSprites("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz").path
        'dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz'
    """

    path: str | Path = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was

    def open(self) -> "Frames":
        """The frames.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not dSprites, or is damaged.
        """
        path = str(Path(self.path) / FILE if Path(self.path).is_dir() and self.path else self.path)
        if not Path(path).is_file():
            raise missing("DSprites", path, f"the file {FILE} of {SITE}")
        try:
            with zipfile.ZipFile(path) as archive:
                if "latents_classes.npy" in archive.namelist():
                    with archive.open("latents_classes.npy") as file:
                        _check_order(npy.read_array(file, allow_pickle=False))
                bits, done = np.empty((prod(SIZES), SIDE * SIDE // 8), dtype=np.uint8), 0
                for part in watched(_packed(archive), len(bits), "Reading dSprites"):
                    bits[done : done + len(part)] = part
                    done += len(part)
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).strip("\"'").split())
            raise ValueError(f"{path} is not dSprites ({reason}); give the file {FILE}") from error
        return Frames(path, bits)


def _check_order(classes: NDArray[np.int64]) -> None:
    """Refuse frames that are not in the published order, whose first column (color) is constant."""
    if not np.array_equal(classes[:, 1:], np.indices(SIZES).reshape(len(SIZES), -1).T):
        raise ValueError("its latents_classes do not count through the factors in order")


def _packed(archive: zipfile.ZipFile) -> Iterator[NDArray[np.uint8]]:
    """The frames in parts, eight pixels to a byte, so that the three gigabytes they unpack to are never held."""
    n, pixels = prod(SIZES), SIDE * SIDE
    with archive.open("imgs.npy") as file:
        version = npy.read_magic(file)
        shape, by_column, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
        if by_column:
            raise ValueError("its imgs are in column order")
        if shape not in ((n, SIDE, SIDE), (n, pixels // 8)) or dtype != np.uint8:
            raise ValueError(f"its imgs are {dtype} of shape {shape}, not uint8 of shape {(n, SIDE, SIDE)}")
        row = prod(shape[1:])
        for start in range(0, n, PART):
            size = min(PART, n - start) * row
            data = file.read(size)
            if len(data) < size:
                raise ValueError(f"it ends after {start + len(data) // row} of {n} frames")
            frames = np.frombuffer(data, dtype=np.uint8).reshape(-1, row)
            yield np.packbits(frames, axis=1) if row == pixels else frames


class Frames(FactorSet):
    """All frames, as bits.

    Attributes:
        bits: ``(737280, 512)``, eight pixels to a byte, the leftmost in the highest bit.
    """

    channels = 1
    resolution = SIDE
    factor_names = NAMES

    def __init__(self, path: str, bits: NDArray[np.uint8]) -> None:
        self.factor_sizes = SIZES
        self.path, self.bits = path, bits

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n 1 h w"]:
        """The frames of those indices, 0 and 255, on the index's device."""
        pixels = np.unpackbits(self.bits[index.cpu().numpy()], axis=1).reshape(-1, 1, SIDE, SIDE)
        return torch.from_numpy(pixels).mul_(255).to(index.device)

    def same(self, a: Int[Tensor, "*n 5"], b: Int[Tensor, "*n 5"]) -> Bool[Tensor, "*n 5"]:
        """Equality, but orientations agree within half a step up to the symmetry of the shape in ``b``."""
        return same_sprite(a, b)

    def read_factors(self, images: Float[Tensor, "n c h w"]) -> tuple[Int[Tensor, "n f"], Float[Tensor, "n f"]]:
        """The factors of the frame with the fewest differing pixels; confidence is their intersection over union.

        A pixel counts as lit where its brightest channel is above the middle gray. Frames are compared whose center is
        within two steps of the image's center of mass. Of equal frames the first is taken: orientations 0 and 39 are
        one image, squares repeat every quarter turn and ellipses every half.

        Raises:
            ValueError: the images are not 64 x 64.
        """
        if images.shape[2:] != (SIDE, SIDE):
            raise ValueError(f"images of shape {tuple(images.shape)} were given; dSprites are (n, c, {SIDE}, {SIDE})")
        lit = (images.amax(dim=1) > 0).cpu().numpy()
        values = np.zeros((len(lit), len(SIZES)), dtype=np.int64)
        confidence = np.zeros(len(lit), dtype=np.float32)
        for i in np.flatnonzero(lit.any(axis=(1, 2))):
            values[i], confidence[i] = self._nearest(lit[i])
        confident = torch.from_numpy(confidence)[:, None].repeat(1, len(SIZES))
        return torch.from_numpy(values).to(images.device), confident.to(images.device)

    def _nearest(self, lit: NDArray[np.bool_]) -> tuple[tuple[int, ...], float]:
        rows, columns = np.nonzero(lit)
        around = []
        for middle, size in ((columns.mean(), SIZES[3]), (rows.mean(), SIZES[4])):
            # a frame's center is at pixel 16 + 32 p, with p = step / (size - 1) and pixel centers at i + 0.5
            step = round((middle + 0.5 - 16) / 32 * (size - 1))
            low = min(max(step - REACH, 0), size - 1)
            around.append(slice(low, max(step + REACH, low) + 1))
        near = self.bits.reshape(*SIZES, -1)[:, :, :, around[0], around[1]]
        mine = np.packbits(lit)
        wrong = ONES[near ^ mine].sum(axis=-1, dtype=np.int32)
        best = np.unravel_index(int(wrong.argmin()), wrong.shape)
        union = int(ONES[near[best] | mine].sum(dtype=np.int32))
        shape, scale, orientation, x, y = map(int, best)
        found = (shape, scale, orientation, x + around[0].start, y + around[1].start)
        return found, 1.0 - int(wrong[best]) / union

    def describe(self) -> str:
        """What this is, in one line."""
        return f"{len(self):,} dSprites of {self.path}, {SIDE} x {SIDE} gray, kept in memory as bits"

    __repr__ = describe
