"""Mode coverage: which classes does a classifier see in the generated images, and how often?"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._resampling import share
from orthogen.metrics._sets import GIVEN, logits_of

__all__ = ["ModeCoverage"]

CITATION = """\
@inproceedings{metz2017unrolled,
  title     = {Unrolled Generative Adversarial Networks},
  author    = {Metz, Luke and Poole, Ben and Pfau, David and Sohl-Dickstein, Jascha},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2017}
}
"""


def _smoothed(counts: Int[Tensor, "k"]) -> Float[Tensor, "k"]:
    """Shares, none of which is 0."""
    more = min(0.5, ((counts == 1).sum().item() + 0.5) / len(counts))
    return (counts.double() + more) / (counts + more).sum()


def _reaches(threshold: int, n: int, p: float) -> tuple[float, float]:
    """The chance that a class of share p has so many of n images, and its derivative by n p."""
    if threshold > n:
        return 0.0, 0.0
    j, total = torch.arange(threshold + 1, dtype=torch.float64), torch.tensor(n, dtype=torch.float64)
    ways = torch.lgamma(total + 1) - torch.lgamma(j + 1) - torch.lgamma(total - j + 1)
    chances = (ways + j * math.log(p) + (total - j) * math.log1p(-p)).exp()
    return max(0.0, 1 - chances[:-1].sum().item()), chances[-1].item() * threshold / (n * p)


def _thresholds(q: Float[Tensor, "k"], fraction: float, n: int) -> Int[Tensor, "k"]:
    """The images of n from which on a class is covered; 0 where it is no mode."""
    count = (fraction * q * n * (1 - 1e-9)).ceil()  # 0.1 * 0.1 * 100, rounded to a bit more than 1, is 1
    return torch.where(q > 0, count.clamp(1, n + 1), 0).long()


def _error(counts: Int[Tensor, "k"], thresholds: Int[Tensor, "k"]) -> float:
    """Standard error of the number of modes that reach their threshold."""
    n, variance, common, own = int(counts.sum()), 0.0, 0.0, 0.0
    for threshold, p in zip(thresholds.tolist(), _smoothed(counts).tolist(), strict=True):
        if threshold > 0:
            chance, slope = _reaches(threshold, n, p)
            variance += chance * (1 - chance)
            common += slope * p
            own += (slope * p) ** 2
    return max(0.0, variance - n * (common**2 - own)) ** 0.5


@dataclass(frozen=True)
class ModeCoverage(ImageMetric):
    """How many of the classes seen in the real images are seen in the generated ones, by a classifier's decisions.

        p_c = share of generated images whose largest logit is c,   q_c = the same of real images
        value = |{ c : q_c > 0, p_c > 0 and p_c >= fraction q_c }|,   KL(p || q) = sum_c p_c log(p_c / q_c)

    The parts hold, class by class, the counts of both sets and the shares with their binomial standard errors; the
    entropies of p and q in nats; the largest share and its class; and the divergence, which is None where a class is
    seen that no real image has.

    The standard error of the value is over samples of n generated images. Each class has a chance pi_c to reach its
    threshold, the binomial tail at its share; what one class gains the others lose, to first order:

        Var = sum_c pi_c (1 - pi_c) - n [ (sum_c b_c p_c)^2 - sum_c (b_c p_c)^2 ],   b_c = d pi_c / d (n p_c)

    Shares are smoothed for this, so that a class not seen has a chance too: as many images are spread evenly over the
    classes as were the only one of theirs (Good's estimate of what was not seen) and half a one, but no more than half
    a one to each. Where all classes have five or ten images and one would do, the error is two to five times too large.

    Attributes:
        fraction: of a class's share in the real images that the generated ones must reach for it to count as covered.
            The paper counts a mode from its first image on, which is 0; but of some thousand images a classifier takes
            a few for anything.

    Raises:
        ValueError: no logits, of different numbers of classes, of a single one, or not finite; a fraction below 0.

    Reference:
        Metz et al., "Unrolled Generative Adversarial Networks", ICLR 2017 (modes and divergence on stacked
        digits).

    Example:
        Of four classes the generator makes one half of the time, and one never.

        >>> eye = torch.eye(4)
        >>> score = ModeCoverage()(eye.repeat(25, 1), eye[[0, 0, 1, 2]].repeat(25, 1))
        >>> score.value, score.parts["share"]
        (3.0, [0.5, 0.25, 0.25, 0.0])
    """

    reads: ClassVar[frozenset[str]] = frozenset({"logits"})

    fraction: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < math.inf:
            raise ValueError(f"ModeCoverage(fraction={self.fraction}): give a share of the real images' share, as 0.1")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n k"] | Features,
        fake: Float[Tensor, "m k"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The number of modes covered; draws nothing."""
        x, y = logits_of("ModeCoverage", real, fake)
        if x.shape[1] < 2:
            raise ValueError("ModeCoverage was given logits of a single class; a classifier of at least 2 is needed")
        counts = [logits.argmax(dim=1).bincount(minlength=logits.shape[1]).cpu() for logits in (x, y)]
        q, p = (count.double() / count.sum() for count in counts)
        thresholds = _thresholds(q, self.fraction, len(y))
        modes, covered = thresholds > 0, (thresholds > 0) & (counts[1] >= thresholds)
        error = share(p, len(y))[1]
        log_ratio = torch.where(p > 0, (p / q).log(), 0.0)
        divergence = (p * log_ratio).sum()
        return Score(
            float(covered.sum()),
            stderr=_error(counts[1], thresholds),
            n=len(y),
            name="modes covered",
            protocol={
                **GIVEN,
                "fraction": self.fraction,
                "reference_n": len(x),
                "stderr": "chance of each class to reach its threshold at its smoothed share, over generated images",
            },
            parts={
                "modes": int(modes.sum()),
                "counts": counts[1].tolist(),
                "counts_real": counts[0].tolist(),
                "share": p.tolist(),
                "share_stderr": error.tolist(),
                "share_real": q.tolist(),
                "missed": (modes & ~covered).nonzero()[:, 0].tolist(),
                "largest_class": int(p.argmax()),
                "largest": p.max().item(),
                "largest_stderr": error[p.argmax()].item(),
                "entropy": torch.special.entr(p).sum().item(),
                "entropy_real": torch.special.entr(q).sum().item(),
                "divergence": divergence.item() if divergence.isfinite() else None,
            },
        )
