"""Disentanglement, completeness, informativeness: which codes does a classifier of each factor look at?"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._boosting import Boosted, boost
from orthogen.metrics._codes import checked, varied
from orthogen.metrics._splits import Sorted

__all__ = ["Dci"]

CITATION = """\
@inproceedings{eastwood2018framework,
  title     = {A Framework for the Quantitative Evaluation of Disentangled Representations},
  author    = {Eastwood, Cian and Williams, Christopher K. I.},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
"""

INFLUENCE = "influence of each training sample on the gains, the trees held as grown"


def _single(rows: Float[Tensor, "a b"]) -> tuple[Float[Tensor, ""], Float[Tensor, "a"]]:
    """How far rows are from uniform, by their entropy to the base of their length: their mean by weight, and each."""
    share = rows + 1e-11
    share = share / share.sum(dim=1, keepdim=True)
    weight = rows.sum(dim=1)
    each = torch.where(weight > 0, 1 + share.xlogy(share).sum(dim=1) / math.log(rows.shape[1]), 0.0)
    return (weight * each).sum() / weight.sum().clamp_min(1e-300), each


def _importance(gain: Float[Tensor, "c f"]) -> Float[Tensor, "c f"]:
    """Shares of the codes in what the trees of each factor gained; all 0 where they gained nothing."""
    total = gain.sum(dim=0)
    return gain / torch.where(total > 0, total, 1.0)


@dataclass(frozen=True)
class Dci(CodeMetric):
    """How much each code serves to tell one factor only: disentanglement, with completeness and informativeness.

        disentanglement = sum over codes c of  w_c ( 1 - H_F(R[c, :]) ),    w_c = sum_f R[c, f] / sum R

    with R[c, f] the importance of code c to a classifier of factor f, and H_F the entropy, to the base F, of a row of R
    normalized to sum 1. Completeness is the same for columns and the base C: whether one code serves for each factor.
    Informativeness is the accuracy of the classifiers, averaged over factors. 1: each code tells one factor.

    The classifier is gradient boosting of trees as scikit-learn does by default: per round a tree for each class (one
    for two classes) fitted to the deviance's residuals, leaves by one Newton step; a code's importance is its share in
    what splits took off the squared error. Codes that split a node equally well share it, where scikit-learn draws one.
    Boosting learns on the first rows of the table and is tested on the others, so shuffle a table that is ordered.

    The standard error is that of a sum over training samples, with the residuals and the trees held as they are: a
    sample's part in the gain of a split is the squared error that it is rid of. Factors that (almost) never vary among
    the training rows are left out and named in the protocol; with fewer than two left the score is 0.

    Attributes:
        rounds: of boosting.
        depth: levels of splits in a tree.
        learning_rate: share of its Newton step that a leaf takes.
        train_share: share of the rows on which trees are learned; the others are for the test.
        least_entropy: nats; a factor of less entropy among the training rows counts as not varied.
        stderr: whether to estimate the standard error, which takes an eighth longer.

    Raises:
        ValueError: fewer than two samples, codes or factors, codes that are not finite, or a field out of range.

    Reference:
        Eastwood and Williams, "A Framework for the Quantitative Evaluation of Disentangled Representations", ICLR 2018,
        section 2; with boosted trees, 10 000 training and 5 000 test rows as in Locatello et al., "Challenging Common
        Assumptions", ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(3), torch.arange(4))[torch.arange(96) * 5 % 12]
        >>> score = Dci(rounds=10)(factors.double(), factors)
        >>> print(f"{score.value:.3f} {score.parts['informativeness_test']:.3f}")
        1.000 1.000
    """

    rounds: int = 100
    depth: int = 3
    learning_rate: float = 0.1
    train_share: float = 2 / 3
    least_entropy: float = 0.05
    stderr: bool = True

    def __post_init__(self) -> None:
        if min(self.rounds, self.depth) < 1 or not 0 < self.train_share < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"Dci(rounds={self.rounds}, depth={self.depth}, learning_rate={self.learning_rate}, "
                f"train_share={self.train_share}): give at least one round and level, a positive learning rate, and a "
                "share between 0 and 1"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The disentanglement of ``codes`` for ``factors``; draws nothing."""
        table, labels = checked("Dci", codes, factors, of="an importance", least_codes=2, least_factors=2)
        cut = min(len(table) - 1, max(1, round(self.train_share * len(table))))
        moves = varied(labels[:, :cut], self.least_entropy)
        used = moves.nonzero()[:, 0].tolist() if moves.sum() > 1 else []
        return Score(
            **(self._measured(table, labels, cut, used) if used else {"value": 0.0, "stderr": 0.0}),
            n=len(table),
            name="DCI disentanglement",
            protocol={
                "rounds": self.rounds,
                "depth": self.depth,
                "learning_rate": self.learning_rate,
                "train_share": self.train_share,
                "least_entropy": self.least_entropy,
                "factors_not_varied": (~moves).nonzero()[:, 0].tolist(),
                "stderr": INFLUENCE if self.stderr else "none",
            },
        )

    def _measured(
        self, table: Float[Tensor, "n c"], labels: Int[Tensor, "f n"], cut: int, used: list[int]
    ) -> dict[str, Any]:
        """Value, standard error and parts, from the factors in ``used``."""
        x = table.T.float()  # as in scikit-learn
        train, test, fits, correct = Sorted(x[:, :cut].contiguous()), x[:, cut:].contiguous(), [], []
        for i, factor in enumerate(used):
            known, classes = labels[factor, :cut].unique(return_inverse=True)
            fit = boost(
                train,
                classes,
                test,
                rounds=self.rounds,
                depth=self.depth,
                rate=self.learning_rate,
                with_parts=self.stderr,
                what=f"DCI, factor {i + 1} of {len(used)}",
            )
            fits.append(fit)
            correct.append(known[torch.cat([fit.fitted, fit.predicted])] == labels[factor])
        gain = torch.stack([fit.gain for fit in fits], dim=1).double()
        disentanglement, by_code, error = self._aggregate(gain, fits, of_codes=True)
        completeness, by_factor, completeness_error = self._aggregate(gain, fits, of_codes=False)
        fitted, tested = torch.stack(correct, dim=1).double().split([cut, len(table) - cut])
        per_sample = tested.mean(dim=1)

        def placed(values: Tensor) -> list[Any]:
            """One entry per factor, None for those left out."""
            found = dict(zip(used, values.tolist(), strict=True))
            return [found.get(factor) for factor in range(len(labels))]

        return {
            "value": disentanglement,
            "stderr": error,
            "parts": {
                "disentanglement": by_code.tolist(),
                "completeness": completeness,
                "completeness_stderr": completeness_error,
                "completeness_by_factor": placed(by_factor),
                "informativeness_train": fitted.mean().item(),
                "informativeness_train_by_factor": placed(fitted.mean(dim=0)),
                "informativeness_test": per_sample.mean().item(),
                "informativeness_test_stderr": (per_sample.var(correction=0) / len(per_sample)).sqrt().item(),
                "informativeness_test_by_factor": placed(tested.mean(dim=0)),
                "importance": [placed(row) for row in _importance(gain)],
            },
        }

    def _aggregate(
        self, gain: Float[Tensor, "c f"], fits: list[Boosted], *, of_codes: bool
    ) -> tuple[float, Float[Tensor, "_"], float | None]:
        """Disentanglement, or completeness: its value, that of each code or factor, and its standard error."""
        with torch.enable_grad():
            gain = gain.requires_grad_()
            importance = _importance(gain)
            value, each = _single(importance if of_codes else importance.T)
            (slope,) = torch.autograd.grad(value, gain)
        parts = [fit.parts.double().T @ slope[:, i] for i, fit in enumerate(fits) if fit.parts is not None]
        if not parts:
            return value.item(), each.detach(), None
        influence = torch.stack(parts).sum(dim=0)  # of each sample on the value, but for a constant
        return value.item(), each.detach(), (influence.var(correction=0) * len(influence)).sqrt().item()
