"""What the members share: latents, columns and weights of a generator, axes of a Gram matrix, and where directions came
from.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from orthogen.core import record
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery
from orthogen.core.latent import Blocks, Latent
from orthogen.core.shapes import Float

__all__ = ["checked_count", "columns_of", "found", "frozen", "gram", "initialized", "latents", "principal_axes"]


def latents(generator: Generator, n: int, rng: torch.Generator | None) -> Float[Tensor, "n dim"]:
    """Fresh latents on the generator's device, in its precision but in float32 at least."""
    z = generator.latent.sample(n, rng=rng, device=generator.device)
    return z.to(torch.promote_types(z.dtype, generator.dtype))


_COLUMNS, _ROWS = 1 << 16, 128  # of a product in double precision at a time

M = TypeVar("M", bound=nn.Module | None)


def initialized(make: Callable[[], M], rng: torch.Generator) -> M:
    """What ``make`` makes, its first weights drawn with ``rng`` and not from torch's global generator."""
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def checked_count(method: Discovery, count: int | None, most: int) -> int:
    """How many directions to give: all there are if None.

    Raises:
        ValueError: more are asked for than there are, or none.
    """
    if count is None:
        return most
    if not 1 <= count <= most:
        raise ValueError(f"{type(method).__name__}(count={count}): this generator has 1 to {most} directions to give")
    return count


def columns_of(method: Discovery, latent: Latent, space: str | tuple[int, int] | None) -> tuple[int, int]:
    """First column of a searched space, and the one after its last.

    Raises:
        ValueError: the latent has no block of that name, or no such columns.
    """
    name = type(method).__name__
    if space is None:
        return (0, latent.dim)
    if isinstance(space, str):
        blocks = latent.slices if isinstance(latent, Blocks) else {}
        if space not in blocks:
            known = f"its blocks are {', '.join(blocks)}" if blocks else f"give columns, such as (0, {latent.dim // 2})"
            raise ValueError(f"{name}(search_space={space!r}): the latent has no such block; {known}")
        return (blocks[space].start, blocks[space].stop)
    start, stop = space
    if not 0 <= start < stop <= latent.dim:
        raise ValueError(f"{name}(search_space={space}): give columns (start, stop) of the latent's {latent.dim}")
    return (start, stop)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's parameters inside the block: passes then keep less in memory."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def gram(rows: Float[Tensor, "d n"]) -> Float[Tensor, "d d"]:
    """``rows @ rows.T`` in double precision, a part of the columns at a time, and of the result one triangle only.

    Example:
        >>> gram(torch.tensor([[1.0, 2.0], [0.0, 1.0]])).tolist()
        [[5.0, 2.0], [2.0, 1.0]]
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for columns in rows.split(_COLUMNS, dim=1):
        part = columns.double()
        for start in range(0, len(part), _ROWS):
            total[start : start + _ROWS, start:] += part[start : start + _ROWS] @ part[start:].mT
    return total.triu() + total.triu(1).mT


def principal_axes(matrix: Float[Tensor, "d d"], count: int) -> tuple[Float[Tensor, "count d"], Float[Tensor, "count"]]:
    """Eigenvectors as rows and eigenvalues, largest first. An eigenvector's largest entry is positive.

    Example:
        >>> axes, values = principal_axes(torch.tensor([[1.0, 0.0], [0.0, 4.0]]), 1)
        >>> axes.tolist(), values.tolist()
        ([[0.0, 1.0]], [4.0])
    """
    values, vectors = torch.linalg.eigh(matrix)
    axes, values = vectors.mT.flip(0)[:count], values.flip(0)[:count].clamp_min(0.0)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return axes * largest.sign(), values


def found(
    method: Discovery,
    generator: Generator,
    basis: Float[Tensor, "n dim"],
    *,
    space: str | None = None,
    strength: Float[Tensor, "n"] | None = None,
    **more: Any,
) -> Directions:
    """The directions with what there is to know of them: the method, its settings, a hash of the generator's weights.

    Args:
        method: which found them.
        generator: in which.
        basis: the rows, on the CPU.
        space: see `Directions`; the latent's own if None. Those of another space have no deviation here.
        strength: see `Directions`.
        more: for the provenance, ready for JSON.
    """
    origin = {"method": type(method).__name__, "settings": record.to_json(method), "generator": generator.digest}
    deviation = None
    if space is None:
        squares = basis.square().sum(dim=1)
        deviation = torch.where(squares > 0, generator.latent.spread(basis) / squares.clamp_min(1e-30), 0.0)
    where = generator.latent.space if space is None else space
    return Directions(basis, where, strength, provenance={**origin, **more}, deviation=deviation)
