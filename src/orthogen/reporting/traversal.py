"""Traversals as files: a still grid, an endless loop, a video."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from orthogen.checkpoints import load
from orthogen.core.directions import Directions
from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.rng import generator as seeded
from orthogen.reporting import animation, montage
from orthogen.reporting.drawing import basis_of, reach, traversal
from orthogen.reporting.paths import Number, linear, there_and_back

__all__ = ["traverse"]


def _named(directions: Directions | str | Path | None, basis: Directions) -> str:
    if isinstance(directions, str | Path):
        return Path(directions).stem
    return str(basis.provenance.get("method", "directions")).lower()


def traverse(
    generator: Generator | str | Path,
    directions: Directions | str | Path | None = None,
    *,
    to: str | Path | None = None,
    rows: int | None = 12,
    samples: int = 3,
    steps: int = 9,
    extent: Number | Sequence[Number] | None = None,
    mode: str = "replace",
    seed: int = 0,
    grid: bool = True,
    gif: bool = True,
    video: bool = False,
    frames: int = 48,
    fps: Number = 20,
    conditions: Mapping[str, Tensor] | None = None,
) -> list[Path]:
    """Write traversals as pictures: a still grid (PNG), an endless loop (GIF) and, on demand, a video (MP4).

    The grid has a block of rows per direction, a row per base latent and a column per value; the column of the middle
    value is marked. In the loop all directions move together, there and back, with a column per base latent.

    Args:
        generator: what draws, or the path of a run or checkpoint.
        directions: what to move along, or their file; the latent's own coordinates for None.
        to: the folder to write to; for None ``traversals`` in the run's folder, beside the file, or here.
        rows: how many directions, the first ones; None for all.
        samples: how many base latents. One ``seed`` gives the same ones to every generator of the same latent.
        steps: columns of the grid.
        extent: the ends, in units of the latent: (low, high), or one number for both sides; the latent's span for None.
        mode: ``replace`` the coordinate along a direction, so that columns are its values, or ``add`` to it.
        seed: of the base latents.
        grid: write the PNG.
        gif: write the GIF.
        video: write the MP4 (needs the ``video`` extra).
        frames: length of the loop; even.
        fps: frames a second.
        conditions: what the generator is called with besides, one row per base latent.

    Returns:
        The files written.

    Raises:
        ValueError: something above cannot be; the text says what.
        FileNotFoundError: there is no such run or file.
    """
    if video:
        animation.require_video()
    folder = Path("traversals" if to is None else to)
    if isinstance(generator, str | Path):
        if to is None:
            source = Path(generator)
            folder = (source if source.is_dir() else source.parent) / "traversals"
        generator = load(generator)
    full = basis_of(generator, directions)
    if rows is not None and rows < 1:
        raise ValueError(f"rows={rows}: give how many directions to draw, at least 1")
    few = Directions(full.basis[:rows], full.space, names=tuple(full.names)[:rows])
    low, high = reach(generator, extent)
    z = generator.latent.sample(samples, rng=seeded(seed, "traversal"))
    pictures: dict[str, bytes] = {}
    if grid:
        values = linear(low, high, steps)
        images = montage.fit(traversal(generator, few, z=z, values=values, mode=mode, conditions=conditions))
        heads = [montage.signed(value) for value in values.tolist()]
        page = montage.sheet(images, few.names, heads, mark=steps // 2 if steps % 2 else None)
        pictures["png"] = montage.png(page)
    if gif or video:
        path, order = there_and_back(low, high, frames).unique(return_inverse=True)
        every = []
        for value in path.split(1):  # one frame at a time: only finished, reduced frames stay in memory
            images = traversal(generator, few, z=z, values=value, mode=mode, conditions=conditions)
            every.append(montage.sheet(montage.fit(images, largest=128).transpose(1, 2), few.names))
        loop = [every[i] for i in order.tolist()]
        if gif:
            pictures["gif"] = animation.gif(loop, fps)
        if video:
            pictures["mp4"] = animation.mp4(loop, fps)
    written = [folder / f"{_named(directions, full)}.{suffix}" for suffix in pictures]
    for file, content in zip(written, pictures.values(), strict=True):
        write_atomically(file, content)
    return written
