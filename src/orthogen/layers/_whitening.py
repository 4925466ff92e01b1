"""Whitening by the statistics of a batch, with one backward pass for all of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["affine", "whiten"]

Root = Callable[[Tensor], Tensor]  # covariance -> its inverse root


def affine(A: Tensor, x: Tensor, shift: Tensor) -> Tensor:
    """A x + shift at every pixel. A: (groups, c, c), x: (batch, groups, c, pixels), shift: (groups, c, 1)."""
    # not a convolution, which on CUDA may round to fewer digits
    return torch.baddbmm(_each(shift, x), _each(A, x), x.flatten(0, 1)).view(x.shape)


def _each(matrix: Tensor, x: Tensor) -> Tensor:
    """The matrices of the groups, for every sample and group."""
    return matrix.expand(len(x), *matrix.shape).flatten(0, 1)


def whiten(x: Tensor, weight: Tensor, bias: Tensor, root: Root) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` whitened within groups of channels, then scaled and shifted; the mean; the whitening matrix.

        y = weight P (x - mean) + bias,   P = root(S),   S = mean of (x - mean) (x - mean)^T

    Only y carries a gradient. x: (batch, groups, c, pixels); weight, bias, mean: (groups, c, 1); P: (groups, c, c).
    """
    if torch.is_grad_enabled():
        found: tuple[Tensor, Tensor, Tensor] = _Whiten.apply(x, weight, bias, root)
        return found
    return _whitened(x, weight, bias, root)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.mean((0, 3)).unsqueeze(-1)
    centered = x - mean
    return mean, centered, _products(centered, centered) / (len(x) * x.shape[3])


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Sum over samples and pixels of a b^T."""
    return (a @ b.mT).sum(0)


def _whitened(x: Tensor, weight: Tensor, bias: Tensor, root: Root) -> tuple[Tensor, Tensor, Tensor]:
    """The formula as it stands; the second derivative comes from here."""
    mean, centered, S = _moments(x)
    P = root(S)
    return affine(weight * P, centered, bias), mean, P


class _Whiten(torch.autograd.Function):
    """The same with its gradient in closed form, which goes over the images less often than autograd would.

    With A = weight P and n values per channel, for the gradient g of y,

    dA = sum g (x - mean)^T,   dx = A^T (g - mean g) + (dS + dS^T) (x - mean) / n,   dS: that of the root for weight dA
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, root: Root) -> tuple[Tensor, Tensor, Tensor]:
        mean, centered, S = _moments(x)
        with torch.enable_grad():
            P = root(S.requires_grad_())
        ctx.save_for_backward(x, weight, bias, mean)
        ctx.root, ctx.S, ctx.P = root, S, P  # the graph between the two
        whitening = P.detach()
        ctx.mark_non_differentiable(mean, whitening)
        return affine(weight * whitening, centered, bias), mean, whitening

    @staticmethod
    def backward(ctx: Any, g: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            if torch.is_grad_enabled():  # the gradient is to be differentiated
                inputs = (x, weight, bias)
                y, _, _ = _whitened(x, weight, bias, ctx.root)
                wanted = [each for each in inputs if each.requires_grad]
                found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
                return *(next(found) if each.requires_grad else None for each in inputs), None
            g = g.contiguous()
            centered = x - mean
            dA = _products(g, centered)
            db = g.sum((0, 3)).unsqueeze(-1)
            dw = (dA * ctx.P).sum(-1, keepdim=True)
            if not ctx.needs_input_grad[0]:
                return None, dw, db, None
            (dS,) = torch.autograd.grad(ctx.P, ctx.S, weight * dA, retain_graph=True)
            n = len(x) * x.shape[3]
            At = (weight * ctx.P).mT
            dx = affine(At, g, -At @ db / n)
            dx.flatten(0, 1).baddbmm_(_each((dS + dS.mT) / n, x), centered.flatten(0, 1))
            return dx, dw, db, None
