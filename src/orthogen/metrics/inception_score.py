"""Inception score: are generated images recognizable, and of many classes?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._sets import GIVEN, logits_of

__all__ = ["InceptionScore"]

CITATION = """\
@inproceedings{salimans2016improved,
  title     = {Improved Techniques for Training {GANs}},
  author    = {Salimans, Tim and Goodfellow, Ian and Zaremba, Wojciech and Cheung, Vicki and Radford, Alec and
               Chen, Xi},
  booktitle = {Advances in Neural Information Processing Systems (NIPS)},
  year      = {2016}
}
"""


def _by_split(logits: Float[Tensor, "n k"], splits: int) -> tuple[Float[Tensor, "splits"], Float[Tensor, "splits"]]:
    """The score of each split, and its standard error: d log IS = KL(p(y|x) || p(y)) - its mean, per image."""
    scores, errors = [], []
    for split in range(splits):
        part = logits[split * len(logits) // splits : (split + 1) * len(logits) // splits]
        log_p = part.log_softmax(dim=1)
        p = log_p.exp()
        log_marginal = p.mean(dim=0).clamp_min(torch.finfo(p.dtype).tiny).log()
        apart = torch.where(p > 0, p * (log_p - log_marginal), 0.0).sum(dim=1)
        scores.append(apart.mean().exp())
        errors.append(scores[-1] * apart.std() / len(part) ** 0.5)
    return torch.stack(scores), torch.stack(errors)


@dataclass(frozen=True)
class InceptionScore(ImageMetric):
    """How far the classes seen in single images are from those seen in all: 1 at worst, the number of classes at best.

        IS = exp( mean over images x of KL( p(y|x) || p(y) ) ),   p(y) the mean of p(y|x)

    from the logits of the generated images, in float64, averaged over consecutive splits of them in their order (images
    sorted by class must be mixed before). It is called IS on the logits of Inception only. It does not look at the real
    images; their own score, which is what to expect of perfect ones, is the part ``real``.

    The standard error is the infinitesimal jackknife over images within splits; the published ±, the deviation of the
    splits, says little about it and is the part ``splits_std``.

    Attributes:
        splits: 10 in the paper; StudioGAN and group spectral regularization take 1, which gives larger values.

    Raises:
        ValueError: no logits, fewer than two images per split, or logits that are not finite.

    Reference:
        Salimans et al., "Improved Techniques for Training GANs", NIPS 2016, section 4; 10 splits.

    Example:
        Images of four classes, each recognized with certainty.

        >>> logits = 1000.0 * torch.eye(4).repeat(10, 1)
        >>> round(InceptionScore(splits=1)(logits, logits).value, 6)
        4.0
    """

    on_inception: ClassVar[str | None] = "IS"
    reads: ClassVar[frozenset[str]] = frozenset({"logits"})

    splits: int = 10

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise ValueError(f"InceptionScore(splits={self.splits}): give at least 1")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n k"] | Features,
        fake: Float[Tensor, "m k"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The score of the generated images; draws nothing."""
        x, y = logits_of("InceptionScore", real, fake, least=2 * self.splits)
        (scores, errors), (of_real, errors_real) = _by_split(y, self.splits), _by_split(x, self.splits)
        return Score(
            scores.mean().item(),
            stderr=errors.norm().item() / self.splits,
            n=len(y),
            name="class score",
            protocol={
                **GIVEN,
                "splits": self.splits,
                "stderr": "infinitesimal jackknife over images within splits",
            },
            parts={
                "splits_std": scores.std(correction=0).item(),
                "real": of_real.mean().item(),
                "real_stderr": errors_real.norm().item() / self.splits,
            },
        )
