"""Power iteration on many small matrices at once, and what is remembered of it between steps."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float, Int

__all__ = ["Memory", "differentiable_once", "iterated", "released"]

_TINY = 1e-15  # beside squares of singular values, of which float32 can still take the root of a sum of squares
_RELEASED_EPS = 1e-3  # a vector shorter than this was not brought to length 1


class Memory(nn.Module):
    """Class weights, and for each width of layers the left vectors ``(tables, classes, n_g)``; all of it buffers.

    Args:
        weights: of the classes.
        shapes: (tables, n_g) by width, of the vectors that are to be remembered, which start at random.
        orders: (tables, channels) by width, permutations of the channels.
    """

    weights: Tensor

    def __init__(
        self,
        weights: Float[Tensor, "classes"],
        shapes: Mapping[int, tuple[int, int]],
        orders: Mapping[int, Int[Tensor, "tables c"]],
    ) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        for width, (tables, groups) in shapes.items():
            start = torch.randn(tables, len(weights), groups)
            self.register_buffer(f"u{width}", nn.functional.normalize(start, dim=-1).to(weights.device))
        for width, order in orders.items():
            self.register_buffer(f"order{width}", order.to(weights.device))

    @property
    def shuffled(self) -> bool:
        """Whether there are orders of channels."""
        return any(name.startswith("order") for name in self._buffers)

    def check(self, classes: int, width: int, shape: tuple[int, int] | None, shuffled: bool) -> None:
        """Refuse a generator, or a penalty, that this is not the memory of.

        Raises:
            ValueError: it has other classes, or other layers, or shuffles channels where this knows no order, or not.
        """
        if classes != len(self.weights):
            raise ValueError(
                f"the memory is of {len(self.weights)} classes and the generator has {classes}; make a new one by "
                "init(generator, data)"
            )
        kept = self._buffers.get(f"u{width}")
        if shape is not None and (kept is None or (len(kept), kept.shape[2]) != shape):
            raise ValueError(
                f"the memory knows other layers than those of {width} channels that the generator has; make a new one "
                "by init(generator, data)"
            )
        if shuffled != self.shuffled:
            raise ValueError(
                f"the memory was made {_with(self.shuffled)} shuffle, and the penalty is {_with(shuffled)} it; make a "
                "new one by init(generator, data)"
            )

    def vectors(self, width: int, classes: Int[Tensor, "n"] | None = None) -> Float[Tensor, "tables n n_g"]:
        """The left vectors of the layers of one width, for some classes or all."""
        kept = self.get_buffer(f"u{width}")
        return kept if classes is None else kept[:, classes]

    def remember(self, width: int, u: Float[Tensor, "tables n n_g"], classes: Int[Tensor, "n"] | None = None) -> None:
        """Put new vectors in their place."""
        kept = self.get_buffer(f"u{width}")
        if classes is None:
            kept.copy_(u)
        else:
            kept.index_copy_(1, classes, u.to(kept))

    def order(self, width: int) -> Int[Tensor, "tables c"]:
        """The permutations of the layers of one width."""
        return self.get_buffer(f"order{width}")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}weights")
        if saved is not None and len(saved) != len(self.weights):
            raise ValueError(
                f"a memory of {len(saved)} classes was saved, and the generator has {len(self.weights)}; go on with "
                "the number of classes that it was trained with, or begin a new run"
            )
        shuffled = any(name.startswith(f"{prefix}order") for name in state_dict)
        if saved is not None and shuffled != self.shuffled:
            raise ValueError(
                f"a memory {_with(shuffled)} shuffle was saved, and the penalty is {_with(self.shuffled)} it; go on as "
                "it was trained, or begin a new run"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _with(shuffled: bool) -> str:
    return "with" if shuffled else "without"


def differentiable_once(W: Float[Tensor, "*batch n_g n_c"]) -> Float[Tensor, "*batch n_g n_c"]:
    """The matrices, through which no gradient is differentiated again.

    Singular vectors count as constants here, which is right for the gradient of a singular value and wrong for what
    comes after it: that is refused, where it would silently lack a term.
    """
    passed: Tensor = _Passed.apply(W)
    return passed


class _Passed(torch.autograd.Function):
    """The same matrices; their gradient is not to be differentiated."""

    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        ctx.save_for_backward(W)
        return W.view_as(W)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # nobody asked for a graph of the gradient
            return grad
        last: Tensor = _Last.apply(grad, *ctx.saved_tensors)
        return last


class _Last(torch.autograd.Function):
    """A gradient, of which W is a parent though it was made outside autograd."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, W: Tensor) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> None:
        raise RuntimeError(
            "GroupSpectral has a first derivative only; keep it out of a loss whose gradient is differentiated again"
        )


def iterated(
    W: Float[Tensor, "tables n n_g n_c"], u: Float[Tensor, "tables n n_g"], w: Float[Tensor, "n"], rounds: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "tables n n_g"]]:
    """sum_ty w_y |W_ty^T u_ty|², at most that of the squared singular values, and the vectors after so many rounds of

        u <- N((W W^T + tiny) u),   N(x) = x / |x|

    The tiny multiple of the identity keeps the vector of a matrix of zeros as it was: had it become zero as well, it
    would never be anything else.
    """
    flat = W.flatten(0, 1)
    row = u.flatten(0, 1).unsqueeze(1)  # rows times matrices are the quicker way round
    with torch.no_grad():
        for _ in range(rounds):
            ahead = torch.baddbmm(row, torch.bmm(row, flat), flat.mT, beta=_TINY)
            row = ahead / torch.linalg.vector_norm(ahead, dim=2, keepdim=True)
    return _WeightedSquares.apply(flat, row, w.repeat(len(W))), row.view_as(u)


class _WeightedSquares(torch.autograd.Function):
    """sum_i w_i |W_i^T u_i|² with the gradient 2 w_i u_i (W_i^T u_i)^T, an outer product, see `differentiable_once`.

    As a product of matrices, which torch makes of it, that takes twenty times as long on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, W: Tensor, row: Tensor, w: Tensor) -> Tensor:
        """The sum; gradients are those of W alone."""
        x = torch.bmm(row, W)
        ctx.save_for_backward((w[:, None, None] * row).mT, x)
        return torch.dot(torch.bmm(x, x.mT).flatten(), w)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """The outer products."""
        weighted, x = ctx.saved_tensors
        return (2 * grad * weighted) * x, None, None


def released(
    W: Float[Tensor, "tables n n_g n_c"], u: Float[Tensor, "tables n n_g"], w: Float[Tensor, "n"], rounds: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "tables n n_g"]]:
    """The same as released, v <- N(W^T u), u <- N(W v), where what moves the bias's u is the v of the gain.

    The first half of the tables are gains, the other half the biases of the same layers.
    """
    layers = len(W) // 2
    with torch.no_grad():
        for _ in range(rounds):
            v = _shortened((W.mT @ u.unsqueeze(-1)).squeeze(-1))
            mover = torch.cat([v[:layers], v[:layers]])
            u = _shortened((W @ mover.unsqueeze(-1)).squeeze(-1))
    sigma = ((u.unsqueeze(-2) @ W).squeeze(-2) * v).sum(-1)
    return (w * sigma.square()).sum(), u


def _shortened(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(_RELEASED_EPS)
