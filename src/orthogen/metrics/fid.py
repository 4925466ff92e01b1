"""Fréchet distance of features; with Inception's, this is FID."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._frechet import FrechetMetric, frechet
from orthogen.metrics._sets import GIVEN, moments_of

__all__ = ["Fid"]

CITATION = """\
@inproceedings{heusel2017gans,
  title     = {{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium},
  author    = {Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and
               Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems (NIPS)},
  year      = {2017}
}
"""


@dataclass(frozen=True)
class Fid(FrechetMetric):
    """Distance of normal distributions fitted to the features of real and generated images; 0 where they agree.

        d^2 = |m1 - m2|^2 + tr( S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2 )

    with means m and covariances S (divided by n - 1), in float64, from moments alone. It is called FID on the features
    of Inception only. Covariances of fewer images than features are singular, and allowed.

    The value is biased upwards, the more the fewer images there are: two samples of 100 from one normal distribution in
    64 dimensions are 22 apart. The parts ``bias`` and ``reference_bias`` estimate what the two finite sets add;
    ``biased`` is true where that is more than ``tolerance`` of the value, or where a set has fewer images than
    features. Compare values of equal counts only, or take `FidInfinity` or `Kid`.

    The standard error is the infinitesimal jackknife over generated images; the reference is held fixed.

    Attributes:
        tolerance: share of the value from which on the estimated bias is flagged.
        images: how many generated images it takes, and `orthogen.measure` draws where nobody says otherwise; any number
            if None.

    Raises:
        ValueError: fewer than two images, or not as many generated ones as it takes; features of different widths, or
            that are not finite.

    Reference:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NIPS 2017,
        equation 6.

    Example:
        The same features, moved by 2 in one direction.

        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> round(Fid()(x, x + torch.tensor([2.0, 0.0, 0.0])).value, 6)
        4.0
    """

    on_inception: ClassVar[str | None] = "FID"
    reads: ClassVar[frozenset[str]] = frozenset({"moments"})

    tolerance: float = 0.1
    images: int | None = None

    @classmethod
    def hessian_penalty(cls) -> "Fid":
        """``fid50k`` of the Hessian Penalty's and OroJaR's ProGAN: 50,000 generated images against all real ones.

        There the real images are repeated in the order of their file up to 50,000, so that those that come first may
        count once more; here each of up to 50,000 counts once. NVIDIA's copy of the Inception network is not to be had
        here: torch-fidelity's is of the same weights, and `orthogen.extractors.inception.Inception` says how it sees
        images. Both are rounded to 256 levels, and latents are of N(0, I).
        """
        return cls(images=50_000)

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 2:
            raise ValueError(f"Fid(images={self.images}): give at least 2, or None for any number")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n d"] | Features,
        fake: Float[Tensor, "m d"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The distance; draws nothing."""
        reference, made = moments_of("Fid", real, fake)
        if self.images not in (None, made.n):
            raise ValueError(
                f"Fid(images={self.images}) is of that many generated images, and there are {made.n}; draw as many "
                "(-n), or take Fid"
            )
        found = frechet(reference, made)
        bias, width = found.bias + found.reference_bias, len(made.mean)
        biased = bias > self.tolerance * found.value or min(reference.n, made.n) < width
        note = f"about {bias:.3g} of it comes from the finite numbers of images ({made.n:,} and {reference.n:,})"
        return Score(
            found.value,
            stderr=found.stderr,
            n=made.n,
            name="Frechet distance",
            protocol={
                **GIVEN,
                "reference_n": reference.n,
                "covariance": "unbiased",
                "stderr": "infinitesimal jackknife over generated images, reference held fixed",
            },
            parts={
                "means": found.means,
                "covariances": max(0.0, found.value - found.means),
                "bias": found.bias,
                "reference_bias": found.reference_bias,
                "biased": biased,
                **({"note": note} if biased else {}),
            },
        )
