"""How well conditioned a layer is: its weight, and the covariance of what it puts out."""

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["conditioning", "matrix_of", "rows_of", "true_rank"]


def conditioning(
    weight: Float[Tensor, "rows ..."] | None,
    covariance: Float[Tensor, "c c"],
    eps: float = 1e-2,
    *,
    rank: int | None = None,
) -> dict[str, float]:
    """The condition of a layer's output covariance and of its weight, computed in float64 on the CPU.

        condition        l_1 / l_r of the eigenvalues l_1 >= l_2 >= ..., with r the true rank: a 3 x 3 convolution of 3
                         channels has r = 27 however many it puts out, and l_1 / l_64 would be rounding
        effective_rank   exp(-sum p log p) with p = l / sum l: how many directions share the variance, 1 to c
        ridge_condition  (l_1 + eps) / eps, the condition that a whitening layer with this ridge meets below rank c
        weight_norm      |W|_F
        defect           |W W^T / m - 1|_F for W as a matrix with the short side first, m the mean of the diagonal:
                         0 for orthogonal rows of one length

    Below c 2.2e-16 l_1 an eigenvalue is rounding: it counts as that much, and bounds the condition, also of a layer
    that puts out constants.

    Args:
        weight: of the layer, a matrix after ``flatten(1)``; None leaves out what is said of it.
        covariance: of its c channels.
        eps: the ridge.
        rank: r; min(c, entries of the weight per channel) if None, c where there is no weight.

    Raises:
        ValueError: a covariance that is not finite, a rank outside 1 to c, or a ridge that is not positive.

    Reference:
        Roy and Vetterli, "The Effective Rank", EUSIPCO 2007, definition 1 (there of singular values).

    Example:
        >>> found = conditioning(torch.eye(2, 3), torch.diag(torch.tensor([4.0, 1.0])), eps=1.0)
        >>> {name: round(value, 2) for name, value in found.items()}
        {'condition': 4.0, 'rank': 2, 'effective_rank': 1.65, 'ridge_condition': 5.0,
         'weight_norm': 1.41, 'defect': 0.0}
    """
    c = len(covariance)
    rank = true_rank(weight, c) if rank is None else rank
    if not 1 <= rank <= c or not eps > 0:
        raise ValueError(f"conditioning(eps={eps}, rank={rank}): give a ridge above 0, and a rank from 1 to {c}")
    S = covariance.detach().double().cpu()
    if not S.isfinite().all():
        raise ValueError("conditioning: the covariance is not finite; so are the layer's outputs")
    values = torch.linalg.eigvalsh((S + S.mT) / 2).flip(0).clamp_min(0.0)
    largest = values[0].clamp_min(torch.finfo(torch.float64).tiny)
    floor = c * torch.finfo(torch.float64).eps
    found = {
        "condition": 1 / (values[rank - 1] / largest).clamp_min(floor).item(),
        "rank": rank,
        "effective_rank": torch.special.entr(values / values.sum().clamp_min(largest)).sum().exp().item(),
        "ridge_condition": (values[0].item() + eps) / eps,
    }
    return found if weight is None else found | _of_weight(weight)


def _of_weight(weight: Tensor) -> dict[str, float]:
    W = weight.detach().flatten(1).double().cpu()
    W = W if W.shape[0] <= W.shape[1] else W.mT
    gram = W @ W.mT
    size = gram.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    defect = torch.linalg.matrix_norm(gram / size - torch.eye(len(gram), dtype=gram.dtype))
    return {"weight_norm": torch.linalg.vector_norm(W).item(), "defect": defect.item()}


def true_rank(weight: Tensor | None, channels: int, groups: int = 1) -> int:
    """The rank that the covariance of a layer's output cannot exceed, by the size of its weight.

    Example:
        >>> true_rank(torch.zeros(64, 3, 3, 3), 64), true_rank(torch.zeros(64, 1, 3, 3), 64, groups=64)
        (27, 64)
    """
    return channels if weight is None else max(1, min(channels, groups * weight.numel() // channels))


def matrix_of(layer: nn.Module) -> Tensor | None:
    """The weight of a layer, as its parametrizations make it; else its own first matrix, None where it has neither."""
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim > 1:
        return weight
    return next((p for p in layer.parameters(recurse=False) if p.ndim > 1), None)


def rows_of(layer: nn.Module, output: Float[Tensor, "n ..."]) -> Float[Tensor, "m c"]:
    """What a layer put out, one row per sample and position; channels are last behind a linear layer, else second.

    Example:
        >>> rows_of(nn.Conv2d(3, 8, 3), torch.zeros(2, 8, 5, 5)).shape
        torch.Size([50, 8])
    """
    last = isinstance(layer, nn.Linear | nn.Embedding) or output.ndim < 3
    return (output if last else output.movedim(1, -1)).reshape(-1, output.shape[-1 if last else 1])
