"""GIF, frame after frame: one palette for all, and no more than one frame in memory.

Pillow's own writer of animated GIFs holds every frame until the last one is there.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata

__all__ = ["write_gif"]

# ordered dither (Bayer, 4 x 4): fixed to the pixel grid, so that what stands still in the pictures stands still in the
# animation and compresses well, which error diffusion does not
_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16 - 0.5
_AMPLITUDE = 7  # gray levels, about the distance of neighbors in a palette of 255 colors
_SHOWN = 6  # frames that the common palette is made from
_COLORS = 255
_WHITE, _SAME = 254, 255  # the indices of the paper, and of: as in the frame before

Quantize = Callable[[Image.Image], np.ndarray]


def _packed(colors: np.ndarray) -> np.ndarray:
    """Colors, on the last axis, as one number each."""
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return (red << 16) + (green << 8) + blue


def _every_color(frames: Sequence[Image.Image]) -> np.ndarray | None:
    """All colors of all frames, ascending; None where a palette cannot hold them."""
    colors: set[Any] = set()
    for frame in frames:
        found = frame.getcolors(_COLORS)
        colors.update(color for _, color in found or ())
        if found is None or len(colors) > _COLORS:
            return None
    return np.array(sorted(colors), dtype=np.uint8)


def _exact(colors: np.ndarray) -> Quantize:
    """Each color kept as it is."""
    packed = _packed(colors)
    return lambda frame: np.searchsorted(packed, _packed(np.asarray(frame))).astype(np.uint8)


def _dithered(frames: Sequence[Image.Image]) -> tuple[np.ndarray, Quantize]:
    """The colors that suit all frames best; one palette, so that colors never flicker."""
    shown = [frames[i] for i in sorted({round(k * (len(frames) - 1) / (_SHOWN - 1)) for k in range(_SHOWN)})]
    joined = Image.fromarray(np.concatenate([np.asarray(frame) for frame in shown]))
    palette = joined.quantize(_WHITE, method=Image.Quantize.FASTOCTREE)
    width, height = shown[0].size
    noise = np.tile(_BAYER * _AMPLITUDE, (height // 4 + 1, width // 4 + 1))[:height, :width, None].astype(np.float32)

    def quantize(frame: Image.Image) -> np.ndarray:
        pixels = np.asarray(frame, dtype=np.float32)
        noisy = Image.fromarray((pixels + noise).round().clip(0, 255).astype(np.uint8))
        indexed = np.asarray(noisy.quantize(palette=palette, dither=Image.Dither.NONE))
        return np.where((pixels == 255).all(axis=2), np.uint8(_WHITE), indexed)  # the paper stays clean

    colors = np.array(palette.getpalette(), dtype=np.uint8).reshape(-1, 3)[:_WHITE]
    return np.concatenate([colors, np.full((_COLORS - len(colors), 3), 255, dtype=np.uint8)]), quantize


def _box(changed: np.ndarray) -> tuple[slice, slice]:
    """The smallest rectangle around what changed; a single pixel where nothing did."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def write_gif(path: Path, frames: Sequence[Image.Image], milliseconds: int) -> None:
    """Write an endless GIF of RGB frames; dithered only where a palette cannot hold their colors."""
    colors = _every_color(frames)
    palette, quantize = _dithered(frames) if colors is None else (colors, _exact(colors))
    before: np.ndarray | None = None
    with path.open("wb") as file:
        file.write(b"GIF89a" + struct.pack("<HHBBB", *frames[0].size, 0xF7, 0, 0))  # 0xF7: a palette of 256 follows
        file.write(palette.tobytes().ljust(768, b"\0"))
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # play it forever
        for frame in frames:
            indexed = quantize(frame)
            changed = np.ones_like(indexed, dtype=bool) if before is None else indexed != before
            rows, columns = _box(changed)
            part = Image.fromarray(np.where(changed, indexed, np.uint8(_SAME))[rows, columns])
            corner = (int(columns.start), int(rows.start))
            for block in getdata(part, corner, duration=milliseconds, disposal=1, transparency=_SAME):
                file.write(block)
            before = indexed
        file.write(b";")
