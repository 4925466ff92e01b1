"""Density and coverage: precision and recall that an outlier cannot fool."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._neighbors import inside
from orthogen.metrics._resampling import HOW, share, split_error
from orthogen.metrics._sets import GIVEN, vectors_of

__all__ = ["DensityCoverage"]

CITATION = """\
@inproceedings{naeem2020reliable,
  title     = {Reliable Fidelity and Diversity Metrics for Generative Models},
  author    = {Naeem, Muhammad Ferjad and Oh, Seong Joon and Uh, Youngjung and Choi, Yunjey and Yoo, Jaejun},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class DensityCoverage(ImageMetric):
    """How densely real images surround the generated ones (density), and how many real ones are reached (coverage).

        density  = mean over generated y of |{ real x : y in the ball of x }| / k
        coverage = share of real x whose ball holds some generated y                        (the value)

    where a real image's ball reaches to its k-th nearest real neighbor. Unlike precision, density does not count a y in
    the one wide ball of an outlier as one among many; it can exceed 1. Unlike recall, coverage asks nothing of the
    generated images' own spread. A real set against itself has density 1 and coverage 1. Vectors on the border of a
    ball lie outside.

    Standard errors are over samples of both sets, balls included; that of coverage is at least binomial, because shares
    near 0 and 1 show no spread in parts of few images. A density of 0 has none.

    Attributes:
        k: which neighbor.

    Raises:
        ValueError: fewer than k + 1 images, k below 1, features of different widths, or not finite.

    Reference:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020; k = 5
        as there.

    Example:
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> score = DensityCoverage()(x, x)
        >>> score.value, score.parts["density"]
        (1.0, 1.0)
    """

    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"DensityCoverage(k={self.k}): the nearest neighbor is k=1")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n d"] | Features,
        fake: Float[Tensor, "m d"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The coverage; ``rng`` cuts the sets for the standard errors."""
        x, y = vectors_of("DensityCoverage", real, fake, least=self.k + 1)
        density, coverage = self._values(x, y).tolist()
        spread = split_error(self._values, x, y, least=self.k + 1, rng=rng)
        least = share(torch.tensor(coverage), len(x))[1].item()
        return Score(
            coverage,
            stderr=None if spread is None else max(spread[1].item(), least),
            n=len(y),
            name="coverage",
            protocol={**GIVEN, "k": self.k, "reference_n": len(x), "stderr": HOW},
            parts={
                "density": density,
                "density_stderr": None if spread is None or density == 0 else spread[0].item(),
            },
        )

    def _values(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "2"]:
        found = inside(x, y, self.k)
        return torch.stack([found.balls.double().mean() / self.k, found.holds.double().mean()])
