"""Modularity and explicitness: does each code know one factor only, and do the codes together know each factor?"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._codes import HALVES, bins, checked, information, spread_over_halves, varied
from orthogen.metrics._explicitness import explicitness

__all__ = ["Modularity"]

CITATION = """\
@inproceedings{ridgeway2018fstatistic,
  title     = {Learning Deep Disentangled Embeddings with the F-Statistic Loss},
  author    = {Ridgeway, Karl and Mozer, Michael C.},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2018}
}
"""


def _modularity(mutual: Float[Tensor, "c f"]) -> Float[Tensor, "c"]:
    """Each code's modularity; 0 where it knows nothing."""
    square = mutual.square()
    best = square.amax(dim=1)
    rest = square.sum(dim=1) - best
    return torch.where(best > 0, 1 - rest / (best.clamp_min(1e-300) * (mutual.shape[1] - 1)), 0.0)


@dataclass(frozen=True)
class Modularity(CodeMetric):
    """How much each code keeps to one factor, on average over codes; in its parts, how well codes tell each factor.

        modularity = mean over codes c of  1 - ( sum_f I(c; f)² - max_f I(c; f)² ) / ( (F - 1) max_f I(c; f)² )

    with I(c; f) the mutual information, in nats, of code c, cut into equal bins between its extremes, with factor f of
    F. A code without information counts as 0, so constant codes lower the mean; one of noise counts as what its
    accidental information happens to be. 1: each code knows one factor.

    Explicitness of a factor is the area under the ROC curve, one value against the rest, averaged over values, of
    multinomial logistic regression on codes of mean 0 and variance 1: 1 if they tell it, 0.5 by chance. It is learned
    on random rows of the table and tested on the others. Its standard error, in the parts, is that of the area over
    test rows (DeLong et al., 1988), with the classifiers as they are.

    The standard error of modularity is the spread over random halves of the samples (the delete-d jackknife), bins
    included; of some hundred samples it is up to half too large, as their halves know less. Factors that (almost) never
    vary are left out and named in the protocol; with fewer than two left the score is 0.

    Attributes:
        bins: equal bins per code.
        train_share: share of the rows on which explicitness is learned.
        strength: C of the classifier, whose penalty is |W|² / (2 C); 1 is scikit-learn's default.
        explicitness: whether to learn it; most of the time goes there.
        least_entropy: nats; a factor of less entropy in the sample counts as not varied.
        halves: how many random halves the standard error rests on; 0 for none.

    Raises:
        ValueError: fewer than two samples or factors, codes that are not finite, or a field out of range.

    Reference:
        Ridgeway and Mozer, "Learning Deep Disentangled Embeddings with the F-Statistic Loss", NeurIPS 2018, section 2;
        with the mean over codes, 20 bins, and 10 000 training and 5 000 test rows as in Locatello et al., "Challenging
        Common Assumptions", ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5))
        >>> Modularity()(factors.double(), factors).value
        1.0
    """

    bins: int = 20
    train_share: float = 2 / 3
    strength: float = 1.0
    explicitness: bool = True
    least_entropy: float = 0.05
    halves: int = 20

    def __post_init__(self) -> None:
        if (
            self.bins < 2
            or not 0 < self.train_share < 1
            or not 0 < self.strength < math.inf
            or not 0 <= self.least_entropy < math.inf
            or self.halves < 0
            or self.halves == 1
        ):
            raise ValueError(
                f"Modularity(bins={self.bins}, train_share={self.train_share}, strength={self.strength}, "
                f"least_entropy={self.least_entropy}, halves={self.halves}): give at least 2 bins, a share between 0 "
                "and 1, a positive strength, a least entropy of 0 or more, and 0 or at least 2 halves"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The modularity of ``codes`` for ``factors``; ``rng`` draws the halves, and the rows to learn from."""
        rng = randomness.private() if rng is None else rng
        table, labels = checked("Modularity", codes, factors, least_factors=2)
        moves = varied(labels, self.least_entropy)

        def each(table: Tensor, labels: Tensor) -> Tensor:
            """The mean over codes, and every code's."""
            value = table.new_zeros(table.shape[1])
            if moves.sum() > 1:
                value = _modularity(information(bins(table, self.bins), labels[moves])[0])
            return torch.cat([value.mean(dim=0, keepdim=True), value])

        mean, *values = each(table, labels).tolist()
        spread = spread_over_halves(each, table, labels, self.halves, rng)
        error, *errors = [None] * (1 + len(values)) if spread is None else spread
        parts: dict[str, Any] = {"modularity": values, "modularity_stderr": errors}
        if self.explicitness:
            order = torch.randperm(len(table), generator=rng, device=rng.device).to(table.device)
            cut = min(len(table) - 1, max(1, round(self.train_share * len(table))))
            parts |= explicitness(table[order], labels[:, order], moves, cut, self.strength)
        return Score(
            mean,
            stderr=error,
            n=len(table),
            name="Modularity",
            protocol={
                "bins": self.bins,
                "train_share": self.train_share,
                "strength": self.strength,
                "explicitness": self.explicitness,
                "least_entropy": self.least_entropy,
                "factors_not_varied": (~moves).nonzero()[:, 0].tolist(),
                "stderr": HALVES,
            },
            parts=parts,
        )
