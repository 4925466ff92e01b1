"""Films: frames to a GIF, an animated WebP or an MP4, one frame in memory at a time."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orthogen.reporting._gif import write_gif
from orthogen.reporting._reel import replacing
from orthogen.reporting.paths import Number

__all__ = ["KINDS", "check", "check_rate", "require_video", "write_film"]

KINDS = ("gif", "webp", "mp4")
_SIDES = {"gif": 65535, "webp": 16383, "mp4": 16384}  # px of a picture's longer side, at most
_RATES = (0.01, 1000)  # frames a second: in a GIF one is shown for 655 seconds at most

# the encoder holds frames for every thread, one and a half per core if not told, and those that it looks ahead to
_X264 = ["-threads", "2", "-x264-params", "rc-lookahead=10"]


class _Rolling(Image.Image):
    """A picture that turns into one frame after another, as Pillow's writers of animations ask for them.

    Handed a list of pictures, they would need all of them at once.
    """

    def __init__(self, frames: Sequence[Image.Image]) -> None:
        super().__init__()
        self._frames = frames
        self.n_frames = len(frames)
        self.seek(0)

    def seek(self, frame: int) -> None:
        shown = self._frames[frame]
        self.im, self._mode, self._size, self._at = shown.im, shown.mode, shown.size, frame

    def tell(self) -> int:
        return self._at


def require_video() -> None:
    """Check for the ``video`` extra.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import_module("imageio.v2")
        import_module("imageio_ffmpeg")
    except ImportError:
        raise ValueError("an MP4 needs the video extra: pip install 'orthogen[video]', or leave --mp4 out") from None


def check(path: Path, size: tuple[int, int]) -> None:
    """Refuse a film that its kind of file cannot hold.

    Raises:
        ValueError: it is no kind of film, or its pictures are too large for it.
    """
    kind = path.suffix[1:]
    if kind not in KINDS:
        raise ValueError(f"{path}: a film is one of {', '.join(KINDS)}")
    if max(size) > _SIDES[kind]:
        raise ValueError(
            f"{path.name}: pictures of {size[0]} x {size[1]} pixels, and those of a {kind} have up to {_SIDES[kind]} a "
            "side; show fewer directions in a file (per_file, --rows-per-file), or fewer samples"
        )


def check_rate(fps: Number) -> None:
    """Refuse a rate at which no film can be played.

    Raises:
        ValueError: it is out of range.
    """
    if not _RATES[0] <= fps <= _RATES[1]:
        raise ValueError(f"fps={fps}: give {_RATES[0]} to {_RATES[1]} frames a second")


def _write_webp(path: Path, frames: Sequence[Image.Image], fps: Number) -> None:
    _Rolling(frames).save(path, "WEBP", save_all=True, duration=1000 / fps, loop=0, quality=85)


def _write_mp4(path: Path, frames: Sequence[Image.Image], fps: Number) -> None:
    require_video()
    import imageio.v2 as imageio

    height, width = frames[0].height // 2 * 2, frames[0].width // 2 * 2  # the codec takes even sizes only
    writer: Any  # its stubs know the base class only
    with imageio.get_writer(path, fps=fps, quality=9, macro_block_size=2, output_params=_X264) as writer:
        for frame in frames:
            writer.append_data(np.asarray(frame.crop((0, 0, width, height))))


def write_film(path: Path, frames: Sequence[Image.Image], fps: Number = 20) -> None:
    """Write an endless GIF, an endless WebP, or an MP4 (H.264; ``video`` extra), whole or not at all.

    A GIF has one common palette, dithered only where 256 colors are not enough, and counts time in hundredths of a
    second, two at least; a WebP in thousandths.

    Args:
        path: ends in .gif, .webp or .mp4.
        frames: RGB pictures of one size; asked for one by one, in order, more than once for a GIF.
        fps: frames a second.

    Raises:
        ValueError: there are no frames, or too large ones, the rate is out of range, the kind is another, or the extra
            is not installed.
    """
    if not len(frames):
        raise ValueError(f"{path}: a film of no frames was given; it needs at least one")
    check_rate(fps)
    check(path, frames[0].size)
    kind = path.suffix[1:]
    with replacing(path) as beside:
        if kind == "gif":
            write_gif(beside, frames, max(20, round(100 / fps) * 10))
        elif kind == "webp":
            _write_webp(beside, frames, fps)
        else:
            _write_mp4(beside, frames, fps)
