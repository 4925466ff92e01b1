"""Latent spaces: where a generator's input comes from.

A latent is always one tensor ``(batch, dim)``. Structured latents are named slices of it (`Blocks`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.rng import generator, private
from orthogen.core.shapes import Float

__all__ = ["Blocks", "Latent", "Normal", "Sphere", "TruncatedNormal", "Uniform"]


class Latent(ABC):
    """A distribution over tensors ``(batch, dim)``.

    Attributes:
        dim: the width.
        space: the name of the space that it is in; directions found in one mean nothing in another.
    """

    dim: int

    @property
    def space(self) -> str:
        """``"z"``, unless it is behind a mapping network."""
        return "z"

    @abstractmethod
    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` float32 samples on the generator's device."""

    @property
    @abstractmethod
    def span(self) -> tuple[float, float]:
        """The range a traversal of one coordinate covers by default."""

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """The standard deviation of z . q for each row q; estimated from 10,000 samples where no formula is known."""
        z = self.draw(_SPREAD, generator(0, "spread"))
        return (z.to(rows) @ rows.mT).std(dim=0)

    def center(self) -> Float[Tensor, "dim"]:
        """What ways through the space go around: the middle of the span, which is the mean of the latents below."""
        return torch.full((self.dim,), sum(self.span) / 2)

    def sample(
        self, n: int, *, rng: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "n dim"]:
        """``n`` float32 samples, drawn with ``rng`` (the process's private generator if None) and moved to ``device``.

        Samples are drawn on the generator's device, so that one seed gives one sequence on every machine.
        """
        return self.draw(n, private() if rng is None else rng).to(device)


_SPREAD = 10_000


def _positive(name: str, dim: int) -> None:
    if dim < 1:
        raise ValueError(f"{name}(dim={dim}): a latent has at least one dimension")


@dataclass(frozen=True)
class Normal(Latent):
    """Standard normal latents, z ~ N(0, I).

    Example:
        >>> Normal(3).sample(2, rng=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """

    dim: int = 128

    def __post_init__(self) -> None:
        _positive("Normal", self.dim)

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` standard normal samples."""
        return torch.randn(n, self.dim, generator=rng, device=rng.device)

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """|q|."""
        return rows.norm(dim=1)

    @property
    def span(self) -> tuple[float, float]:
        """Two standard deviations to either side."""
        return (-2.0, 2.0)


@dataclass(frozen=True)
class TruncatedNormal(Latent):
    """Standard normal latents under the condition that no component is beyond a bound.

        z_i = Φ^-1(u_i),   u_i ~ U(Φ(-bound), Φ(bound)),   Φ = the normal distribution function

    Drawing again whatever falls outside, as the paper says it, gives the same distribution.

    Attributes:
        dim: how many components.
        bound: largest absolute value.

    Raises:
        ValueError: there is no dimension, or the bound is not positive.

    Reference:
        A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        ICLR 2019, section 3.1.

    Example:
        >>> z = TruncatedNormal(3, bound=0.5).sample(100, rng=torch.Generator().manual_seed(0))
        >>> bool((z.abs() <= 0.5).all()), bool(z.abs().max() > 0.45)
        (True, True)
    """

    dim: int = 120
    bound: float = 2.0

    def __post_init__(self) -> None:
        if self.dim < 1 or not self.bound > 0:
            raise ValueError(f"{self}: give at least one dimension and a positive bound")

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` truncated normal samples."""
        tail = 0.5 * math.erfc(self.bound / math.sqrt(2))
        u = torch.rand(n, self.dim, generator=rng, device=rng.device, dtype=torch.float64)
        z = torch.special.ndtri(tail + (1 - 2 * tail) * u)
        return z.clamp(-self.bound, self.bound).float()

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """|q| times the standard deviation of a component, sqrt(1 - 2 b φ(b) / (2 Φ(b) - 1))."""
        bound = min(self.bound, 100.0)  # where the normal ends, as far as double precision sees
        density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
        inside = math.erf(bound / math.sqrt(2))
        return rows.norm(dim=1) * math.sqrt(max(0.0, 1 - 2 * bound * density / inside))

    @property
    def span(self) -> tuple[float, float]:
        """Two standard deviations of the normal to either side, or to the bounds."""
        reach = min(2.0, self.bound)
        return (-reach, reach)


@dataclass(frozen=True)
class Uniform(Latent):
    """Uniform latents, z ~ U[low, high]^dim.

    Example:
        >>> z = Uniform(3, low=-2.0, high=2.0).sample(100, rng=torch.Generator().manual_seed(0))
        >>> bool((z.abs() <= 2).all())
        True
    """

    dim: int = 128
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _positive("Uniform", self.dim)
        if not self.low < self.high:
            raise ValueError(f"Uniform(low={self.low}, high={self.high}): low must be below high")

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` uniform samples."""
        return torch.empty(n, self.dim, device=rng.device).uniform_(self.low, self.high, generator=rng)

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """|q| (high - low) / sqrt(12)."""
        return rows.norm(dim=1) * ((self.high - self.low) / math.sqrt(12))

    @property
    def span(self) -> tuple[float, float]:
        """The whole support."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Sphere(Latent):
    """Latents uniform on a sphere, z = r g / |g| with g ~ N(0, I) and r = ``radius`` (sqrt(dim) if None).

    Example:
        >>> Sphere(16).sample(2, rng=torch.Generator().manual_seed(0)).norm(dim=1)
        tensor([4.0000, 4.0000])
    """

    dim: int = 128
    radius: float | None = None

    def __post_init__(self) -> None:
        _positive("Sphere", self.dim)
        if self.radius is not None and not self.radius > 0:
            raise ValueError(f"Sphere(radius={self.radius}): the radius must be positive, or None for sqrt(dim)")

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` samples of norm ``radius``."""
        g = torch.randn(n, self.dim, generator=rng, device=rng.device)
        radius = math.sqrt(self.dim) if self.radius is None else self.radius
        return g * (radius / g.norm(dim=1, keepdim=True))

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """|q| r / sqrt(dim)."""
        radius = math.sqrt(self.dim) if self.radius is None else self.radius
        return rows.norm(dim=1) * (radius / math.sqrt(self.dim))

    @property
    def span(self) -> tuple[float, float]:
        """Two standard deviations of one coordinate to either side."""
        radius = math.sqrt(self.dim) if self.radius is None else self.radius
        return (-2.0 * radius / math.sqrt(self.dim), 2.0 * radius / math.sqrt(self.dim))


@dataclass(frozen=True, init=False)
class Blocks(Latent):
    """Named blocks side by side in one latent tensor, each with a distribution of its own.

    Example:
        >>> latent = Blocks(epsilon=Normal(4), z=Uniform(2))
        >>> latent.dim, latent.slices["z"]
        (6, slice(4, 6, None))
        >>> {name: tuple(part.shape) for name, part in latent.split(torch.zeros(5, 6)).items()}
        {'epsilon': (5, 4), 'z': (5, 2)}
    """

    parts: Mapping[str, Latent]

    def __init__(self, parts: Mapping[str, Latent] | None = None, /, **named: Latent) -> None:
        blocks = {**(parts or {}), **named}
        if not blocks:
            raise ValueError("Blocks(): give at least one block, such as Blocks(z=Normal(8))")
        object.__setattr__(self, "parts", blocks)

    @property
    def dim(self) -> int:  # type: ignore[override]
        """Sum of the blocks' widths."""
        return sum(part.dim for part in self.parts.values())

    @property
    def slices(self) -> dict[str, slice]:
        """The columns of each block."""
        edges, start = {}, 0
        for name, part in self.parts.items():
            edges[name] = slice(start, start + part.dim)
            start += part.dim
        return edges

    def split(self, z: Float[Tensor, "batch dim"]) -> dict[str, Tensor]:
        """The blocks of ``z`` by name, as views."""
        if z.shape[-1] != self.dim:
            raise ValueError(f"Blocks.split: the latent is {z.shape[-1]} wide, the blocks need {self.dim}")
        return {name: z[..., columns] for name, columns in self.slices.items()}

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` samples, block after block from the same generator."""
        return torch.cat([part.draw(n, rng) for part in self.parts.values()], dim=1)

    def center(self) -> Float[Tensor, "dim"]:
        """The blocks' own, side by side."""
        return torch.cat([part.center() for part in self.parts.values()])

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """The root of the sum of the blocks' variances: blocks are independent."""
        parts = [self.parts[name].spread(rows[:, columns]).square() for name, columns in self.slices.items()]
        return torch.stack(parts).sum(dim=0).sqrt()

    @property
    def span(self) -> tuple[float, float]:
        """The widest range of the blocks."""
        spans = [part.span for part in self.parts.values()]
        return (min(low for low, _ in spans), max(high for _, high in spans))
