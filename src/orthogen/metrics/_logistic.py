"""Multinomial logistic regression, as scores of codes use it."""

from collections.abc import Callable

import torch
from torch import Tensor

from orthogen.core.rng import generator
from orthogen.core.shapes import Float, Int

__all__ = ["fit"]

FEW = 600  # unknowns up to which the Hessian is formed and factored
BLOCK = 2**20  # numbers at a time when it is
SINGLE = 1e-7  # a share of the Hessian's diagonal that is rounding in single precision
LEAST = 1e-30  # a feature of less deviation is constant


def fit(
    x: Float[Tensor, "n d"], labels: Int[Tensor, "n"], strength: float = 1.0
) -> Callable[[Float[Tensor, "m d"]], Float[Tensor, "m k"]]:
    """Class probabilities, as a function of features, that minimize the penalized cross-entropy

        J(W, b) = sum_i -log softmax(W x_i + b)[labels_i] + |W|² / (2 C)

    by Newton's method, on a sixteenth of the samples first, which leaves little to do on all. With two classes it is
    |w_1 - w_0|² that is penalized, as in scikit-learn, whose default is C = 1.

    Args:
        x: features, of any offset and scale: they are solved for with mean 0 and variance 1, the penalty scaled along.
        labels: classes 0, 1, ..., at least two of them.
        strength: C; the larger, the weaker the penalty.
    """
    count, center = int(labels.max()) + 1, x.double().mean(dim=0)
    unit = (x - center).square().mean(dim=0).sqrt().clamp_min(LEAST)

    def columns(features: Tensor) -> Tensor:
        z = (features - center) / unit
        return torch.cat([z, z.new_ones(len(z), 1)], dim=1).T.contiguous()

    # some rows of a table in order may lack a class, and its offset would run away
    order = torch.randperm(len(x), generator=generator("rows of a logistic regression")).to(x.device)
    rows = columns(x[order])
    wanted = (labels[order] == torch.arange(count, device=x.device)[:, None]).to(rows)
    ridge = rows.new_full((count, len(rows)), (2.0 if count == 2 else 1.0) / strength)
    ridge[:, :-1] /= unit.square()
    ridge[:, -1] = 0.0
    w = torch.zeros_like(ridge)
    for part in (16, 4):
        n = len(x) // part
        if wanted[:, :n].any(dim=1).all():
            w = _descend(rows[:, :n].contiguous(), wanted[:, :n], ridge / part, w, gain=1e-2)
    w = _descend(rows, wanted, ridge, w, gain=1e-5)
    return lambda features: (w @ columns(features)).softmax(dim=0).T


def _descend(
    x: Float[Tensor, "d n"],
    wanted: Float[Tensor, "k n"],
    ridge: Float[Tensor, "k d"],
    w: Float[Tensor, "k d"],
    gain: float,
) -> Float[Tensor, "k d"]:
    """Newton steps from ``w``, halved where a whole one does not descend, up to one that promises less per sample."""

    def objective(w: Tensor) -> tuple[Tensor, Tensor]:
        log_p = (w @ x).log_softmax(dim=0)
        return 0.5 * (ridge * w.square()).sum() - (wanted * log_p).sum(), log_p

    n = x.shape[1]
    solve = _factored if w.numel() <= FEW else _conjugate
    value, log_p = objective(w)
    for _ in range(100):  # a handful is the rule
        p = log_p.exp()
        gradient = (p - wanted) @ x.T + ridge * w
        step = -solve(x, p, ridge, gradient)
        promised = slope = (gradient * step).sum()
        ahead, log_p = objective(w + step)
        while not ahead <= value + 1e-4 * slope:  # nor nan
            if not -slope > 1e-12 * (value + n):  # no step descends by more than rounding
                return w
            step, slope = step / 2, slope / 2
            ahead, log_p = objective(w + step)
        w, value = w + step, ahead
        if -promised <= 2 * gain * n:
            break
    return w


def _factored(
    x: Float[Tensor, "d n"], p: Float[Tensor, "k n"], ridge: Float[Tensor, "k d"], right: Float[Tensor, "k d"]
) -> Float[Tensor, "k d"]:
    """The solution of H s = right, H formed: its block (i, j) is the sum over samples of p_i (1[i=j] - p_j) x x^T.

    Single precision will do, as H only shapes the step. Where it leaves H indefinite, and the step might ascend, the
    diagonal is raised until it is not (Levenberg, 1944).
    """
    count, d = ridge.shape
    matrix = torch.zeros(count * d, count * d, device=x.device)
    same = torch.zeros(count * d, d, device=x.device)
    columns = max(1, BLOCK // (count * d))
    p = torch.where(p > 1e-15, p, 0.0)  # products of smaller ones are denormal, on which processors are slow
    for q, z in zip(p.float().split(columns, dim=1), x.float().split(columns, dim=1), strict=True):
        weighted = (q[:, None] * z).flatten(0, 1)
        matrix -= weighted @ weighted.T
        same += weighted @ z.T
    blocks = matrix.to(x).view(count, d, count, d)
    blocks.diagonal(dim1=0, dim2=2).add_(same.to(x).view(count, d, d).permute(1, 2, 0))
    # adding one number to all offsets changes nothing: the one direction in which H is flat
    blocks[:, -1, :, -1] += x.shape[1] / count**2
    hessian = blocks.view(count * d, count * d) + ridge.flatten().diag()
    diagonal = hessian.diagonal().clamp_min(SINGLE * x.shape[1])
    raised = SINGLE
    factor, failed = torch.linalg.cholesky_ex(hessian)
    while failed and raised < 1e6:
        factor, failed = torch.linalg.cholesky_ex(hessian + (raised * diagonal).diag())
        raised *= 100
    return torch.cholesky_solve(right.flatten()[:, None], factor).view_as(right)


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
        curvature = (direction * image).sum()
        if not curvature > 0:  # but for rounding
            break
        size = norm / curvature
        solution, left = solution + size * direction, left - size * image
        conditioned = left / scale
        before, norm = norm, (left * conditioned).sum()
        if norm <= goal:
            break
        direction = conditioned + (norm / before) * direction
    return solution
