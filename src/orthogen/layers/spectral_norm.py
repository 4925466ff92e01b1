"""Layers whose weight is divided by its largest singular value, and folding that division into a frozen network."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm

from orthogen.core.shapes import Float, Int

__all__ = ["SpectralConv2d", "SpectralEmbedding", "SpectralLinear", "fold_spectral_norm"]


class _Spectral(nn.Module):
    """What the three layers share: the weight as it acts, with one step of power iteration per pass.

        v = N(W^T u),   u' = N(W v),   sigma = u'^T W v,   N(x) = x / max(|x|, 1e-6),   W = weight, flattened to rows

    u' replaces u in training mode only; values and gradients (through W alone) are the same in both modes. Only u is
    state. The buffers ``u0`` and ``sv0`` (sigma of the last training pass, which nothing reads) are named as in the
    files of BigGAN-PyTorch.
    """

    weight: Tensor
    u0: Tensor
    sv0: Tensor

    def _remember(self) -> None:
        device = self.weight.device
        self.register_buffer("u0", F.normalize(torch.randn(1, len(self.weight), device=device), eps=1e-6))
        self.register_buffer("sv0", torch.ones(1, device=device))

    def acting_weight(self) -> Float[Tensor, "rows ..."]:
        """The weight divided by its estimated spectral norm."""
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u0 @ matrix, eps=1e-6)
            u = F.normalize(v @ matrix.T, eps=1e-6)
        sigma = ((v @ matrix.T) * u).sum()
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.copy_(sigma)
        return self.weight / sigma


class SpectralConv2d(_Spectral, nn.Conv2d):
    """``nn.Conv2d`` with its weight, as one row per output channel, of spectral norm 1.

        y = (W / sigma(W)) * x + b

    Args: those of ``nn.Conv2d``.

    Reference:
        T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative Adversarial Networks",
        ICLR 2018, Algorithm 1.

    Example:
        >>> layer = SpectralConv2d(3, 8, 3)
        >>> for _ in range(100):
        ...     y = layer(torch.zeros(1, 3, 4, 4))
        >>> round(torch.linalg.matrix_norm(layer.acting_weight().flatten(1), 2).item(), 3)
        1.0
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, padding: int = 0, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel_size, padding=padding, bias=bias)
        self._remember()

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch o h2 w2"]:
        """The convolution with the normalized weight."""
        return self._conv_forward(x, self.acting_weight(), self.bias)


class SpectralLinear(_Spectral, nn.Linear):
    """``nn.Linear`` with a weight of spectral norm 1, see `SpectralConv2d`."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self._remember()

    def forward(self, x: Float[Tensor, "batch i"]) -> Float[Tensor, "batch o"]:
        """The linear map with the normalized weight."""
        return F.linear(x, self.acting_weight(), self.bias)


class SpectralEmbedding(_Spectral, nn.Embedding):
    """``nn.Embedding`` with a table of spectral norm 1, see `SpectralConv2d`."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__(classes, width)
        self._remember()

    def forward(self, label: Int[Tensor, "batch"]) -> Float[Tensor, "batch width"]:
        """The rows of those labels."""
        return F.embedding(label, self.acting_weight())


def _plain(layer: _Spectral) -> nn.Module:
    """The layer without spectral norm, with the weight as it acts."""
    plain: nn.Module
    with torch.device("meta"):  # no initial weights are drawn, only to be thrown away
        if isinstance(layer, SpectralConv2d):
            sides: Any = {"kernel_size": layer.kernel_size, "padding": layer.padding}
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, bias=layer.bias is not None, **sides)
        elif isinstance(layer, SpectralLinear):
            plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        else:
            plain = nn.Embedding(*layer.weight.shape)
    tensors = {**dict(layer.named_parameters()), "weight": layer.acting_weight()}
    for name, value in tensors.items():
        setattr(plain, name, nn.Parameter(value, getattr(layer, name).requires_grad))
    return plain.train(layer.training)


@torch.no_grad()
def fold_spectral_norm(module: nn.Module) -> nn.Module:
    """Divide every weight by its spectral norm once and for all; for a network that is not trained any more.

    Outputs stay the same to the bit, and a pass no longer iterates and divides: of a BigGAN at 128 pixels, one image
    takes about 0.7 of the time. The layers of this file are replaced by plain ones under the same names; torch's own
    spectral norm, in both of its forms, is taken off.

    Args:
        module: any network, which is changed.

    Returns:
        The module; its replacement, where it is itself one of the layers above.

    Example:
        >>> net = nn.Sequential(SpectralLinear(2, 3)).eval()
        >>> x = torch.randn(5, 2)
        >>> before = net(x)
        >>> bool((fold_spectral_norm(net)(x) == before).all()), list(net.state_dict())
        (True, ['0.weight', '0.bias'])
    """
    if isinstance(module, _Spectral):
        return _plain(module)
    folded: dict[nn.Module, nn.Module] = {}  # a layer that stands at two places stays one layer
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, _Spectral):
                if child not in folded:
                    folded[child] = _plain(child)
                setattr(parent, name, folded[child])
    for part in list(module.modules()):
        for hook in list(part._forward_pre_hooks.values()):
            if isinstance(hook, SpectralNorm):
                remove_spectral_norm(part, hook.name)
        for name, applied in list(getattr(part, "parametrizations", {}).items()):
            if any(isinstance(each, _SpectralNorm) for each in applied):
                parametrize.remove_parametrizations(part, name)
    return module
