"""Leakage: what a direction changes besides the one factor, or class, that it is for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Data, FactorSet, LatentMetric
from orthogen.core.maps import LatentMap, probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics._change import Change, ClassChange, FactorChange
from orthogen.metrics._moves import (
    check_span,
    directions_of,
    latents,
    points_along,
    points_by_block,
    replaced,
    try_out,
    unit,
)

__all__ = ["Leakage"]

Reader = Callable[[Tensor], Any]

ROUNDING = 1e-12  # leakage, and errors, up to which are none


@dataclass(frozen=True)
class Leakage(LatentMetric):
    """Share of what directions change that is not their main factor, or class: 0 where each changes one thing.

    The component of z along direction i, brought to length 1, is replaced by ``steps`` equidistant values t, and what
    is read off G(z') is compared with what is read off G(z):

        M_ik = mean over z and t of the change of k,    value = mean over live i of  1 - max_k M_ik / T_i

    For the factors of a data set, the change of k is 1 where the factor read differs, up to the symmetries of the set
    (its ``same``, in either order), and T_i = sum_k M_ik. For a classifier of exclusive classes with probabilities p,
    it is |p_k(z') - p_k(z)|, and T_i is the mean total variation, sum_k |...| / 2: every change that goes into or out
    of the main class counts as that class's, so that two classes have no leakage.

    A direction that changes next to nothing (T_i below ``least``) has no main factor: it is left out of the mean and
    named in the part ``dead``; where all are dead the score is 0. Mistakes of the reader count as change. The standard
    error is to first order, over latents, with main factors as found. `orthogen.reporting.leakage.leakage_picture`
    draws the part ``matrix``. Generator and classifier are in evaluation mode, and noise inside the generator is the
    same in all images of one z.

    Attributes:
        reader: a data set whose factors can be read off an image, or a function from images in [-1, 1] to logits;
            `measure` puts its data here where there is none.
        samples: how many latents.
        steps: values per direction.
        span: lowest and highest value; the latent's own span (-2, 2 for a normal one) if None. Blocks have a span each;
            a direction across several takes their mean, weighted by its squared components.
        least: T_i of a direction from which on it counts as live.
        batch: images per pass.

    Raises:
        ValueError: no reader, images it cannot read, data without factors, fewer than two samples or steps, a span that
            goes nowhere, directions of another width than the latent, or a generator that takes conditions.
        TypeError: the reader is none of these, or the generator is in half precision.

    Reference:
        The change matrix in the manner of Shen et al., "InterFaceGAN", TPAMI 2020, re-scoring analysis. Share, factors
        and errors are of this library; numbers do not compare with any paper's.

    Example:
        Two classes told apart by pixel 0, which is direction 0; direction 1 changes neither.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z[:, None, None, :])
        >>> classifier = lambda x: torch.stack([9 * x[:, 0, 0, 0], 0 * x[:, 0, 0, 0]], dim=1)
        >>> score = Leakage(classifier, samples=50)(G)
        >>> score.value, score.parts["main"], score.parts["dead"]
        (0.0, ['0', None], ['1'])
    """

    reader: Data | FactorSet | Reader | None = None
    samples: int = 300
    steps: int = 5
    span: tuple[float, float] | None = None
    least: float = 0.01
    batch: int = 32

    def __post_init__(self) -> None:
        if self.samples < 2 or self.steps < 2 or self.batch < 1:
            raise ValueError(
                f"Leakage(samples={self.samples}, steps={self.steps}, batch={self.batch}): give at least 2 samples, "
                "2 steps, 1 image per pass"
            )
        check_span("Leakage", self.span)

    def with_data(self, data: FactorSet) -> "Leakage":
        """The same with ``data`` as its reader, where it has none."""
        return self if self.reader is not None else replace(self, reader=data)

    def _change(self) -> Change:
        found = self.reader.open() if isinstance(self.reader, Data) else self.reader
        if found is None:
            raise ValueError(
                "Leakage was given nothing to read images with; give data with known factors, such as "
                "Leakage(Sprites()), or a classifier (a function from images to logits)"
            )
        if isinstance(found, FactorSet):
            return FactorChange(found, self.reader if isinstance(self.reader, Data) else None)
        if isinstance(self.reader, Data):
            raise ValueError(
                f"Leakage reads factors off images, and {type(self.reader).__name__} has none; give Sprites(), "
                "Shapes3d() or a classifier"
            )
        if not callable(found):
            raise TypeError(f"Leakage(reader={found!r}): data with known factors, or a function of images, is needed")
        return ClassChange(found)

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The leakage of all directions, on fresh latents."""
        directions = unit(directions_of("Leakage", generator, directions))
        change, rng = self._change(), private() if rng is None else rng
        z, f, found = latents(generator, self.samples, rng), probe(generator), []
        basis = directions.basis.to(z)
        points = points_along(generator.latent, basis, self.span, self.steps).tolist()
        with evaluating(generator.module, *change.networks):
            try_out("Leakage", generator, f, z)
            for part in track(z.split(self.batch), "leakage"):
                with seeded(rng, z.device), f.session():
                    found.append(self._changes(change, f, part, basis, points))
        changes = torch.cat(found)  # (samples, directions, factors)
        totals = torch.stack([change.total(each) for each in changes.unbind(dim=1)], dim=1)  # (samples, directions)
        matrix, total = changes.mean(dim=0), totals.mean(dim=0)
        live = total > self.least
        main = (matrix >= (1 - 1e-6) * matrix.amax(dim=1, keepdim=True)).int().argmax(dim=1)  # of equal ones the first
        most = changes.gather(2, main.expand(self.samples, -1)[:, :, None])[:, :, 0]
        share = most.mean(dim=0) / total.clamp_min(1e-12)
        influence = (share * totals - most) / total.clamp_min(1e-12)  # of each latent on 1 - share
        leak, influence = (torch.where(x.abs() > ROUNDING, x, 0.0) for x in (1 - share, influence))
        scale = self.samples**-0.5
        alive = live.tolist()

        def where_live(values: Any) -> list[Any]:
            return [value if yes else None for value, yes in zip(values, alive, strict=True)]

        return Score(
            leak[live].mean().item() if live.any() else 0.0,
            stderr=influence[:, live].mean(dim=1).std().item() * scale if live.any() else 0.0,
            n=self.samples,
            name="Leakage",
            protocol={
                "reader": change.reader,
                "points": points_by_block(generator.latent, self.span, self.steps),
                "lengths": "unit",
                "compared with": "the image of the unchanged latent",
                "least": self.least,
                "space": directions.space,
                "stderr": "to first order, over latents",
            },
            parts={
                "directions": list(directions.names),
                change.columns: list(change.names),
                "matrix": matrix.tolist(),
                "matrix_stderr": (changes.std(dim=0) * scale).tolist(),
                "leakage": where_live(leak.tolist()),
                "leakage_stderr": where_live((influence.std(dim=0) * scale).tolist()),
                "main": where_live([change.names[i] for i in main.tolist()]),
                "dead": [name for name, yes in zip(directions.names, alive, strict=True) if not yes],
                **change.notes(),
            },
        )

    @staticmethod
    def _changes(
        change: Change,
        f: LatentMap,
        z: Float[Tensor, "n dim"],
        basis: Float[Tensor, "d dim"],
        points: list[list[float]],
    ) -> Float[Tensor, "n d k"]:
        """What each direction changes in each sample, by factor, as a mean over points."""
        before, rows = change.read(f(z)[0]), []
        for direction, values in zip(basis, points, strict=True):
            passes = (change.read(f(replaced(z, direction, value))[0]) for value in values)
            rows.append(torch.stack([change.between(before, after) for after in passes]).mean(dim=0))
        return torch.stack(rows, dim=1)
