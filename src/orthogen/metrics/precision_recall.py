"""Improved precision and recall: are generated images realistic, and is everything real generated?"""

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

__all__ = ["PrecisionRecall"]

CITATION = """\
@inproceedings{kynkaanniemi2019improved,
  title     = {Improved Precision and Recall Metric for Assessing Generative Models},
  author    = {Kynk{\\"a}{\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2019}
}
"""


def _least(precision: float, made: int, recall: float, real: int) -> Float[Tensor, "3"]:
    """Binomial errors of both shares, and of their harmonic mean by its derivatives."""
    shares = torch.tensor([precision, recall], dtype=torch.float64), torch.tensor([made, real])
    smoothed, errors = share(*shares)
    slopes = 2 * (smoothed.flip(0) / smoothed.sum()).square()
    return torch.cat([errors, (slopes * errors).norm()[None]])


@dataclass(frozen=True)
class PrecisionRecall(ImageMetric):
    """How much of what is generated looks real (precision), and how much of what is real is generated (recall).

        precision = share of generated y that lie in the ball of some real x
        recall    = share of real x that lie in the ball of some generated y
        value     = 2 precision recall / (precision + recall),  0 where both are

    where an image's ball reaches to its k-th nearest neighbor within its own set. Vectors on the border lie outside,
    which matters only where images repeat. Both depend on the number of images: the balls shrink as it grows.

    Standard errors are over samples of both sets, balls included: a binomial error would take the balls for given. It
    is the least that is stated, so that shares of 0 and 1, which show no spread, are not taken for certain; where the
    sets hardly touch it can still be half of what it should be.

    Attributes:
        k: which neighbor.

    Raises:
        ValueError: fewer than k + 1 images, k below 1, features of different widths, or not finite.

    Reference:
        Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS 2019;
        k = 3 as there.

    Example:
        Half of the generated images are far from anything real.

        >>> rng = torch.Generator().manual_seed(0)
        >>> real, fake = torch.randn(1000, 2, generator=rng), torch.randn(1000, 2, generator=rng)
        >>> fake[::2] += 100
        >>> score = PrecisionRecall()(real, fake, rng=rng)
        >>> round(score.parts["precision"], 1), round(score.parts["recall"], 1)
        (0.5, 1.0)
    """

    k: int = 3

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"PrecisionRecall(k={self.k}): the nearest neighbor is k=1")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n d"] | Features,
        fake: Float[Tensor, "m d"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """Their harmonic mean; ``rng`` cuts the sets for the standard errors."""
        x, y = vectors_of("PrecisionRecall", real, fake, least=self.k + 1)
        precision, recall, value = self._values(x, y).tolist()
        spread = split_error(self._values, x, y, least=self.k + 1, rng=rng)
        errors = (
            [None] * 3 if spread is None else spread.cpu().maximum(_least(precision, len(y), recall, len(x))).tolist()
        )
        return Score(
            value,
            stderr=errors[2],
            n=len(y),
            name="precision and recall",
            protocol={**GIVEN, "k": self.k, "reference_n": len(x), "stderr": HOW},
            parts={
                "precision": precision,
                "precision_stderr": errors[0],
                "recall": recall,
                "recall_stderr": errors[1],
            },
        )

    def _values(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "3"]:
        found = inside(x, y, self.k)
        precision, recall = (found.balls > 0).double().mean(), found.held.double().mean()
        harmonic = 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(torch.float64).tiny)
        return torch.stack([precision, recall, harmonic])
