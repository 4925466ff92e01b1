"""Mutual information gap: does one code, and only one, tell each factor?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._codes import HALVES, bins, checked, information, spread_over_halves, varied

__all__ = ["Mig"]

CITATION = """\
@inproceedings{chen2018isolating,
  title     = {Isolating Sources of Disentanglement in Variational Autoencoders},
  author    = {Chen, Ricky T. Q. and Li, Xuechen and Grosse, Roger and Duvenaud, David},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2018}
}
"""


@dataclass(frozen=True)
class Mig(CodeMetric):
    """How far, on average over factors, the best code is ahead of the second best in telling the factor.

        MIG = mean over factors f of ( I(c1; f) - I(c2; f) ) / H(f)

    with c1 and c2 the two codes of highest mutual information I with f, each code cut into equal bins between its
    extremes; I and the entropy H are plug-in estimates in nats. 1: each factor has one code of its own; 0: none has.

    The standard error is the spread over random halves of the samples (the delete-d jackknife), bins included: their
    edges follow the extremes of a code, and where two factors share a code, the gap moves with them. Factors that
    (almost) never vary have no gap: they are left out of the mean and named in the protocol; where none varies the
    score is 0.

    Attributes:
        bins: equal bins per code.
        least_entropy: nats; a factor of less entropy in the sample counts as not varied.
        halves: how many random halves the standard error rests on; 0 for none.

    Raises:
        ValueError: fewer than two codes or two samples, codes that are not finite, or a field out of range.

    Reference:
        Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders", NeurIPS 2018; 20 bins as in
        Locatello et al., "Challenging Common Assumptions", ICML 2019.

    Example:
        >>> factors = torch.arange(12).reshape(12, 1) % 4
        >>> codes = torch.stack([factors[:, 0].double(), torch.ones(12, dtype=torch.float64)], dim=1)
        >>> Mig()(codes, factors).value
        1.0
    """

    bins: int = 20
    least_entropy: float = 0.05
    halves: int = 20

    def __post_init__(self) -> None:
        if self.bins < 2 or not 0 <= self.least_entropy < math.inf or self.halves < 0 or self.halves == 1:
            raise ValueError(
                f"Mig(bins={self.bins}, least_entropy={self.least_entropy}, halves={self.halves}): give at least 2 "
                "bins, a least entropy of 0 or more, and 0 or at least 2 halves"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The gap of ``codes`` for ``factors``; ``rng`` draws the halves."""
        table, labels = checked("Mig", codes, factors, of="a gap", least_codes=2)
        moves = varied(labels, self.least_entropy)

        def known(table: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            return information(bins(table, self.bins), labels)

        def gaps(mutual: Tensor, entropy: Tensor) -> Tensor:
            """The mean gap, and that of each factor, 0 where it does not vary."""
            top, second = mutual.topk(2, dim=0).values
            gap = torch.where(moves & (entropy > 0), (top - second) / entropy.clamp_min(1e-300), 0.0)
            return torch.cat([gap.sum(dim=0, keepdim=True) / moves.sum().clamp_min(1), gap])

        mutual, entropy = known(table, labels)
        value, *each = gaps(mutual, entropy).tolist()
        spread = spread_over_halves(lambda *half: gaps(*known(*half)), table, labels, self.halves, rng)
        error, *errors = [None] * (1 + len(labels)) if spread is None else spread
        counted = moves.tolist()
        return Score(
            value,
            stderr=error,
            n=len(table),
            name="MIG",
            protocol={
                "bins": self.bins,
                "least_entropy": self.least_entropy,
                "factors_not_varied": [i for i, yes in enumerate(counted) if not yes],
                "stderr": HALVES,
            },
            parts={
                "gap": [gap if yes else None for gap, yes in zip(each, counted, strict=True)],
                "gap_stderr": [e if yes else None for e, yes in zip(errors, counted, strict=True)],
                "best_code": mutual.argmax(dim=0).tolist(),
                "entropy": entropy.tolist(),
                "mutual_information": mutual.tolist(),
            },
        )
