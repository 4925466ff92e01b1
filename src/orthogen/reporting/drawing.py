"""Drawing traversals: what a generator gives while its latent moves along one direction at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.images import to_uint8
from orthogen.core.shapes import Float, UInt8
from orthogen.core.untouched import evaluating
from orthogen.reporting.paths import Number, check_mode, linear, moved

__all__ = ["basis_of", "reach", "traversal"]


def basis_of(generator: Generator, directions: Directions | str | Path | None) -> Directions:
    """The directions themselves, those of a file, or the latent's own coordinates for None.

    Raises:
        ValueError: they are of another width than the generator's latent.
    """
    if directions is None:
        return Directions.coordinates(generator.latent.dim)
    found = directions if isinstance(directions, Directions) else Directions.load(directions)
    if found.basis.shape[1] != generator.latent.dim:
        raise ValueError(
            f"the directions are {found.basis.shape[1]} wide, the generator's latent {generator.latent.dim}; "
            "give directions that were found in this generator"
        )
    return found


def reach(generator: Generator, extent: Number | Sequence[Number] | None) -> tuple[float, float]:
    """Both ends of a traversal: (low, high) as given, -e to e for one number, the latent's span for None.

    Raises:
        ValueError: the lower end is not below the upper one.
    """
    if extent is None:
        return generator.latent.span
    ends = (-extent, extent) if isinstance(extent, int | float) else tuple(extent)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"extent={extent}: give one positive number, or two with the first below the second")
    return float(ends[0]), float(ends[1])


@torch.no_grad()
def traversal(
    generator: Generator,
    directions: Directions | str | Path | None = None,
    *,
    z: Float[Tensor, "samples dim"] | None = None,
    n: int = 3,
    steps: int = 9,
    extent: Number | Sequence[Number] | None = None,
    values: Float[Tensor, "steps"] | None = None,
    mode: str = "replace",
    rng: torch.Generator | None = None,
    max_batch: int = 64,
    conditions: Mapping[str, Tensor] | None = None,
) -> UInt8[Tensor, "directions samples steps c h w"]:
    """Pictures along directions, drawn at most ``max_batch`` at a time and kept as uint8 on the CPU.

    The generator draws in evaluation mode and is left as it was.

    Args:
        generator: what draws.
        directions: what to move along, or their file; the latent's own coordinates for None.
        z: base latents; ``n`` fresh ones for None.
        n: how many base latents to draw.
        steps: how many equidistant values.
        extent: the ends, in units of the latent: (low, high), or one number for both sides; the latent's span for None.
        values: the very values to visit, in place of ``steps`` and ``extent``.
        mode: ``replace`` the coordinate along a direction, or ``add`` to it.
        rng: where fresh latents come from.
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
    if z is None:
        if n < 1:
            raise ValueError(f"n={n}: a traversal starts from at least one latent")
        z = generator.latent.sample(n, rng=rng)
    z = z.to(generator.device)
    q = basis_of(generator, directions).basis.to(z)
    a = (linear(*reach(generator, extent), steps) if values is None else values).to(z)
    check_mode(q, mode)
    shape = (len(q), len(z), len(a))
    drawn = []
    with evaluating(generator.module):
        for part in torch.arange(len(q) * len(z) * len(a), device=z.device).split(max_batch):
            d, sample, step = torch.unravel_index(part, shape)
            rows = {name: value[sample.to(value.device)] for name, value in (conditions or {}).items()}
            images = generator(moved(z[sample], q[d], a[step], mode), **rows)
            if images.ndim != 4 or images.shape[1] not in (1, 3):
                raise ValueError(
                    f"the generator gives {tuple(images.shape)}; images are (batch, channels, height, width), "
                    "gray or RGB"
                )
            drawn.append(to_uint8(images).cpu())
    return torch.cat(drawn).unflatten(0, shape)
