"""Diagonality: does each pixel's Hessian with respect to the latent lie on its diagonal?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.hessians import hessians
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, along, probe
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating
from orthogen.metrics._moves import (
    PAST_NORM,
    directions_of,
    latents,
    refuse_not_finite,
    refuse_seeing_each_other,
    try_out,
)

__all__ = ["Diagonality"]

CITATION = """\
@inproceedings{peebles2020hessian,
  title     = {The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement},
  author    = {Peebles, William and Peebles, John and Zhu, Jun-Yan and Efros, Alexei A. and Torralba, Antonio},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class Diagonality(LatentMetric):
    """How diagonal the Hessians of the pixels are: 1 where each latent component acts regardless of the others.

    With H the Hessian of one entry of the image (a pixel of a channel) with respect to the latent,

        value = share of entries whose largest |H_ij| has i = j
        relative strength = mean over entries of  mean_i |H_ii| / (mean_{i != j} |H_ij| + 1e-8)

    by central differences of step e over all pairs of components, i = j among them:

        H_ij = [f(z + e_i + e_j) - f(z + e_i - e_j) - f(z - e_i + e_j) + f(z - e_i - e_j)] / 4 e^2

    Given directions, derivatives are taken with respect to their coordinates a in G(z + a Q) at a = 0: a longer one has
    larger derivatives and a longer step. The generator is in evaluation mode. Entries whose
    Hessian is not above the rounding of the image (a black background, a generator that is linear there) say nothing:
    they are left out and their share is the part ``flat``; counted as diagonal they would reward empty pictures. The
    relative strength has a heavy tail, entries with next to no mixed derivatives: see its error before comparing it.

    Takes 2 d^2 passes per sample for d directions; one Hessian is never held in memory, only sums over its entries.
    The standard errors are those of ratios of means over samples.

    Attributes:
        samples: how many latents.
        step: e, in units of the latent (of a direction's length).
        batch: samples per pass.
        past_norm: differentiate behind the network's own norm of latents, which is left out; see
            `orthogen.Generator.past_norm`.

    Raises:
        ValueError: fewer than two samples or directions, an image without any curvature, directions of another width
            than the latent, or a generator that takes conditions or whose samples see each other.
        TypeError: a generator in half precision.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020, table 2; 100 samples and step 0.1 as released.

    Example:
        Pixels sin(z0), sin(z1): no pixel has a mixed derivative.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z.sin()[:, None, None, :])
        >>> Diagonality(samples=10)(G).value
        1.0
    """

    samples: int = 100
    step: float = 0.1
    batch: int = 32
    past_norm: bool = False

    @classmethod
    def hessian_penalty(cls) -> "Diagonality":
        """Of ProGAN in the Hessian Penalty's table 2: 100 latents that have their norm already, with step 0.1.

        As everywhere here, entries without curvature are left out, of which the release does not speak.
        """
        return cls(100, 0.1, past_norm=True)

    def __post_init__(self) -> None:
        if self.samples < 2 or self.batch < 1:
            raise ValueError(
                f"Diagonality(samples={self.samples}, batch={self.batch}): give at least 2 samples, 1 per pass"
            )
        if not 0 < self.step < float("inf"):
            raise ValueError(f"Diagonality(step={self.step}): the step must be positive; the paper uses 0.1")

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """Both numbers, over fresh latents."""
        generator = generator.past_norm() if self.past_norm else generator
        directions = directions_of("Diagonality", generator, directions)
        if len(directions) < 2:
            raise ValueError("Diagonality was given one direction; a Hessian has a diagonal from two on")
        z, f = latents(generator, self.samples, rng), probe(generator)
        basis = directions.basis.to(z)
        with evaluating(generator.module), f.session():
            try_out("Diagonality", generator, f, z)
            refuse_seeing_each_other("Diagonality", f, z)
            counts = torch.cat([self._counts(along(f, part, basis), part) for part in z.split(self.batch)])
        refuse_not_finite("Diagonality", counts)
        counts = counts.cpu()
        entries, curved, diagonal, strength = counts.unbind(dim=1)
        if not curved.any():
            raise ValueError(
                "Diagonality found no curvature in any pixel (a generator that is linear within the step): "
                "there is no Hessian to compare; JacobianSpectrum says what such a generator does"
            )
        share, share_error = _ratio(diagonal, curved)
        relative, relative_error = _ratio(strength, curved)
        return Score(
            share,
            stderr=share_error,
            n=self.samples,
            name="Diagonality",
            protocol={
                "step": self.step,
                "difference": "central, four points",
                "flat entries": "left out",
                "lengths": "as given",
                "space": directions.space,
                "stderr": "of a ratio of means, over samples",
                **PAST_NORM[self.past_norm],
            },
            parts={
                "relative_strength": relative,
                "relative_strength_stderr": relative_error,
                "flat": 1.0 - (curved.sum() / entries.sum()).item(),
            },
        )

    def _counts(self, f: LatentMap, z: Float[Tensor, "n dim"]) -> Float[Tensor, "n 4"]:
        """For each sample: its entries, those with curvature, those of them that peak on the diagonal, and the sum of
        their relative strengths.
        """
        d, origin = f.dim, z.new_zeros(len(z), f.dim)
        middle = f(origin)[0].flatten(1).double()
        top = torch.zeros_like(middle)  # largest |H_ij| so far
        top_diagonal, on, off = (torch.zeros_like(middle) for _ in range(3))  # and sums of |H_ii|, |H_ij|
        for i, j, entry in hessians(f, origin, self.step):
            size = entry.flatten(1).abs_()
            if i == j:
                torch.maximum(top_diagonal, size, out=top_diagonal)
                on += size
            else:
                off += 2 * size
            torch.maximum(top, size, out=top)
        # the four images are rounded to the generator's precision, and their difference with them
        rounding = 16 * torch.finfo(z.dtype).eps / (4 * self.step**2) * middle.abs().amax(dim=1, keepdim=True)
        curved = top > rounding
        strength = on / d / (off / (d * (d - 1)) + 1e-8)
        columns = (torch.ones_like(middle), curved, curved & (top_diagonal == top), strength * curved)
        return torch.stack([column.double().sum(dim=1) for column in columns], dim=1)


def _ratio(above: Float[Tensor, "n"], below: Float[Tensor, "n"]) -> tuple[float, float]:
    """The ratio of two means over samples, and its standard error to first order."""
    ratio = above.sum() / below.sum()
    influence = (above - ratio * below) / below.mean()
    return ratio.item(), (influence.std() * len(above) ** -0.5).item()
