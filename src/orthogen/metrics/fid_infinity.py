"""Fréchet distance extrapolated to infinitely many generated images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features, Moments
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._frechet import FrechetMetric, distance, frechet, root
from orthogen.metrics._resampling import shuffled
from orthogen.metrics._sets import GIVEN, vectors_of

__all__ = ["FidInfinity"]

CITATION = """\
@inproceedings{chong2020effectively,
  title     = {Effectively Unbiased {FID} and {Inception} Score and Where to Find Them},
  author    = {Chong, Min Jin and Forsyth, David},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class FidInfinity(FrechetMetric):
    """Where the Fréchet distance goes as the number of generated images grows: its bias is close to c / n.

        d^2(n) = d^2_infinity + c / n,     fitted by least squares at n, n / 2, n / 3, ..., n / cuts

    At n / j the images are cut at random into j parts and the distances of all parts are averaged, so that every image
    counts once at every size: what the sample itself brings is then the same at all sizes, and the line is hardly
    noisier than the distance at n. (The paper fits 15 sizes of one random subset each.) The number of real images adds
    a bias of its own, which stays: its estimate is the part ``reference_bias``. The value can be below 0.

    The standard error adds the infinitesimal jackknife over generated images, as in `Fid`, and the error of the
    intercept from the residuals of the line; the reference is held fixed. ``curved`` is true where the smallest part
    has fewer than two images per feature: below that the distance does not follow the line, the value is too low by
    many standard errors, and ``note`` says so.

    Attributes:
        cuts: how many sizes; 5 take the distances of 15 sets.

    Raises:
        ValueError: fewer than three sizes or two images per part, features of different widths, or not finite.

    Reference:
        Chong and Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them", CVPR 2020.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> real, fake = (torch.randn(n, 4, generator=rng, dtype=torch.float64) for n in (20000, 500))
        >>> bool(abs(FidInfinity()(real, fake, rng=rng).value) < 0.02)
        True
    """

    on_inception: ClassVar[str | None] = "FID infinity"

    cuts: int = 5

    def __post_init__(self) -> None:
        if self.cuts < 3:
            raise ValueError(f"FidInfinity(cuts={self.cuts}): a line with an error needs at least 3 sizes")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n d"] | Features,
        fake: Float[Tensor, "m d"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The intercept of the line."""
        x, y = vectors_of("FidInfinity", real, fake, least=2 * self.cuts)
        reference, n = Moments.of(x), len(y)
        at_n = frechet(reference, Moments.of(y))
        factor = root(reference.covariance)
        distances = [at_n.value]
        for count in track(range(2, self.cuts + 1), "Frechet distance of parts"):
            order = shuffled(n, private() if rng is None else rng).to(y.device)
            parts = [Moments.of(y[part]) for part in order.tensor_split(count)]
            distances.append(sum(distance(reference, part, factor) for part in parts) / count)

        inverse = torch.arange(1, self.cuts + 1, dtype=torch.float64) / n
        line = torch.stack([torch.ones_like(inverse), inverse], dim=1)
        values = torch.tensor(distances, dtype=torch.float64)
        solve = torch.linalg.pinv(line)
        intercept, slope = (solve @ values).tolist()
        noise = (values - line @ (solve @ values)).square().sum() / (self.cuts - 2)
        error = (noise * solve[0].square().sum()).item()
        width, smallest = y.shape[1], n // self.cuts
        note = (
            f"too low: the smallest parts have {smallest:,} images for {width:,} features, too few to follow the line; "
            f"generate at least {2 * width * self.cuts:,} images, or take Kid"
        )
        return Score(
            intercept,
            stderr=(at_n.stderr**2 + error) ** 0.5,
            n=n,
            name="Frechet distance, infinite samples",
            protocol={
                **GIVEN,
                "reference_n": len(x),
                "cuts": self.cuts,
                "stderr": "infinitesimal jackknife over generated images and residuals of the line, "
                "reference held fixed",
            },
            parts={
                "at_n": at_n.value,
                "at_n_stderr": at_n.stderr,
                "sizes": [n // count for count in range(1, self.cuts + 1)],
                "distances": distances,
                "slope": slope,
                "reference_bias": at_n.reference_bias,
                "curved": smallest < 2 * width,
                **({"note": note} if smallest < 2 * width else {}),
            },
        )
