"""FactorVAE score: does the code that varies least tell which factor was held fixed?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._codes import checked, deviation, varied
from orthogen.metrics._groups import Groups, error_of_share, scored

__all__ = ["FactorVaeScore"]

CITATION = """\
@inproceedings{kim2018factorvae,
  title     = {Disentangling by Factorising},
  author    = {Kim, Hyunjik and Mnih, Andriy},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2018}
}
"""

SAME = 1e-5  # a share of a code's variance that may be rounding, so that equal codes tie as they should


def moments(codes: Float[Tensor, "n c"], std: Float[Tensor, "c"]) -> Float[Tensor, "n 2*c"]:
    """Codes of mean 0 and variance 1, and their squares; single precision is several times as fast, and enough."""
    z = (codes - codes.mean(dim=0)) / std
    return torch.cat([z, z.square()], dim=1).float()


def steadiest(moments: Float[Tensor, "n m"], rows: Int[Tensor, "k batch"]) -> Int[Tensor, "k"]:
    """The code that varies least, in units of its variance on the table, in each batch of rows; the first of equals."""
    mean, square = torch.nn.functional.embedding_bag(rows, moments, mode="mean").chunk(2, dim=1)
    variance = square - mean.square()
    return torch.where(variance > SAME, variance, 0.0).argmin(dim=1)


@dataclass(frozen=True, eq=False)
class _Votes:
    """Training votes of each code for each factor, the shares that are right in training and test, and the error."""

    votes: Float[Tensor, "f a"]
    train: float
    test: float
    stderr: float | None


@dataclass(frozen=True)
class FactorVaeScore(CodeMetric):
    """How often the code that varies least in a batch tells which factor the batch has in common.

    A vote: a factor k is drawn, and a batch of rows of the table that have one value of k; the code with

        a = argmin over active codes c of  Var_batch(c) / Var_table(c)

    votes for k. The training votes give each code the factor it votes for most often; the score is the share of the
    test votes that this names right. 1: each factor has codes of its own, even several, or parts of a rotation;
    1 / factors: chance, or somewhat more on a small table, which training and test votes share. No active code: 0.

    The standard error covers test votes and table: the binomial error of the test votes, times how much more their
    share varies between ten disjoint tenths of the table than independent votes would; None where a tenth has no two
    rows of equal value. Factors that (almost) never vary are left out and named in the protocol; with fewer than
    two left the score is 0.

    Attributes:
        train: training votes.
        test: test votes.
        batch: rows per vote, drawn with replacement; the value is that of a random row that is not alone in it.
        active_std: standard deviation, in the codes' unit, from which on a code is active; 0 is the released default.
            A constant code is never active (the original divides by its zero variance and always picks it).
        least_entropy: nats; a factor of less entropy in the sample counts as not varied.

    Raises:
        ValueError: fewer than two samples or factors, codes that are not finite, a factor of which no two rows share a
            value, or a field out of range.

    Reference:
        Kim and Mnih, "Disentangling by Factorising", ICML 2018, section 4; counts and threshold as in Locatello et al.,
        "Challenging Common Assumptions", ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5)).repeat(5, 1)
        >>> FactorVaeScore(train=200, test=100)(factors.double(), factors).value
        1.0
    """

    train: int = 10_000
    test: int = 5_000
    batch: int = 64
    active_std: float = 0.05
    least_entropy: float = 0.05

    def __post_init__(self) -> None:
        if (
            min(self.train, self.test) < 1
            or self.batch < 2
            or not 0 <= self.active_std < math.inf
            or not 0 <= self.least_entropy < math.inf
        ):
            raise ValueError(
                f"FactorVaeScore(train={self.train}, test={self.test}, batch={self.batch}, "
                f"active_std={self.active_std}, least_entropy={self.least_entropy}): give at least 1 vote of each "
                "kind, batches of 2, and a standard deviation and a least entropy of 0 or more"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The score of ``codes`` for ``factors``, on votes drawn from this table."""
        rng = randomness.private() if rng is None else rng
        table, labels = checked("FactorVaeScore", codes, factors, least_factors=2)
        moves, std = varied(labels, self.least_entropy), deviation(table)
        active = (std >= self.active_std) & (std > 0)
        kept, used = moves.nonzero()[:, 0], active.nonzero()[:, 0]
        found = _Votes(table.new_zeros(len(kept), len(used)), 0.0, 0.0, 0.0)
        if len(kept) > 1 and len(used):
            found = self._vote(moments(table[:, used], std[used]), labels[kept], kept, rng)
        return Score(
            found.test,
            stderr=found.stderr,
            n=len(table),
            name="FactorVAE score",
            protocol={
                "train": self.train,
                "test": self.test,
                "batch": self.batch,
                "active_std": self.active_std,
                "least_entropy": self.least_entropy,
                "factors_not_varied": (~moves).nonzero()[:, 0].tolist(),
                "stderr": "binomial over test votes, times their overdispersion between disjoint tenths of the table",
            },
            parts={
                "train_accuracy": found.train,
                "chance": 1 / max(1, len(kept)),
                "active": len(used),
                "active_codes": used.tolist(),
                "voted_factors": kept.tolist(),
                "votes": found.votes.long().tolist(),
                "std": std.tolist(),
            },
        )

    def _vote(
        self, table: Float[Tensor, "n m"], labels: Int[Tensor, "f n"], numbers: Int[Tensor, "f"], rng: torch.Generator
    ) -> "_Votes":
        """Training and test votes of active codes, given by their moments, for factors called by these numbers."""
        groups = Groups.of(labels)
        groups.check("FactorVaeScore", numbers)

        def draw(groups: Groups, count: int) -> tuple[Tensor, Tensor]:
            return scored(groups.batches, lambda rows: steadiest(table, rows), count, self.batch, rng)

        votes = table.new_zeros(len(labels), table.shape[1] // 2)
        votes.index_put_(draw(groups, self.train), table.new_ones(()), accumulate=True)
        meaning = votes.argmax(dim=0)

        def right(groups: Groups, count: int) -> Tensor:
            factor, code = draw(groups, count)
            return (meaning[code] == factor).double().mean()

        share = right(groups, self.test).item()
        return _Votes(
            votes,
            votes.amax(dim=0).sum().item() / self.train,
            share,
            error_of_share(share, labels, right, self.test, rng),
        )
