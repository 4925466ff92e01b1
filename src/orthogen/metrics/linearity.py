"""Linearity: how straight the way is that the image goes while its latent goes along a direction."""

from dataclasses import dataclass
from typing import Any

import torch

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics._moves import (
    check_span,
    directions_of,
    latents,
    points_along,
    points_by_block,
    refuse_not_finite,
    replaced,
    try_out,
    unit,
)

__all__ = ["Linearity"]


@dataclass(frozen=True)
class Linearity(LatentMetric):
    """Share of the images' variance along a traversal that is linear in the step: 1 for a straight line of images.

    The component of z along direction i, brought to length 1, is replaced by ``steps`` equidistant values t_j, which
    gives images x_j. With m the mean of the t_j and X that of the x_j, summed over pixels, points and latents z,

        linear    L_i = sum over z of | sum_j (t_j - m) x_j |² / sum_j (t_j - m)²
        all       T_i = sum over z of sum_j | x_j - X |²
        linearity l_i = L_i / T_i

    which is the R² of a linear regression of every pixel on the step, weighted by the pixels' variances. A shift of
    brightness is linear; an object that crosses the image is not, as its pixels go on and off. It says how uniform a
    direction's effect is, not how well it suits a factor.

    A direction along which images change by next to nothing (the root mean square of x_j - X below ``least``) has no
    linearity: it is left out of the mean and named in the part ``dead``. The standard error is that of a ratio of
    means, over latents. The generator is in evaluation mode, and noise inside it is the same in all images of one z.

    Attributes:
        samples: how many latents.
        steps: values per direction.
        span: lowest and highest value; the latent's own span (-2, 2 for a normal one) if None. Blocks have a span each;
            a direction across several takes their mean, weighted by its squared components.
        least: change of the image, which spans [-1, 1], from which on a direction counts as live.
        batch: images per pass; few suit the caches of a CPU.

    Raises:
        ValueError: fewer than two samples or three steps, a span that goes nowhere, directions that are zero or of
            another width than the latent, of which none changes the image, images that are not finite, or a generator
            that takes conditions.
        TypeError: a generator in half precision.

    Reference:
        N. R. Draper, H. Smith, "Applied Regression Analysis", 3rd edition, 1998, section 1.3 (R²). Its use for
        directions is of this library, and numbers do not compare with any paper's.

    Example:
        Pixels z0 and z1²: the first goes straight, the second returns.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> bent = lambda m, z: torch.stack([z[:, 0], z[:, 1] ** 2], dim=1)[:, None, None]
        >>> [round(l, 3) for l in Linearity()(adapt(torch.nn.Identity(), Normal(2), call=bent)).parts["linearity"]]
        [1.0, 0.0]
    """

    samples: int = 300
    steps: int = 5
    span: tuple[float, float] | None = None
    least: float = 1e-4
    batch: int = 32

    def __post_init__(self) -> None:
        if self.samples < 2 or self.steps < 3 or self.batch < 1:
            raise ValueError(
                f"Linearity(samples={self.samples}, steps={self.steps}, batch={self.batch}): give at least 2 samples, "
                "3 steps (two are always on a line), 1 image per pass"
            )
        check_span("Linearity", self.span)

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The linearity of every direction, on fresh latents."""
        directions = unit(directions_of("Linearity", generator, directions))
        rng = private() if rng is None else rng
        z, f, found = latents(generator, self.samples, rng), probe(generator), []
        basis = directions.basis.to(z)
        points = points_along(generator.latent, basis, self.span, self.steps).tolist()
        with evaluating(generator.module):
            try_out("Linearity", generator, f, z)
            for part in track(z.split(self.batch), "linearity"):
                with seeded(rng, z.device), f.session():
                    found.append(self._energies(f, part, basis, points))
        energies = torch.cat(found).cpu()  # (samples, directions, linear and all)
        refuse_not_finite("Linearity", energies)
        linear, total = energies.unbind(dim=2)
        live = total.mean(dim=0).sqrt() > self.least
        if not live.any():
            raise ValueError("Linearity: none of the directions changes the image; there is no way to be straight")
        share = linear.sum(dim=0) / total.sum(dim=0).clamp_min(1e-30)
        influence = (linear - share * total) / total.mean(dim=0).clamp_min(1e-30)
        scale, alive = self.samples**-0.5, live.tolist()

        def where_live(values: list[float]) -> list[Any]:
            return [value if yes else None for value, yes in zip(values, alive, strict=True)]

        return Score(
            share[live].mean().item(),
            stderr=influence[:, live].mean(dim=1).std().item() * scale,
            n=self.samples,
            name="Linearity",
            protocol={
                "points": points_by_block(generator.latent, self.span, self.steps),
                "lengths": "unit",
                "least": self.least,
                "space": directions.space,
                "stderr": "of a ratio of means, over latents",
            },
            parts={
                "directions": list(directions.names),
                "linearity": where_live(share.tolist()),
                "stderr": where_live((influence.std(dim=0) * scale).tolist()),
                "dead": [name for name, yes in zip(directions.names, alive, strict=True) if not yes],
            },
        )

    @staticmethod
    def _energies(
        f: LatentMap,
        z: Float[torch.Tensor, "n dim"],
        basis: Float[torch.Tensor, "k dim"],
        points: list[list[float]],
    ) -> Float[torch.Tensor, "n k 2"]:
        """What is linear and what there is in all, as mean squares over pixels and points."""
        rows = []
        for direction, values in zip(basis, points, strict=True):
            images = torch.stack([f(replaced(z, direction, value))[0].flatten(1).double() for value in values])
            away = images - images.mean(dim=0)
            t = torch.tensor(values, dtype=torch.float64, device=z.device)
            t = (t - t.mean()) / (t - t.mean()).norm()
            linear = torch.einsum("j,jnp->np", t, away).square().mean(dim=1) / len(values)
            rows.append(torch.stack([linear, away.square().mean(dim=(0, 2))], dim=1))
        return torch.stack(rows, dim=1)
