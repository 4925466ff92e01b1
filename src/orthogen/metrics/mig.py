"""Mutual information gap: does one code, and only one, tell each factor?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.kinds import CodeMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int

__all__ = ["Mig"]


def _bins(codes: Float[Tensor, "n c"], count: int) -> Int[Tensor, "c n"]:
    """Bin of each value among ``count`` equal ones between its code's extremes; a left edge belongs to its bin."""
    values = codes.detach().cpu().double().T.contiguous()
    low, high = values.min(dim=1, keepdim=True).values, values.max(dim=1, keepdim=True).values
    edges = low + torch.arange(count, dtype=torch.float64) * ((high - low) / count)
    return torch.searchsorted(edges, values, right=True) - 1


def _classes(factors: Int[Tensor, "n f"]) -> Int[Tensor, "f n"]:
    """Each factor's values renumbered 0, 1, ..."""
    columns = factors.detach().cpu().unbind(dim=1)
    return torch.stack([torch.unique(column, return_inverse=True)[1] for column in columns])


def _log_ratio(joint: Float[Tensor, "c f b v"]) -> Float[Tensor, "c f b v"]:
    """The logarithm of p(a, b) / (p(a) p(b)), 0 where p(a, b) is 0."""
    apart = joint.sum(dim=3, keepdim=True) * joint.sum(dim=2, keepdim=True)
    return torch.where(joint > 0, (joint / apart.clamp_min(1e-300)).clamp_min(1e-300).log(), 0.0)


@dataclass(frozen=True)
class Mig(CodeMetric):
    """How far, on average over factors, the best code is ahead of the second best in telling the factor.

        MIG = mean over factors f of ( I(c1; f) - I(c2; f) ) / H(f)

    with c1 and c2 the two codes of highest mutual information I with f, each code cut into equal bins between its
    extremes; I and the entropy H are plug-in estimates in nats. 1: each factor has one code of its own; 0: none has.

    The standard error is the infinitesimal jackknife over samples: with psi(x) the first-order influence of sample x
    on the score, sqrt(mean psi^2 / n). Factors that (almost) never vary have no gap: they are left out of the mean and
    named in the protocol; where none varies the score is 0.

    Attributes:
        bins: equal bins per code.
        least_entropy: nats; a factor of less entropy in the sample counts as not varied.

    Raises:
        ValueError: fewer than two codes or two samples, codes that are not finite, or fewer than two bins.

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

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"Mig(bins={self.bins}): cut each code into at least 2 bins")

    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The gap of ``codes`` for ``factors``; draws nothing."""
        n, count = codes.shape
        if count < 2 or n < 2:
            raise ValueError(f"Mig was given {n} samples of {count} codes; a gap needs at least 2 of each")
        if not codes.isfinite().all():
            raise ValueError("Mig was given codes that are not finite; remove those rows")
        a, b = _bins(codes, self.bins), _classes(factors)
        width = int(b.max()) + 1
        pair = a[:, None] * width + b[None]  # (c, f, n)
        table = torch.zeros(*pair.shape[:2], self.bins * width, dtype=torch.float64)
        joint = table.scatter_add_(2, pair, torch.ones(pair.shape, dtype=torch.float64)) / n
        ratio = _log_ratio(joint.unflatten(2, (self.bins, width))).flatten(2)
        information = (joint * ratio).sum(dim=2).clamp_min(0.0)  # (c, f)

        share = joint[0].unflatten(1, (self.bins, width)).sum(dim=1)  # (f, v)
        surprise = -torch.where(share > 0, share.clamp_min(1e-300).log(), 0.0)
        entropy = (share * surprise).sum(dim=1)
        varied = entropy >= max(self.least_entropy, 1e-12)

        (top, second), order = information.topk(2, dim=0)
        safe = torch.where(varied, entropy, 1.0)
        gap = torch.where(varied, (top - second) / safe, 0.0)
        influence = self._influence(ratio, pair, surprise, b, order, top - second, safe)  # (f, n)
        each = influence.square().mean(dim=1).div(n).sqrt()
        mean = influence[varied].mean(dim=0) if varied.any() else torch.zeros(n, dtype=torch.float64)
        return Score(
            gap[varied].mean().item() if varied.any() else 0.0,
            stderr=(mean.square().mean() / n).sqrt().item(),
            n=n,
            name="MIG",
            protocol={
                "bins": self.bins,
                "least_entropy": self.least_entropy,
                "factors_not_varied": [i for i, yes in enumerate(varied.tolist()) if not yes],
                "stderr": "infinitesimal jackknife over samples",
            },
            parts={
                "gap": [g if yes else None for g, yes in zip(gap.tolist(), varied.tolist(), strict=True)],
                "gap_stderr": [e if yes else None for e, yes in zip(each.tolist(), varied.tolist(), strict=True)],
                "best_code": order[0].tolist(),
                "entropy": entropy.tolist(),
                "mutual_information": information.tolist(),
            },
        )

    @staticmethod
    def _influence(
        ratio: Float[Tensor, "c f cells"],
        pair: Int[Tensor, "c f n"],
        surprise: Float[Tensor, "f v"],
        b: Int[Tensor, "f n"],
        order: Int[Tensor, "2 f"],
        ahead: Float[Tensor, "f"],
        entropy: Float[Tensor, "f"],
    ) -> Float[Tensor, "f n"]:
        """First-order effect of each sample on each factor's gap: d(u/h) = (psi_u - (u/h) psi_h) / h."""
        rows = torch.arange(len(b))
        first, second = (ratio[code, rows].gather(1, pair[code, rows]) for code in order)
        psi_u = first - second - ahead[:, None]
        psi_h = surprise.gather(1, b) - entropy[:, None]
        return (psi_u - (ahead / entropy)[:, None] * psi_h) / entropy[:, None]
