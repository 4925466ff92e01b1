"""Traversals as files: strips and a contact sheet to look at, films of rows of directions."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from torch import Tensor

from orthogen.checkpoints import home_of, load
from orthogen.core.directions import Directions
from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.rng import generator as seeded
from orthogen.reporting import animation, montage
from orthogen.reporting._moves import Moves, basis_of
from orthogen.reporting._reel import Reel
from orthogen.reporting.contact import contact_sheet
from orthogen.reporting.drawing import drawn, drawn_frames, path_values
from orthogen.reporting.paths import Number, linear

__all__ = ["traverse"]

_RATE: Mapping[str, tuple[int, Number]] = {
    "smooth_center": (180, 60)
}  # frames and frames a second of the released films
_USUAL: tuple[int, Number] = (48, 20)
_FILM = 128  # px of a picture in a film, at most
_CONTACT, _THUMB = 5, 64  # pictures of a strip on the contact sheet, and px of one at most


def _named(directions: Directions | str | Path | None, basis: Directions) -> str:
    if isinstance(directions, str | Path):
        return Path(directions).stem
    return _plain(str(basis.provenance.get("method", "")).lower()) or "directions"


def _plain(name: str) -> str:
    """A name without what a file's name cannot have, or should not."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".")


def _part(name: str) -> str:
    """A direction's name as part of a file's name."""
    return f"Q{int(name):03d}" if name.isdecimal() else _plain(name)[:24]


def _pages(name: str, moves: Moves, size: int) -> list[tuple[str, Moves]]:
    """Up to ``size`` directions each, with the names of their files: number, first and last direction, as released."""
    if len(moves.q) <= size:
        return [(name, moves)]
    parts = [moves.rows(start, start + size) for start in range(0, len(moves.q), size)]
    return [(f"{name}_{i:03d}_{_part(part.names[0])}-{_part(part.names[-1])}", part) for i, part in enumerate(parts)]


def _still(generator: Generator, moves: Moves, steps: int, max_batch: int) -> bytes:
    """The strips of one page as a PNG: a block per direction, a line per base latent."""
    values = linear(moves.low, moves.high, steps)
    images = drawn(generator, moves, values, max_batch, montage.fit)
    heads = [moves.head(value) for value in values.tolist()]
    mark = steps // 2 if steps % 2 else None
    return montage.png(montage.sheet(images, moves.names, heads, mark, moves.notes))


def _contact(generator: Generator, moves: Moves, max_batch: int) -> bytes:
    """The contact sheet as a PNG: the first base latent along every direction."""
    values = linear(moves.low, moves.high, _CONTACT)
    images = drawn(generator, moves.of_sample(0), values, max_batch, partial(montage.fit, largest=_THUMB))
    note = f"from {moves.head(moves.low)} to {moves.head(moves.high)} along each direction"
    return montage.png(contact_sheet(images[:, 0], moves.names, note))


def _frame(images: Tensor, moves: Moves, transpose: bool) -> Image.Image:
    """One frame of a film: a row per direction and a column per base latent, or the other way round."""
    if not transpose:
        return montage.sheet(images[:, None], moves.names, moves.notes)
    latents = moves.notes or [str(i) for i in range(len(moves.z))]
    return montage.sheet(images.transpose(0, 1)[:, None], latents, moves.names)


def _films(
    generator: Generator,
    moves: Moves,
    files: Sequence[Path],
    values: Tensor,
    fps: Number,
    max_batch: int,
    what: str,
    transpose: bool,
) -> None:
    """Films of one page, all from one drawing of its frames."""
    visited, order = values.unique(return_inverse=True)
    shrink = partial(montage.fit, largest=_FILM)
    with Reel(files[0].parent, order.tolist()) as reel:
        for frame in drawn_frames(generator, moves, visited, max_batch, shrink, what):
            picture = _frame(frame, moves, transpose)
            for file in files:
                animation.check(file, picture.size)  # before more of them are drawn
            reel.append(picture)
        for file in files:
            animation.write_film(file, reel, fps)


def traverse(
    generator: Generator | str | Path,
    directions: Directions | str | Path | None = None,
    *,
    only: Sequence[int | str] = (),
    to: str | Path | None = None,
    rows: int | None = 12,
    per_file: int = 12,
    samples: int = 3,
    steps: int = 9,
    extent: Number | Sequence[Number] | None = None,
    mode: str | None = None,
    fix_class: int | None = None,
    seed: int = 0,
    grid: bool = True,
    contact: bool | None = None,
    gif: bool = True,
    webp: bool = False,
    mp4: bool = False,
    path: str = "pingpong",
    frames: int | None = None,
    fps: Number | None = None,
    transpose: bool = False,
    past_norm: bool = False,
    max_batch: int = 32,
    conditions: Mapping[str, Tensor] | None = None,
) -> list[Path]:
    """Write traversals as pictures: strips and a contact sheet (PNG), and films (GIF, WebP, MP4).

    The strips have a block of rows per direction, a row per base latent and a column per value; the column of the
    middle value is marked. In the films all directions of a file move together, a row each, with a column per base
    latent. The contact sheet has a short strip of every direction there is, under its name.

    Frames are drawn once, whatever films are made of them, and wait in a temporary file in the folder: memory holds one
    at a time.

    Args:
        generator: what draws, or the path of a run or checkpoint.
        directions: what to move along, or their file; the latent's own coordinates for None.
        only: which of them, by number or name, in this order; empty for the first ``rows``.
        to: the folder to write to; for None ``traversals`` in the run's folder, beside the file, or here.
        rows: how many directions, the first ones; None for all. Not in force where ``only`` says which.
        per_file: how many directions a file shows; more are split over files that carry their numbers.
        samples: how many base latents. One ``seed`` gives the same ones to every generator of the same latent.
        steps: columns of the strips.
        extent: the ends, in units of the latent (of a direction's length, where that is not 1): (low, high), or one
            number for both sides. None goes two standard deviations to either side along directions whose deviation is
            known, and over the latent's span along others.
        mode: ``replace`` the coordinate along a direction, or ``add`` to it; None is right for the latent, see
            `orthogen.reporting.drawing.traversal`.
        fix_class: one class for all, of a generator with class labels; for None each base latent has one of its own,
            drawn with ``seed`` and named in the picture.
        seed: of the base latents and classes.
        grid: write the strips.
        contact: write the contact sheet; None does where not all directions are drawn.
        gif: write a GIF.
        webp: write an animated WebP: smaller than a GIF, and in true color.
        mp4: write an MP4 (needs the ``video`` extra).
        path: how the values of a film go: ``pingpong``, there and back with ease; ``linear``, from end to end;
            ``smooth_center``, as in the released tools of the Hessian Penalty and OroJaR.
        frames: length of a film; even for ``pingpong``, a multiple of 4 for ``smooth_center``. None is 48, or 180 for
            ``smooth_center``.
        fps: frames a second, 0.01 to 1000; None is 20, or 60 for ``smooth_center``.
        transpose: a row per base latent and a column per direction in the films, as in those of OroJaR's simple GAN.
        past_norm: move latents behind the network's own norm of them, as the released tool does with ProGAN; in front
            of it is its ``--interpolate_pre_norm``. See `orthogen.Generator.past_norm`.
        max_batch: images per pass of the generator.
        conditions: what the generator is called with besides, one row per base latent.

    Returns:
        The files written.

    Raises:
        ValueError: something above cannot be; the text says what.
        FileNotFoundError: there is no such run or file.
    """
    if mp4:
        animation.require_video()
    for what, count in (("rows", rows), ("per_file", per_file)):
        if count is not None and count < 1:
            raise ValueError(f"{what}={count}: give how many directions to draw, at least 1")
    length, rate = _RATE.get(path, _USUAL)
    rate = rate if fps is None else fps
    animation.check_rate(rate)
    folder = Path("traversals" if to is None else to)
    if isinstance(generator, str | Path):
        if to is None:
            folder = home_of(generator) / "traversals"
        generator = load(generator)
    generator = generator if fix_class is None else generator.of_class(fix_class)
    generator = generator.past_norm() if past_norm else generator
    found = basis_of(generator, directions)
    found.warn_if_of_another(generator)
    chosen = found.take(only) if only else found
    every = Moves.of(
        generator,
        chosen,
        n=samples,
        extent=extent,
        mode=mode,
        rng=seeded(seed, "traversal"),
        conditions=conditions,
    )
    shown = len(chosen) if only or rows is None else min(rows, len(chosen))
    values = path_values(path, every.low, every.high, length if frames is None else frames)
    kinds = [kind for kind, wanted in zip(animation.KINDS, (gif, webp, mp4), strict=True) if wanted]
    name, written = _named(directions, found), []
    if shown < len(chosen) if contact is None else contact:
        written.append(folder / f"{name}_contact.png")
        write_atomically(written[-1], _contact(generator, every, max_batch))
    pages = _pages(name, every.rows(0, shown), per_file)
    for i, (stem, moves) in enumerate(pages, start=1):
        if grid:
            written.append(folder / f"{stem}.png")
            write_atomically(written[-1], _still(generator, moves, steps, max_batch))
        if kinds:
            films = [folder / f"{stem}.{kind}" for kind in kinds]
            what = "drawing a film" if len(pages) == 1 else f"drawing film {i} of {len(pages)}"
            _films(generator, moves, films, values, rate, max_batch, what, transpose)
            written.extend(films)
    return written
