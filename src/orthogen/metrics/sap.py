"""Separated attribute predictability: is the best single code for a factor far ahead of the second best?"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics import _linear_svm
from orthogen.metrics._codes import checked, varied

__all__ = ["Sap"]

CITATION = """\
@inproceedings{kumar2018variational,
  title     = {Variational Inference of Disentangled Latent Concepts from Unlabeled Observations},
  author    = {Kumar, Abhishek and Sattigeri, Prasanna and Balakrishnan, Avinash},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
"""

STILL = 1e-12  # a code of no more variance predicts nothing, in the continuous form
ERRORS = {
    "discrete": "spread over test samples, the classifiers held as fitted",
    "continuous": "infinitesimal jackknife over samples",
}


def _classified(
    table: Float[Tensor, "n c"], labels: Int[Tensor, "f n"], cut: int, strength: float
) -> Float[Tensor, "c f m"]:
    """Whether each code alone, in a linear classifier, finds the class of a test sample."""
    x = table.T.contiguous()
    learned = [label[:cut].bincount() > 0 for label in labels]
    classes = [(yes.cumsum(0) - 1)[label[:cut]] for yes, label in zip(learned, labels, strict=True)]
    machines = _linear_svm.fit(x[:, :cut].contiguous(), classes, strength)
    test = x[:, cut:].contiguous()
    values = [yes.nonzero()[:, 0] for yes in learned]
    found = [value[_linear_svm.predict(*machine, test)] for value, machine in zip(values, machines, strict=True)]
    return (torch.stack(found, dim=1) == labels[:, cut:]).double()


def _correlated(table: Float[Tensor, "n c"], factors: Float[Tensor, "n f"]) -> Float[Tensor, "c f n"]:
    """Squared correlations, as a number per sample whose mean they are and whose spread is their sampling error."""
    alive = table.var(dim=0) > STILL
    u, v = (x - x.mean(dim=0) for x in (table, factors))
    spread = torch.where(alive, u.square().mean(dim=0).sqrt(), torch.inf)
    u, v = (u / spread).T[:, None], (v / v.square().mean(dim=0).sqrt()).T
    r = (u * v).mean(dim=2, keepdim=True)
    return r * r + 2 * r * (u * v - r * (u * u + v * v) / 2)


@dataclass(frozen=True)
class Sap(CodeMetric):
    """How far, on average over factors, the code that predicts a factor best is ahead of the second best.

        SAP = mean over factors f of ( S[c1, f] - S[c2, f] )

    with c1 and c2 the two codes of highest S. In the discrete form S is the accuracy, on test samples, of a linear
    classifier that sees one code; in the continuous form the squared correlation of code and factor. Their values mean
    different things, and the name says which it is: on one axis a linear classifier cannot tell many values apart, so
    that a perfect code has a continuous form of 1, but a discrete form of 0.26 for factors of 3, 6, 10 and 8 values.

    The classifier is scikit-learn's ``LinearSVC`` with balanced classes: one class against the rest, squared hinge,
    intercept penalized like the weight. It learns on the first rows of the table and is tested on the others, so
    shuffle a table that is ordered; the continuous form uses every row, and the factors' values as numbers. Factors
    that (almost) never vary are left out and named in the protocol; where none varies the score is 0.

    The standard error is that of a mean over samples, in the discrete form over test samples for the given classifiers,
    in the continuous form by the first-order influence of each sample.

    Attributes:
        form: "discrete" as in the study, or "continuous".
        strength: C of the classifier; 1 / C weighs its penalty.
        train_share: share of the rows on which classifiers are learned.
        least_entropy: nats; a factor of less entropy among the rows that are learned from counts as not varied.

    Raises:
        ValueError: fewer than two samples or codes, codes that are not finite, or a field out of range.

    Reference:
        Kumar et al., "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", ICLR 2018,
        section 3; the classifier, 10 000 training and 5 000 test rows as in Locatello et al., "Challenging Common
        Assumptions", ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        >>> score = Sap(form="continuous")(factors.double(), factors)
        >>> print(score.name, round(score.value, 6))
        SAP (continuous) 1.0
    """

    form: Literal["discrete", "continuous"] = "discrete"
    strength: float = 0.01
    train_share: float = 2 / 3
    least_entropy: float = 0.05

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.strength > 0 or not 0 < self.train_share < 1:
            raise ValueError(
                f"Sap(strength={self.strength}, train_share={self.train_share}): give a positive strength and a share "
                "between 0 and 1"
            )

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The lead of the best codes in ``codes`` for ``factors``; draws nothing."""
        table, labels = checked("Sap", codes, factors, of="a lead", least_codes=2, least_factors=1)
        discrete = self.form == "discrete"
        cut = min(len(table) - 1, max(1, round(self.train_share * len(table)))) if discrete else len(table)
        moves = varied(labels[:, :cut], self.least_entropy)
        used = moves.nonzero()[:, 0].tolist()
        result: dict[str, Any] = {"value": 0.0, "stderr": 0.0}
        if used and discrete:
            result = self._leads(_classified(table, labels[used], cut, self.strength), used, len(labels))
        elif used:
            result = self._leads(_correlated(table, factors.to(table)[:, used]), used, len(labels))
        return Score(
            **result,
            n=len(table),
            name=f"SAP ({self.form})",
            protocol={
                "form": self.form,
                **({"strength": self.strength, "train_share": self.train_share} if discrete else {}),
                "least_entropy": self.least_entropy,
                "factors_not_varied": (~moves).nonzero()[:, 0].tolist(),
                "stderr": ERRORS[self.form],
            },
        )

    @staticmethod
    def _leads(each: Float[Tensor, "c f m"], used: list[int], count: int) -> dict[str, Any]:
        """Value, standard error and parts; ``each`` holds what S is the mean of."""
        matrix = each.mean(dim=2)
        first, second = matrix.topk(2, dim=0).indices
        column = torch.arange(len(used), device=each.device)
        lead = each[first, column] - each[second, column]

        def error(values: Tensor) -> Tensor:
            return (values.var(dim=-1, correction=0) / values.shape[-1]).sqrt()

        def placed(values: Tensor) -> list[Any]:
            """One entry per factor, None for those left out."""
            found = dict(zip(used, values.tolist(), strict=True))
            return [found.get(factor) for factor in range(count)]

        return {
            "value": lead.mean().item(),
            "stderr": error(lead.mean(dim=0)).item(),
            "parts": {
                "lead": placed(lead.mean(dim=1)),
                "lead_stderr": placed(error(lead)),
                "best_code": placed(first),
                "matrix": [placed(row) for row in matrix],
            },
        }
