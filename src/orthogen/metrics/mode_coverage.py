"""Mode coverage: which classes does a classifier see in the generated images, and how often?"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float
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


@dataclass(frozen=True)
class ModeCoverage(ImageMetric):
    """How many of the classes seen in the real images are seen in the generated ones, by a classifier's decisions.

        p_c = share of generated images whose largest logit is c,   q_c = the same of real images
        value = |{ c : q_c > 0, p_c > 0 and p_c >= fraction q_c }|,   KL(p || q) = sum_c p_c log(p_c / q_c)

    The parts hold, class by class, the counts of both sets and the shares with their binomial standard errors; the
    entropies of p and q in nats; the largest share and its class; and the divergence, which is None where a class is
    seen that no real image has. The standard error of the value adds up each class's chance to fall on the other side
    of its threshold in another sample of generated images.

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
        modes, error = q > 0, (p * (1 - p) / len(y)).sqrt()
        covered = modes & (p > 0) & (p >= self.fraction * q)
        apart = (p - self.fraction * q) / error.clamp_min(1e-300)
        doubt = torch.special.ndtr(-apart.abs()) * modes * (error > 0)
        log_ratio = torch.where(p > 0, (p / q).log(), 0.0)
        divergence = (p * log_ratio).sum()
        return Score(
            float(covered.sum()),
            stderr=(doubt * (1 - doubt)).sum().sqrt().item(),
            n=len(y),
            name="modes covered",
            protocol={
                **GIVEN,
                "fraction": self.fraction,
                "reference_n": len(x),
                "stderr": "chance of each class to cross its threshold, over generated images",
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
