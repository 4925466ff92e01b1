"""What a traversal needs to know before it draws: base latents, directions, and what a value means along each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int
from orthogen.evaluation.published import read_directions
from orthogen.reporting import montage
from orthogen.reporting.paths import Number, check_mode, moved

__all__ = ["Moves", "basis_of", "reach"]

_DEVIATIONS = 2.0  # how far to go, where that is counted in standard deviations


def basis_of(generator: Generator, directions: Directions | str | Path | None) -> Directions:
    """The directions themselves, those of a file, or, for None, the generator's own: mostly the latent's coordinates.

    Raises:
        ValueError: they are of another width than the generator's latent.
    """
    if directions is None:
        return generator.own(generator.module) if generator.own else Directions.coordinates(generator.latent.dim)
    width = generator.latent.dim
    found = directions if isinstance(directions, Directions) else read_directions(directions, dim=width)
    if found.basis.shape[1] != width:
        raise ValueError(
            f"the directions are {found.basis.shape[1]} wide, the generator's latent {width}; give directions that "
            "were found in this generator"
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
    if len(ends) != 2 or not ends[0] < ends[1] or not all(map(math.isfinite, ends)):
        raise ValueError(f"extent={extent}: give one positive number, or two with the first below the second")
    return float(ends[0]), float(ends[1])


def _labels(generator: Generator, n: int, rng: torch.Generator | None) -> dict[str, Tensor]:
    """A class per base latent, where the generator takes any."""
    if not generator.classes:
        return {}
    rng = private() if rng is None else rng
    drawn = torch.randint(generator.classes, (n,), generator=rng, device=rng.device)
    return {generator.condition: drawn.to(generator.device)}


@dataclass(frozen=True, eq=False)
class Moves:
    """Base latents and the directions they move along.

    A value ``a`` stands for the coordinate ``center[i] + a * unit[i]`` along direction i (mode ``replace``), or is
    added as ``a * unit[i]`` (mode ``add``). Values are coordinates unless they count standard deviations.

    Attributes:
        q: the directions.
        z: the base latents.
        names: of the directions.
        low: the lower end.
        high: the upper end.
        deviations: whether values count standard deviations.
        unit: what 1 is along each direction.
        center: which coordinate 0 is.
        mode: ``replace`` or ``add``.
        conditions: what the generator is called with besides, one row per base latent.
        notes: what to say of each base latent: its class; empty for nothing.
    """

    q: Float[Tensor, "n dim"]
    z: Float[Tensor, "samples dim"]
    names: tuple[str, ...]
    low: float
    high: float
    deviations: bool
    unit: Float[Tensor, "n"]
    center: Float[Tensor, "n"]
    mode: str
    conditions: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        generator: Generator,
        directions: Directions,
        *,
        z: Float[Tensor, "samples dim"] | None = None,
        n: int = 3,
        extent: Number | Sequence[Number] | None = None,
        mode: str | None = None,
        rng: torch.Generator | None = None,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> "Moves":
        """See `orthogen.reporting.drawing.traversal`, which takes the same.

        Raises:
            ValueError: there is no base latent, the ends are no interval, or conditions are not one per base latent.
        """
        if z is None:
            if n < 1:
                raise ValueError(f"n={n}: a traversal starts from at least one latent")
            z = generator.latent.sample(n, rng=rng)
        z = z.to(generator.device, torch.promote_types(z.dtype, generator.dtype))
        given = dict(conditions or {})
        for name, value in given.items():
            if len(value) != len(z):
                raise ValueError(f"condition {name!r} has {len(value)} rows for {len(z)} base latents; give one each")
        drawn = {} if generator.condition in given else _labels(generator, len(z), rng)
        q = directions.basis.to(z)
        # behind a mapping network a coordinate has no zero of its own to go around
        mode = ("replace" if generator.latent.space == "z" else "add") if mode is None else mode
        check_mode(q, mode)
        counted = extent is None and directions.deviation is not None
        unit, center = q.new_ones(len(q)), q.new_zeros(len(q))
        if counted and directions.deviation is not None:
            unit = directions.deviation.to(q)
            if mode == "replace":
                center = q @ generator.latent.center().to(q) / q.square().sum(1)
        elif extent is None:  # the span, whatever their length
            unit = 1 / q.norm(dim=1).clamp_min(1e-30)
        low, high = (-_DEVIATIONS, _DEVIATIONS) if counted else reach(generator, extent)
        notes = tuple(f"class {label}" for part in drawn.values() for label in part.tolist())
        return cls(q, z, tuple(directions.names), low, high, counted, unit, center, mode, {**drawn, **given}, notes)

    def rows(self, start: int, stop: int) -> "Moves":
        """Along some of the directions only."""
        few = slice(start, stop)
        return replace(self, q=self.q[few], names=self.names[few], unit=self.unit[few], center=self.center[few])

    def of_sample(self, sample: int) -> "Moves":
        """From one base latent only."""
        one = slice(sample, sample + 1)
        conditions = {name: value[one] for name, value in self.conditions.items()}
        return replace(self, z=self.z[one], conditions=conditions, notes=self.notes[one])

    def latents(
        self, direction: Int[Tensor, "batch"], sample: Int[Tensor, "batch"], value: Float[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch dim"], dict[str, Any]]:
        """Latents and their conditions, one of each per index."""
        a = self.center[direction] + value * self.unit[direction]
        conditions = {name: rows[sample.to(rows.device)] for name, rows in self.conditions.items()}
        return moved(self.z[sample], self.q[direction], a, self.mode), conditions

    def head(self, value: float) -> str:
        """A value as the head of a column, such as −2σ."""
        return montage.signed(value) + "σ" * (self.deviations and value != 0)
