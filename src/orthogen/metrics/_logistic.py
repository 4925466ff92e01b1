"""Multinomial logistic regression and the area under the ROC curve, as scores of codes use them."""

from collections.abc import Callable

import torch
from torch import Tensor

from orthogen.core.shapes import Float, Int

__all__ = ["auc", "fit"]

FEW = 600  # unknowns up to which the Hessian is formed and factored
BLOCK = 2**20  # numbers at a time when it is


def fit(
    x: Float[Tensor, "n d"], labels: Int[Tensor, "n"], strength: float = 1.0
) -> Callable[[Float[Tensor, "m d"]], Float[Tensor, "m k"]]:
    """Class probabilities, as a function of features, that minimize the penalized cross-entropy

        J(W, b) = sum_i -log softmax(W x_i + b)[labels_i] + |W|² / (2 C)

    by Newton's method, on every 16th sample first, which leaves little to do on all. With two classes it is
    |w_1 - w_0|² that is penalized, as in scikit-learn, whose default is C = 1.

    Args:
        x: features.
        labels: classes 0, 1, ..., at least two of them.
        strength: C; the larger, the weaker the penalty.
    """
    count = int(labels.max()) + 1
    columns = _with_one(x)
    wanted = (labels == torch.arange(count, device=x.device)[:, None]).to(columns)
    ridge = columns.new_full((count, len(columns)), (2.0 if count == 2 else 1.0) / strength)
    ridge[:, -1] = 0.0
    w = torch.zeros_like(ridge)
    for every, gain in ((16, 1e-2), (4, 1e-2), (1, 1e-5)):
        w = _descend(columns[:, ::every].contiguous(), wanted[:, ::every], ridge / every, w, gain)
    return lambda features: (w @ _with_one(features)).softmax(dim=0).T


def _with_one(x: Float[Tensor, "n d"]) -> Float[Tensor, "d1 n"]:
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1).double().T.contiguous()


def _descend(
    x: Float[Tensor, "d n"],
    wanted: Float[Tensor, "k n"],
    ridge: Float[Tensor, "k d"],
    w: Float[Tensor, "k d"],
    gain: float,
) -> Float[Tensor, "k d"]:
    """Newton steps from ``w``, halved where a whole one does not descend, up to one that gains less per sample."""

    def objective(w: Tensor) -> tuple[Tensor, Tensor]:
        log_p = (w @ x).log_softmax(dim=0)
        return 0.5 * (ridge * w.square()).sum() - (wanted * log_p).sum(), log_p

    solve = _factored if w.numel() <= FEW else _conjugate
    value, log_p = objective(w)
    for _ in range(100):  # a handful is the rule
        p = log_p.exp()
        gradient = (p - wanted) @ x.T + ridge * w
        step = -solve(x, p, ridge, gradient)
        slope = (gradient * step).sum()
        ahead, log_p = objective(w + step)
        while ahead > value + 1e-4 * slope and slope < -1e-12 * value:
            step, slope = step / 2, slope / 2
            ahead, log_p = objective(w + step)
        w, value = w + step, ahead
        if -slope <= 2 * gain * x.shape[1]:
            break
    return w


def _factored(
    x: Float[Tensor, "d n"], p: Float[Tensor, "k n"], ridge: Float[Tensor, "k d"], right: Float[Tensor, "k d"]
) -> Float[Tensor, "k d"]:
    """The solution of H s = right, H formed: its block (i, j) is the sum over samples of p_i (1[i=j] - p_j) x x^T."""
    count, d = ridge.shape
    matrix = torch.zeros(count * d, count * d, device=x.device)  # single precision will do: H only shapes the step
    same = torch.zeros(count * d, d, device=x.device)
    columns = max(1, BLOCK // (count * d))
    p = torch.where(p > 1e-15, p, 0.0)  # products of smaller ones are denormal, on which processors are slow
    for q, z in zip(p.float().split(columns, dim=1), x.float().split(columns, dim=1), strict=True):
        weighted = (q[:, None] * z).flatten(0, 1)
        matrix -= weighted @ weighted.T
        same += weighted @ z.T
    hessian = matrix.to(x).view(count, d, count, d)
    hessian.diagonal(dim1=0, dim2=2).add_(same.to(x).view(count, d, d).permute(1, 2, 0))
    # adding one number to all offsets changes nothing: the one direction in which H is flat
    hessian[:, -1, :, -1] += x.shape[1] / count**2
    return torch.linalg.solve(hessian.view(count * d, count * d) + ridge.flatten().diag(), right.flatten()).view_as(
        right
    )


def _conjugate(
    x: Float[Tensor, "d n"], p: Float[Tensor, "k n"], ridge: Float[Tensor, "k d"], right: Float[Tensor, "k d"]
) -> Float[Tensor, "k d"]:
    """The same without forming H, by conjugate gradients to a thousandth of the right side."""
    solution, left = torch.zeros_like(right), right.clone()
    scale = (p * (1 - p)) @ x.square().T + ridge + 1e-12  # H's diagonal
    direction = conditioned = left / scale
    norm = (left * conditioned).sum()
    goal = 1e-6 * norm
    for _ in range(right.numel()):
        u = p * (direction @ x)
        image = (u - p * u.sum(dim=0)) @ x.T + ridge * direction
        size = norm / (direction * image).sum()
        solution, left = solution + size * direction, left - size * image
        conditioned = left / scale
        before, norm = norm, (left * conditioned).sum()
        if norm <= goal:
            break
        direction = conditioned + (norm / before) * direction
    return solution


def auc(scores: Float[Tensor, "n k"], labels: Int[Tensor, "n"]) -> Float[Tensor, "k"]:
    """Area under the ROC curve of each class against the rest, by ranks, ties counted half; nan without both."""
    values, order = scores.T.sort(dim=1)
    n = values.shape[1]
    place = torch.arange(n, device=scores.device).expand_as(values)
    new = torch.ones_like(values, dtype=torch.bool)
    new[:, 1:] = values[:, 1:] != values[:, :-1]
    first = torch.where(new, place, 0).cummax(dim=1).values
    last = torch.where(new.roll(-1, dims=1), place, n - 1).flip(1).cummin(dim=1).values.flip(1)
    rank = (first + last).double() / 2 + 1
    positive = labels[order] == torch.arange(len(values), device=scores.device)[:, None]
    count = positive.sum(dim=1)
    above = (rank * positive).sum(dim=1) - count * (count + 1) / 2
    return above / (count * (n - count))
