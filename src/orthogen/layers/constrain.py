"""Orthogonal or bounded weights for layers of a network that is there already, by name."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from orthogen.core.chosen import chosen
from orthogen.core.linalg import polar_factor
from orthogen.layers.skew_conv import SkewOrthogonalConv2d

__all__ = ["Constraint", "constrain"]

Constraint = Literal["skew", "polar", "orthogonal", "spectral"]


class _Polar(nn.Module):
    """The polar factor of what is learned, a weight of any shape as the matrix of its first dimension by the rest."""

    def forward(self, learned: Tensor) -> Tensor:
        """The nearest weight with orthonormal rows; what is not finite stays so, for the training loop to find."""
        return polar_factor(learned.flatten(1), nonfinite="keep").view_as(learned)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """A weight is learned from where it is."""
        return weight


class _Rows(nn.Module):
    """torch's orthogonal parametrization, of a weight of any shape as the matrix of its first dimension by the rest."""

    matrix: Any  # torch's own parametrization of a matrix

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        matrix = nn.Linear(columns, rows, bias=False, device=weight.device, dtype=weight.dtype)
        kept: Any = parametrizations.orthogonal(matrix).parametrizations
        self.matrix = kept.weight[0]

    def forward(self, learned: Tensor) -> Tensor:
        X = learned.flatten(1)
        # torch rounds the diagonal, which is +-1, towards 0: the least weight decay would make the whole weight 0
        diagonal = X.detach().diagonal()
        X = torch.diagonal_scatter(X, torch.where(diagonal < 0, -1, 1).to(X))
        found: Tensor = self.matrix(X)
        return found.view_as(learned)

    def right_inverse(self, weight: Tensor) -> Tensor:
        found: Tensor = self.matrix.right_inverse(weight.flatten(1))
        return found.view_as(weight)


def constrain(module: nn.Module, layers: Sequence[str] = (), how: Constraint = "skew") -> nn.Module:
    """Give weights of a network a constraint, for training from then on. Make the optimizer after it.

    ==============  ================================================================================================
    ``skew``        the convolution becomes a `SkewOrthogonalConv2d` of the same channels, kernel size and stride, with
                    the same bias and a new weight: the map itself is orthogonal (OW)
    ``polar``       the rows of the weight, or its columns where there are fewer, become orthonormal: it is the polar
                    factor of what is learned, the nearest such matrix, and starts where the weight was if that had
                    orthonormal rows. Takes no more memory than the weight, and any optimizer and step rule
    ``orthogonal``  the same by ``torch.nn.utils.parametrizations.orthogonal`` (of the weight as a matrix), which keeps
                    a square matrix of the longer side, so that sides of thousands are too long
    ``spectral``    the weight is divided by its largest singular value, by
                    ``torch.nn.utils.parametrizations.spectral_norm`` (SN; of the weight as a matrix)
    ==============  ================================================================================================

    Args:
        module: the network, which is changed.
        layers: names of parameters or of parts, see `orthogen.core.chosen`; () is the first weight.
        how: one of the above.

    Returns:
        The network; its replacement, where it is itself a convolution that "skew" replaces.

    Raises:
        ValueError: a name that stands for no weight; another constraint; a weight that is parametrized already; for
            "skew", a layer that is no ordinary convolution of an odd kernel with ``padding=kernel_size // 2``.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 3))
        >>> _ = constrain(net, ("0",), "skew")
        >>> _ = constrain(net, ("2",), "orthogonal")
        >>> W = net[2].weight.detach().flatten(1)
        >>> type(net[0]).__name__, torch.dist(W @ W.T, torch.eye(4)).item() < 1e-5
        ('SkewOrthogonalConv2d', True)
    """
    if how not in get_args(Constraint):
        raise ValueError(f"constrain(how={how!r}): {' or '.join(map(repr, get_args(Constraint)))} is accepted")
    found = [(name, *_holder(module, weight)) for name, weight in chosen(module, layers, "constrain").items()]
    for name, holder, _ in found:  # all of them, before any is changed
        if isinstance(holder, parametrize.ParametrizationList):
            raise ValueError(f"constrain: {name} is parametrized already; remove that first, or name another weight")
        if how == "skew" and not _fits(holder):
            raise ValueError(
                f"constrain: {name} is of {type(holder).__name__}({holder.extra_repr()}); 'skew' takes the weight of a "
                "Conv2d of stride 1 or 2, with an odd kernel, padding=kernel_size // 2, and neither groups nor dilation"
            )
    for _, holder, attribute in found:
        if how == "skew":
            module = _replaced(module, holder)
        elif how == "polar":
            parametrize.register_parametrization(holder, attribute, _Polar(), unsafe=True)  # which is not tried out
        elif how == "orthogonal":
            parametrize.register_parametrization(holder, attribute, _Rows(getattr(holder, attribute)))
        else:
            parametrizations.spectral_norm(holder, attribute, dim=0)  # torch turns transposed convolutions around
    return module


def _holder(module: nn.Module, weight: nn.Parameter) -> tuple[nn.Module, str]:
    """The part that has the weight as an attribute, and the attribute's name."""
    return next(
        (part, name) for part in module.modules() for name, value in part._parameters.items() if value is weight
    )


def _fits(layer: nn.Module) -> bool:
    if type(layer) is not nn.Conv2d:
        return False
    k = layer.kernel_size[0]
    sides = k % 2 == 1 and layer.kernel_size == (k, k) and layer.padding in ((k // 2, k // 2), "same")
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    return sides and plain and layer.stride in ((1, 1), (2, 2))


def _replaced(module: nn.Module, layer: nn.Module) -> nn.Module:
    """The module with a skew orthogonal convolution in place of the layer, wherever it stands."""
    assert isinstance(layer, nn.Conv2d)
    new = SkewOrthogonalConv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], layer.bias is not None
    )
    new.to(layer.weight.device, layer.weight.dtype).train(layer.training)
    if new.bias is not None and layer.bias is not None:
        with torch.no_grad():
            new.bias.copy_(layer.bias)
    for part in list(module.modules()):
        for name, child in list(part._modules.items()):
            if child is layer:
                setattr(part, name, new)
    return new if module is layer else module
