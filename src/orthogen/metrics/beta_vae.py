"""BetaVAE score: does the mean difference of pairs tell a linear classifier which factor they share?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics import _logistic
from orthogen.metrics._codes import checked, deviation, varied
from orthogen.metrics._groups import Groups, error_of_share, scored

__all__ = ["BetaVaeScore"]

CITATION = """\
@inproceedings{higgins2017betavae,
  title     = {beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework},
  author    = {Higgins, Irina and Matthey, Loic and Pal, Arka and Burgess, Christopher and Glorot, Xavier and
               Botvinick, Matthew and Mohamed, Shakir and Lerchner, Alexander},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2017}
}
"""

CACHED = 2**17  # numbers gathered at a time: few enough to stay in a processor's cache


def differences(codes: Float[Tensor, "n c"], pairs: Int[Tensor, "2 k batch"]) -> Float[Tensor, "k c"]:
    """The mean absolute difference of each code over the pairs of rows of each point."""
    at_once = CACHED // (pairs.shape[2] * codes.shape[1]) + 1
    means = []
    for one, other in zip(*(rows.split(at_once) for rows in pairs), strict=True):
        apart = codes.index_select(0, one.flatten()).sub_(codes.index_select(0, other.flatten())).abs_()
        means.append(apart.view(*one.shape, -1).mean(dim=1))
    return torch.cat(means)


@dataclass(frozen=True)
class BetaVaeScore(CodeMetric):
    """Accuracy of a linear classifier that is shown how much each code differs in pairs that share one factor.

    A point: a factor k is drawn, and pairs of rows (r, s) of the table with the same value of k in each pair,

        x = mean over pairs of | codes[r] - codes[s] |

    Multinomial logistic regression learns k from x on the training points; the score is its accuracy on the test
    points. 1: which factor was shared can be told, also by codes that rotate or repeat the factors; 1 / factors:
    chance. Where no code varies the score is 0 (the released code gives chance). As the classifier's penalty is in the
    codes' unit, very small codes score lower.

    The standard error covers test points and table, with the classifier as it is: the binomial error of the test
    points, times how much more their accuracy varies between ten disjoint tenths of the table than that of independent
    points would; None where a tenth has no two rows of equal value. Factors that (almost) never vary are left out and
    named in the protocol; with fewer than two left the score is 0.

    Attributes:
        train: training points.
        test: test points.
        batch: pairs per point; a pair is two different rows, drawn with replacement.
        strength: C of the classifier, whose penalty is |W|² / (2 C); 1 is scikit-learn's default.
        least_entropy: nats; a factor of less entropy in the sample counts as not varied.

    Raises:
        ValueError: fewer than two samples or factors, codes that are not finite, a factor of which no two rows share a
            value, or a field out of range.

    Reference:
        Higgins et al., "beta-VAE", ICLR 2017, section 3; counts and classifier as in Locatello et al., "Challenging
        Common Assumptions", ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5)).repeat(5, 1)
        >>> BetaVaeScore(train=200, test=100)(factors.double(), factors).value
        1.0
    """

    train: int = 10_000
    test: int = 5_000
    batch: int = 64
    strength: float = 1.0
    least_entropy: float = 0.05

    def __post_init__(self) -> None:
        if (
            min(self.train, self.test, self.batch) < 1
            or not 0 < self.strength < math.inf
            or not 0 <= self.least_entropy < math.inf
        ):
            raise ValueError(
                f"BetaVaeScore(train={self.train}, test={self.test}, batch={self.batch}, strength={self.strength}, "
                f"least_entropy={self.least_entropy}): give at least 1 point of each kind, 1 pair, a positive strength "
                "and a least entropy of 0 or more"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The score of ``codes`` for ``factors``, on pairs drawn from this table."""
        rng = randomness.private() if rng is None else rng
        table, labels = checked("BetaVaeScore", codes, factors, least_factors=2)
        moves, alive = varied(labels, self.least_entropy), deviation(table) > 0
        kept = moves.nonzero()[:, 0]
        found: tuple[float, float, float | None] = (0.0, 0.0, 0.0)
        if len(kept) > 1 and alive.any():
            found = self._classify((table - table.mean(dim=0))[:, alive], labels[kept], kept, rng)
        train, test, stderr = found
        return Score(
            test,
            stderr=stderr,
            n=len(table),
            name="BetaVAE score",
            protocol={
                "train": self.train,
                "test": self.test,
                "batch": self.batch,
                "strength": self.strength,
                "least_entropy": self.least_entropy,
                "factors_not_varied": (~moves).nonzero()[:, 0].tolist(),
                "stderr": "binomial over test points, times their overdispersion between disjoint tenths of the table",
            },
            parts={"train_accuracy": train, "chance": 1 / max(1, len(kept)), "varying_codes": int(alive.sum())},
        )

    def _classify(
        self, table: Float[Tensor, "n c"], labels: Int[Tensor, "f n"], numbers: Int[Tensor, "f"], rng: torch.Generator
    ) -> tuple[float, float, float | None]:
        """Accuracy in training and test, and the latter's error, for factors called by these numbers."""
        groups = Groups.of(labels)
        groups.check("BetaVaeScore", numbers)

        table = table.float()  # gathered many times, and precise enough

        def draw(groups: Groups, count: int) -> tuple[Tensor, Tensor]:
            return scored(groups.pairs, lambda pairs: differences(table, pairs), count, self.batch, rng)

        factor, x = draw(groups, self.train)
        drawn, classes = factor.unique(return_inverse=True)  # of a few points, a factor may not be drawn
        probability = _logistic.fit(x, classes, self.strength) if len(drawn) > 1 else None

        def share(x: Tensor, factor: Tensor) -> Tensor:
            guess = drawn[probability(x).argmax(dim=1)] if probability is not None else drawn
            return (guess == factor).double().mean()

        def right(groups: Groups, count: int) -> Tensor:
            factor, x = draw(groups, count)
            return share(x, factor)

        test = right(groups, self.test).item()
        return (share(x, factor).item(), test, error_of_share(test, labels, right, self.test, rng))
