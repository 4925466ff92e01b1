"""What the metrics along directions share: the directions, moved latents, a first look, and what they refuse."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.latent import Blocks, Latent
from orthogen.core.maps import LatentMap
from orthogen.core.shapes import Float

__all__ = [
    "PAST_NORM",
    "check_span",
    "directions_of",
    "held_columns",
    "latents",
    "points_along",
    "points_by_block",
    "refuse_not_finite",
    "refuse_seeing_each_other",
    "replaced",
    "try_out",
    "unit",
]

Span = tuple[float, float]
Held = Mapping[str, float]  # blocks of a latent that no direction moves, with a factor on their own draws
NOTHING: Held = MappingProxyType({})
# what a protocol says of where latents move; nothing where that is in front of all of the network, as usual
PAST_NORM: Mapping[bool, Mapping[str, str]] = {False: {}, True: {"norm of latents": "left out, and had before"}}


# ---------------------------------------------------------------------------------------------- directions
def directions_of(who: str, generator: Generator, directions: Directions | None, held: Held = NOTHING) -> Directions:
    """The directions to measure along: those given, or the latent's own coordinates but those of blocks that are held.

    Raises:
        ValueError: they are of another width than the latent, there is none, one has no length, or the latent has no
            such block.
    """
    dim = generator.latent.dim
    if directions is None:
        return _moving(generator.latent, held) if held else Directions.coordinates(dim)
    if directions.basis.shape[1] != dim:
        raise ValueError(
            f"{who}: the directions are {directions.basis.shape[1]} wide, the latent is {dim} wide; "
            "fit directions on this generator"
        )
    if not len(directions):
        raise ValueError(f"{who} was given no directions; give at least one, or None for the latent's coordinates")
    length = directions.basis.norm(dim=1)
    bad = (~(length.isfinite() & (length > 0))).nonzero()
    if len(bad):
        raise ValueError(f"{who}: direction {directions.names[int(bad[0])]!r} is zero or not finite; leave it out")
    return directions


def held_columns(latent: Latent, held: Held) -> dict[str, slice]:
    """The columns of the blocks that do not move.

    Raises:
        ValueError: the latent has no such block.
    """
    slices = latent.slices if isinstance(latent, Blocks) else {}
    if unknown := [name for name in held if name not in slices]:
        raise ValueError(
            f"held names the block {unknown[0]!r}, and the latent has "
            f"{'only ' + ', '.join(slices) if slices else 'no blocks'}; name one of its blocks, or none"
        )
    return {name: slices[name] for name in held}


def _moving(latent: Latent, held: Held) -> Directions:
    """The coordinates of the blocks that are not held, as ``block, dim i``.

    Example:
        >>> from orthogen.core.latent import Normal
        >>> _moving(Blocks(a=Normal(1), b=Normal(2)), {"a": 1.0}).names
        ('b, dim 0', 'b, dim 1')
    """
    still = held_columns(latent, held)
    assert isinstance(latent, Blocks)  # or nothing could be held
    rows = {
        f"{name}, dim {i}": columns.start + i
        for name, columns in latent.slices.items()
        if name not in still
        for i in range(columns.stop - columns.start)
    }
    return Directions(torch.eye(latent.dim)[list(rows.values())], names=tuple(rows))


def unit(directions: Directions) -> Directions:
    """The same directions at length 1, so that a move along them is in units of the latent.

    Example:
        >>> unit(Directions(torch.tensor([[3.0, 4.0]]))).basis
        tensor([[0.6000, 0.8000]])
    """
    return replace(directions, basis=directions.basis / directions.basis.norm(dim=1, keepdim=True))


# ---------------------------------------------------------------------------------------------- latents
def latents(
    generator: Generator,
    n: int,
    rng: torch.Generator | None,
    latent: Latent | None = None,
    held: Held = NOTHING,
) -> Float[Tensor, "{n} dim"]:
    """Fresh latents (of another distribution than the generator's own, where one is given) that the generator takes.

    Blocks that are held come from their own distribution, times their factor.
    """
    z = (generator.latent if latent is None else latent).sample(n, rng=rng)
    for name, columns in held_columns(generator.latent, held).items():
        own = z if latent is None else generator.latent.sample(n, rng=rng)
        z[:, columns] = held[name] * own[:, columns]
    return z.to(generator.device, torch.promote_types(z.dtype, generator.dtype))


def replaced(z: Float[Tensor, "n dim"], direction: Float[Tensor, "dim"], to: float) -> Float[Tensor, "n dim"]:
    """``z`` with its component along ``direction`` replaced by ``to`` (for an axis: that coordinate set to ``to``).

    Example:
        >>> replaced(torch.tensor([[5.0, 7.0]]), torch.tensor([0.0, 1.0]), -2.0)
        tensor([[ 5., -2.]])
    """
    along = (z @ direction) / direction.square().sum()
    return z + (to - along)[:, None] * direction


# ---------------------------------------------------------------------------------------------- points on the way
def check_span(who: str, span: Span | None) -> None:
    """Refuse a span that goes nowhere.

    Raises:
        ValueError: its lowest value is not below its highest, or one is not finite.
    """
    if span is not None and not (span[0] < span[1] and all(map(math.isfinite, span))):
        raise ValueError(f"{who}(span={span}): give the lowest value, then a higher one, or None for the latent's own")


def _half_widths(latent: Latent) -> Float[Tensor, "dim"]:
    """Half of the span of each coordinate."""
    if type(latent) is Blocks:
        return torch.cat([_half_widths(part) for part in latent.parts.values()])
    low, high = latent.span
    return torch.full((latent.dim,), (high - low) / 2, dtype=torch.float64)


def points_along(
    latent: Latent, basis: Float[Tensor, "k dim"], span: Span | None, steps: int
) -> Float[Tensor, "k {steps}"]:
    """``steps`` equidistant values along each direction.

    They cover ``span``, or as much as the latent's own, around the middle of the latent: the same way for a direction
    and its opposite. The blocks of a latent have a span each: a direction across several covers the mean of
    theirs, weighted by its squared components.

    Example:
        >>> from orthogen.core.latent import Normal, Uniform
        >>> latent = Blocks(a=Normal(1), b=Uniform(1))
        >>> points_along(latent, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), None, 2).tolist()
        [[-2.0, 2.0], [-1.0, 1.0], [-1.5, 1.5]]
        >>> points_along(Uniform(2, 0.0, 1.0), -torch.eye(2), None, 2).tolist()
        [[-1.0, 0.0], [-1.0, 0.0]]
    """
    basis, way = basis.cpu().double(), torch.linspace(-1, 1, steps, dtype=torch.float64)
    if span is not None:
        low, high = span
        return ((low + high) / 2 + way * ((high - low) / 2)).expand(len(basis), steps)
    squares = basis.square()
    lengths = squares.sum(dim=1)
    middle, half = (basis @ latent.center().double()) / lengths, (squares @ _half_widths(latent)) / lengths
    return middle[:, None] + half[:, None] * way


def points_by_block(latent: Latent, span: Span | None, steps: int) -> list[float] | dict[str, Any]:
    """The same for single coordinates, as protocols tell them: a list, or one by block; of styles around their mean.

    Example:
        >>> from orthogen.core.latent import Normal, Uniform
        >>> points_by_block(Blocks(a=Normal(5), b=Uniform(2)), None, 3)
        {'a': [-2.0, 0.0, 2.0], 'b': [-1.0, 0.0, 1.0]}
    """
    if span is None and type(latent) is Blocks:
        return {name: points_by_block(part, None, steps) for name, part in latent.parts.items()}
    low, high = latent.span if span is None else span
    return torch.linspace(low, high, steps, dtype=torch.float64).tolist()


# ---------------------------------------------------------------------------------------------- refusals
def try_out(who: str, generator: Generator, f: LatentMap, z: Float[Tensor, "n dim"]) -> torch.Size:
    """The shape of what ``f`` gives for one latent; a generator that cannot be called so is refused in a line.

    Raises:
        ValueError: it takes conditions.
        TypeError: it computes in less than float32.
    """
    try:
        return f(z[:2])[0].shape[1:]
    except TypeError as error:
        if not re.search(r"missing \d+ required .*argument", str(error)):
            raise
        raise ValueError(
            f"{who}: the generator takes more than a latent ({error}); fix the rest, as in "
            "orthogen.adapt(module, latent, call=lambda m, z: m(z, torch.full((len(z),), 3))) for class 3"
        ) from None
    except RuntimeError:
        narrow = [p.dtype for p in generator.module.parameters() if p.dtype in (torch.float16, torch.bfloat16)]
        if not narrow:
            raise
        raise TypeError(
            f"{who}: the generator is in {narrow[0]} and latents are in {z.dtype}; small differences of images need "
            "float32, call generator.module.float() first"
        ) from None


def refuse_seeing_each_other(who: str, f: LatentMap, z: Float[Tensor, "n dim"]) -> None:
    """Refuse a generator in which the derivative of one sample is not its own.

    Raises:
        ValueError: its samples see each other, or draw alike, or are not finite.
    """
    if not f.separable(z):
        for part in z.split(32):  # images that are not finite differ from themselves
            for activation in f(part):
                refuse_not_finite(who, activation)
        raise ValueError(
            f"{who} takes one sample at a time, and this generator's samples see each other (batch statistics) or draw "
            "alike (noise) even in evaluation mode; give it running statistics, or fix the noise"
        )


def refuse_not_finite(who: str, values: Tensor) -> None:
    """Refuse what was measured on images that are not finite.

    Raises:
        ValueError: the values are not.
    """
    if not values.isfinite().all():
        raise ValueError(f"{who}: the generator's images are not finite at some latents; use an earlier checkpoint")
