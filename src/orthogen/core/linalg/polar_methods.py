"""Two ways to a polar factor: by the eigenvalues of the Gram matrix, and by an iteration of matrix products alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.linalg._eigh_root import eigh_root
from orthogen.core.linalg._precision import full_precision, widened

__all__ = ["GramEigh", "PolarExpress", "PolarMethod"]

ENTRIES = 2**16  # of a part: half a megabyte of float64


@dataclass(frozen=True)
class GramEigh:
    """The polar factor by the eigenvalues of the Gram matrix, all in float64.

        polar(G) = (G G^T)^(-1/2) G      for a wide G; (polar(G^T))^T for a tall one

    A direction whose singular value is at most ``cutoff`` times the largest is left out: the factor is then a partial
    isometry, and nothing of full length is made of rounding. Squaring costs digits: for float64 the error is about
    1e-16 (s_max / s_min)²; for float32 it is the rounding of the result up to s_max / s_min = 1e4.

    The Gram matrices of all matrices of one short side go through one eigh, for which the host waits for the device.
    Differentiable once.

    Attributes:
        cutoff: the least singular value that counts, as a share of the largest.

    Raises:
        ValueError: a cut-off below 1e-7, where the Gram matrix holds rounding only, or of 1 and more.
    """

    cutoff: float = 1e-6

    def __post_init__(self) -> None:
        if not 1e-7 <= self.cutoff < 1:
            raise ValueError(f"GramEigh(cutoff={self.cutoff}): give at least 1e-7 and less than 1")

    def factor(self, G: Tensor) -> Tensor:
        """Of matrices ``(..., m, n)``; NaN throughout where one of them is not finite."""
        parts = _Parts(G)
        return parts.times(self._root(parts.gram()))

    def factors(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Of several, with one eigh for all of one short side."""
        parts = [_Parts(G) for G in matrices]
        grams = [part.gram() for part in parts]
        groups: dict[tuple[int, torch.device], list[int]] = {}
        for i, A in enumerate(grams):
            groups.setdefault((A.shape[-1], A.device), []).append(i)
        found = list(matrices)
        for (side, _), members in groups.items():
            stacks = [grams[i].reshape(-1, side, side) for i in members]
            roots = self._root(torch.cat(stacks)).split([len(stack) for stack in stacks])
            for i, R in zip(members, roots, strict=True):
                found[i] = parts[i].times(R.view_as(grams[i]))
        return found

    def _root(self, A: Tensor) -> Tensor:
        return eigh_root(A, inverse=True, ridge=0.0, cutoff=self.cutoff**2)


class _Parts:
    """A matrix cut along its long side, each part made float64 when it is used.

    On a CPU a part's doubles stay in the cache: all of them at once take three times as long. A GPU takes the whole.
    """

    def __init__(self, G: Tensor) -> None:
        self.dtype, self.wide = G.dtype, _wide(G)
        self.side = -1 if self.wide else -2
        X = _scaled(G) if G.dtype == torch.float64 else G  # of any smaller type, no square overflows in float64
        if G.numel() <= ENTRIES or not G.is_cpu:
            self.parts: Sequence[Tensor] = (X,)
        else:
            self.parts = X.split(max(512, ENTRIES * G.shape[self.side] // G.numel()), self.side)

    def gram(self) -> Tensor:
        """The products of the short side's rows with each other, in float64."""
        total = None
        for part in self.parts:
            D = part.double()
            product = D @ D.mT if self.wide else D.mT @ D
            total = product if total is None else total + product
        assert total is not None  # a matrix has at least one part
        return total

    def times(self, R: Tensor) -> Tensor:
        """R times the short side, in the matrix's own type."""
        products = [(R @ part.double() if self.wide else part.double() @ R).to(self.dtype) for part in self.parts]
        return products[0] if len(products) == 1 else torch.cat(products, self.side)


# the best odd polynomial of degree 5 for each step, where singular values lie between 1e-3 and 1 at the first
_TUNED = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_LAST = (1.875, -1.25, 0.375)  # the Newton-Schulz iteration of order 5, from there on


@dataclass(frozen=True)
class PolarExpress:
    """The polar factor by an iteration of matrix products, with the best polynomial for each step.

        X_0 = G / (s |G|_F),   X <- (a X + b (X X^T) X + c (X X^T)² X)   with (a, b, c) of the step

    The safety factor s divides (a, b, c) of the seven tuned steps by s, s³, s⁵, so that rounding above 1 does not grow:
    without it, bfloat16 overflows on every third matrix. No eigenvalues, and no wait of the host for the device.
    Differentiable as often as wanted, through its steps.

    A singular value is judged beside the Frobenius norm: from 1e-3 of it on, it reaches 1; smaller ones come out
    between 0 and 1, so that rounding in a matrix without full rank stays below 1e-3. Relative error of the factor,
    measured on 128 x 512:

        s_max / s_min        10      100     1e3     1e4
        float32, 9 steps     2e-6    2e-6    9e-6    0.13
        float32, 12 steps    2e-6    2e-6    9e-6    8e-5
        bfloat16, 9 steps    0.03    0.04    0.2     0.6

    Attributes:
        steps: of the iteration; each costs three matrix products.
        safety: s.
        dtype: what the products are made in; a float64 matrix keeps its own type with "float32".

    Raises:
        ValueError: no step, a safety factor outside 1 to 1.1, or another type.

    Reference:
        Amsel, Persson, Musco, Gower, "The Polar Express: Optimal Matrix Sign Methods and Their Application to the Muon
        Algorithm", 2025, arXiv 2505.16932.

    Example:
        >>> from orthogen.core.linalg import polar_factor
        >>> polar_factor(torch.tensor([[3.0, 0.0], [0.0, -0.5]]), PolarExpress())
        tensor([[ 1.0000,  0.0000],
                [ 0.0000, -1.0000]])
    """

    steps: int = 9
    safety: float = 1.01
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_choices(self)
        if self.steps < 1 or not 1 <= self.safety <= 1.1:
            raise ValueError(
                f"PolarExpress(steps={self.steps}, safety={self.safety}): give at least 1 step, and a safety factor "
                "from 1 to 1.1"
            )

    def factor(self, G: Tensor) -> Tensor:
        """Of matrices ``(..., m, n)``; NaN throughout where one of them is not finite."""
        if not _wide(G):
            return self.factor(G.mT).mT.contiguous()
        with full_precision(G):
            X = _scaled(widened(G)).reshape(-1, *G.shape[-2:])
            size = torch.linalg.matrix_norm(X, keepdim=True).detach()
            X = X / torch.where(size > 0, self.safety * size, 1)
            if self.dtype == "bfloat16":
                X = X.bfloat16()
            for step in range(self.steps):
                a, b, c = self._coefficients(step)
                A = X @ X.mT
                X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)
            return X.to(G.dtype).view(G.shape)

    def factors(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Of several, one by one."""
        return [self.factor(G) for G in matrices]

    def _coefficients(self, step: int) -> tuple[float, float, float]:
        if step >= len(_TUNED):
            return _LAST
        a, b, c = _TUNED[step]
        return a / self.safety, b / self.safety**3, c / self.safety**5


PolarMethod = GramEigh | PolarExpress


def _wide(G: Tensor) -> bool:
    return G.shape[-2] <= G.shape[-1]


def _scaled(X: Tensor) -> Tensor:
    """X times a power of two, which rounds nothing, so that squares of its entries neither overflow nor vanish."""
    most = -math.log2(torch.finfo(X.dtype).tiny)
    peak = torch.linalg.vector_norm(X.detach(), torch.inf, dim=(-2, -1), keepdim=True)
    return X * torch.exp2(-peak.log2().floor().clamp(-most, most))
