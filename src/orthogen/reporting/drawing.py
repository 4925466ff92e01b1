"""Drawing traversals: what a generator gives while its latent moves along one direction at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.images import to_uint8
from orthogen.core.progress import track
from orthogen.core.shapes import Float, UInt8
from orthogen.core.untouched import evaluating, seeded
from orthogen.reporting._moves import Moves, basis_of
from orthogen.reporting.paths import PATHS, Number, linear

__all__ = ["drawn", "drawn_frames", "frames", "path_values", "traversal"]

Shrink = Callable[[Tensor], Tensor]


def path_values(path: str, low: Number, high: Number, count: int) -> Float[Tensor, "count"]:
    """The values that a film visits.

    Raises:
        ValueError: there is no such path, or it has no such number of frames.

    Example:
        >>> path_values("linear", -2, 2, 5).tolist()
        [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    if path not in PATHS:
        raise ValueError(f"path={path!r}: a film can follow {', '.join(PATHS)}")
    return PATHS[path](low, high, count)


@torch.no_grad()
def _batches(
    generator: Generator, moves: Moves, order: Iterable[tuple[Tensor, Tensor, Tensor]], shrink: Shrink | None
) -> Iterator[UInt8[Tensor, "batch c h w"]]:
    """Pictures for index after index (direction, sample, value), in evaluation mode, with one noise for all passes."""
    for direction, sample, value in order:
        z, conditions = moves.latents(direction, sample, value)
        with evaluating(generator.module), seeded(randomness.generator("noise"), generator.device):
            images = generator(z, **conditions)
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"the generator gives {tuple(images.shape)}; images are (batch, channels, height, width), gray or RGB"
            )
        levels = to_uint8(images).cpu()
        yield levels if shrink is None else shrink(levels)


def drawn(
    generator: Generator,
    moves: Moves,
    values: Float[Tensor, "steps"],
    max_batch: int = 64,
    shrink: Shrink | None = None,
) -> UInt8[Tensor, "directions samples steps c h w"]:
    """All pictures along the moves; ``shrink`` is applied to each pass, before anything is kept."""
    values = values.to(moves.z)
    shape = (len(moves.q), len(moves.z), len(values))
    parts = torch.arange(shape[0] * shape[1] * shape[2], device=values.device).split(max_batch)

    def order() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for part in track(parts, "drawing strips", len(parts)):
            direction, sample, step = torch.unravel_index(part, shape)
            yield direction, sample, values[step]

    return torch.cat(list(_batches(generator, moves, order(), shrink))).unflatten(0, shape)


def drawn_frames(
    generator: Generator,
    moves: Moves,
    values: Float[Tensor, "frames"],
    max_batch: int = 64,
    shrink: Shrink | None = None,
    what: str = "drawing frames",
) -> Iterator[UInt8[Tensor, "directions samples c h w"]]:
    """Frame after frame, one per value; no more than a pass and a frame are held."""
    values = values.to(moves.z)
    shape = (len(values), len(moves.q), len(moves.z))
    parts = torch.arange(shape[0] * shape[1] * shape[2], device=values.device).split(max_batch)

    def order() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for part in track(parts, what, len(parts)):
            step, direction, sample = torch.unravel_index(part, shape)
            yield direction, sample, values[step]

    held: list[Tensor] = []
    for batch in _batches(generator, moves, order(), shrink):
        held.extend(batch)
        while len(held) >= shape[1] * shape[2]:
            yield torch.stack(held[: shape[1] * shape[2]]).unflatten(0, shape[1:])
            del held[: shape[1] * shape[2]]


def traversal(
    generator: Generator,
    directions: Directions | str | Path | None = None,
    *,
    z: Float[Tensor, "samples dim"] | None = None,
    n: int = 3,
    steps: int = 9,
    extent: Number | Sequence[Number] | None = None,
    values: Float[Tensor, "steps"] | None = None,
    mode: str | None = None,
    rng: torch.Generator | None = None,
    max_batch: int = 64,
    conditions: Mapping[str, Tensor] | None = None,
) -> UInt8[Tensor, "directions samples steps c h w"]:
    """Pictures along directions, drawn at most ``max_batch`` at a time and kept as uint8 on the CPU.

    The generator draws in evaluation mode and is left as it was; noise inside it is drawn alike in every pass. One with
    classes gets one per base latent, drawn with ``rng``; ``generator.of_class(3)`` has that class only.

    Args:
        generator: what draws.
        directions: what to move along, or their file; the latent's own coordinates for None.
        z: base latents; ``n`` fresh ones for None.
        n: how many base latents to draw.
        steps: how many equidistant values.
        extent: the ends, in units of the latent (of a direction's length, where that is not 1): (low, high), or one
            number for both sides. None goes two standard deviations to either side along directions whose deviation is
            known, around the latent's center where the coordinate is replaced; along others over the latent's span.
        values: the very coordinates to visit, in place of ``steps`` and ``extent``.
        mode: ``replace`` the coordinate along a direction, or ``add`` to it. None replaces it in z, and adds in spaces
            behind a mapping network, such as styles w, whose coordinates do not lie around 0.
        rng: where fresh latents and classes come from.
        max_batch: images per pass.
        conditions: what the generator is called with besides, one row per base latent.

    Raises:
        ValueError: the directions do not fit, there is nothing to draw, or what comes out is no image.

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(torch.nn.Unflatten(1, (1, 2, 2)), og.Normal(4))
        >>> traversal(G, n=2, steps=3, extent=1.0).shape
        torch.Size([4, 2, 3, 1, 2, 2])
    """
    found = basis_of(generator, directions)
    ends = extent if values is None else 1.0  # given values are coordinates, as a given extent is
    moves = Moves.of(generator, found, z=z, n=n, extent=ends, mode=mode, rng=rng, conditions=conditions)
    return drawn(generator, moves, linear(moves.low, moves.high, steps) if values is None else values, max_batch)


def frames(
    generator: Generator,
    directions: Directions | str | Path | None = None,
    *,
    path: str = "pingpong",
    count: int = 48,
    z: Float[Tensor, "samples dim"] | None = None,
    n: int = 3,
    extent: Number | Sequence[Number] | None = None,
    mode: str | None = None,
    rng: torch.Generator | None = None,
    max_batch: int = 64,
    conditions: Mapping[str, Tensor] | None = None,
) -> Iterator[UInt8[Tensor, "directions samples c h w"]]:
    """The frames of a film along directions, one by one as they are drawn: none is kept here.

    Args:
        generator: see `traversal` for what is not named here.
        directions: what to move along.
        path: how the values go: ``pingpong``, there and back with ease; ``linear``, from end to end; ``smooth_center``,
            as in the released tools of the Hessian Penalty and OroJaR.
        count: how many frames; even for ``pingpong``, a multiple of 4 for ``smooth_center`` (180 there).
        z: base latents.
        n: how many base latents to draw.
        extent: the ends.
        mode: ``replace`` or ``add``.
        rng: where fresh latents and classes come from.
        max_batch: images per pass.
        conditions: what the generator is called with besides.

    Raises:
        ValueError: as `traversal`, or there is no such path.

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(torch.nn.Unflatten(1, (1, 2, 2)), og.Normal(4))
        >>> [frame.shape for frame in frames(G, n=3, path="linear", count=2)]
        [torch.Size([4, 3, 1, 2, 2]), torch.Size([4, 3, 1, 2, 2])]
    """
    found = basis_of(generator, directions)
    moves = Moves.of(generator, found, z=z, n=n, extent=extent, mode=mode, rng=rng, conditions=conditions)
    return drawn_frames(generator, moves, path_values(path, moves.low, moves.high, count), max_batch)
