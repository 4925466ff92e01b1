"""Inception score: are generated images recognizable, and of many classes?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._sets import GIVEN, generated_logits

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

LEAST = 4  # images of a split from which on there is a standard error: leaving out one of two leaves a score of 1


def _by_split(logits: Float[Tensor, "n k"], splits: int) -> tuple[Float[Tensor, "splits"], Float[Tensor, "splits"]]:
    """The score of each split, and its standard error by leaving out each image.

    The mean of KL( p(y|x) || p(y) ) is the entropy of p(y) less the mean entropy of p(y|x).
    """
    scores, errors = [], []
    for split in range(splits):
        p = logits[split * len(logits) // splits : (split + 1) * len(logits) // splits].softmax(dim=1)
        n, marginal, entropy = len(p), p.mean(dim=0), torch.special.entr(p).sum(dim=1)
        others = ((n * marginal - p) / (n - 1)).clamp_min_(0)
        without = torch.special.entr(others).sum(dim=1) - (entropy.sum() - entropy) / (n - 1)
        scores.append((torch.special.entr(marginal).sum() - entropy.mean()).exp())
        errors.append((without.exp().var() * (n - 1) ** 2 / n).sqrt())
    return torch.stack(scores), torch.stack(errors)


@dataclass(frozen=True)
class InceptionScore(ImageMetric):
    """How far the classes seen in single images are from those seen in all: 1 at worst, the number of classes at best.

        IS = exp( mean over images x of KL( p(y|x) || p(y) ) ),   p(y) the mean of p(y|x)

    from the logits of the generated images, in float64, averaged over consecutive splits of them in their order (images
    sorted by class must be mixed before). It is called IS on the logits of Inception only. It does not look at the real
    images: give them as generated ones to learn what to expect of perfect images.

    The standard error is the jackknife over images within splits, and None where these have fewer than 4; the
    published ±, the deviation of the splits, says little about it and is the part ``splits_std``.

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
    needs_reference: ClassVar[bool] = False

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
        y = generated_logits("InceptionScore", fake, least=2 * self.splits)
        scores, errors = _by_split(y, self.splits)
        return Score(
            scores.mean().item(),
            stderr=errors.norm().item() / self.splits if len(y) >= LEAST * self.splits else None,
            n=len(y),
            name="class score",
            protocol={
                **GIVEN,
                "splits": self.splits,
                "stderr": "jackknife over images within splits",
            },
            parts={"splits_std": scores.std(correction=0).item()},
        )
