"""Animations: frames to the bytes of a GIF or an MP4."""

import io
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orthogen.reporting.paths import Number

__all__ = ["gif", "mp4", "require_video"]

# ordered dither (Bayer, 4 x 4): fixed to the pixel grid, so that what stands still in the pictures stands still in the
# animation and compresses well, which error diffusion does not
_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16 - 0.5
_AMPLITUDE = 7  # gray levels, about the distance of neighbors in a palette of 256 colors


def _packed(frame: Image.Image) -> np.ndarray:
    """Colors as one number per pixel."""
    return np.asarray(frame, dtype=np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)


def _every_color(frames: Sequence[Image.Image]) -> np.ndarray | None:
    """All colors of all frames, ascending; None where there are more than 256."""
    colors = np.empty(0, dtype=np.int32)
    for frame in frames:
        colors = np.union1d(colors, _packed(frame))
        if len(colors) > 256:
            return None
    return colors


def _exact(frames: Sequence[Image.Image], colors: np.ndarray) -> list[Image.Image]:
    """Frames of few colors, each color kept as it is."""
    levels = [level for color in colors.tolist() for level in (color >> 16, color >> 8 & 255, color & 255)]
    indexed = []
    for frame in frames:
        image = Image.fromarray(np.searchsorted(colors, _packed(frame)).astype(np.uint8)).convert("P")
        image.putpalette(levels)
        indexed.append(image)
    return indexed


def _dithered(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Frames in the 256 colors that suit all of them best; one palette, so that colors never flicker."""
    shown = [frames[i] for i in sorted({round(k * (len(frames) - 1) / 5) for k in range(6)})]
    joined = Image.fromarray(np.concatenate([np.asarray(frame) for frame in shown]))
    palette = joined.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
    height, width = frames[0].height, frames[0].width
    noise = np.tile(_BAYER * _AMPLITUDE, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    indexed = []
    for frame in frames:
        pixels = np.asarray(frame, dtype=np.float32)
        white = (pixels == 255).all(axis=2, keepdims=True)  # the paper stays clean
        noisy = np.where(white, pixels, pixels + noise).round().clip(0, 255).astype(np.uint8)
        indexed.append(Image.fromarray(noisy).quantize(palette=palette, dither=Image.Dither.NONE))
    return indexed


def gif(frames: Sequence[Image.Image], fps: Number = 20) -> bytes:
    """An endless GIF of RGB frames with one common palette; dithered only where 256 colors are not enough.

    Args:
        frames: pictures of one size.
        fps: frames a second; the format counts in hundredths of a second.

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("a GIF needs at least one frame")
    colors = _every_color(frames)
    indexed = _dithered(frames) if colors is None else _exact(frames, colors)
    buffer = io.BytesIO()
    indexed[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=indexed[1:],
        loop=0,
        duration=max(20, round(100 / fps) * 10),
        disposal=1,
    )
    return buffer.getvalue()


def require_video() -> None:
    """Check for the ``video`` extra.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import_module("imageio.v2")
        import_module("imageio_ffmpeg")
    except ImportError:
        raise ValueError("an MP4 needs the video extra: pip install 'orthogen[video]', or leave --video out") from None


def mp4(frames: Sequence[Image.Image], fps: Number = 20) -> bytes:
    """An H.264 video of RGB frames (``video`` extra).

    Raises:
        ValueError: there are no frames, or the extra is not installed.
    """
    if not frames:
        raise ValueError("a video needs at least one frame")
    require_video()
    import imageio.v2 as imageio

    height, width = frames[0].height // 2 * 2, frames[0].width // 2 * 2  # the codec takes even sizes only
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        writer: Any  # its stubs know the base class only
        with imageio.get_writer(path, fps=fps, quality=9, macro_block_size=2) as writer:
            for frame in frames:
                writer.append_data(np.asarray(frame.crop((0, 0, width, height))))
        return path.read_bytes()
