"""Equalized learning rates: weights of unit variance, scaled when they are used."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["EqualizedConv2d", "EqualizedLinear", "scaled_leaky_relu"]


def scaled_leaky_relu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """sqrt(2) LeakyReLU(x), slope 0.2: about as much variance as ``x``.

    Example:
        >>> scaled_leaky_relu(torch.tensor([-1.0, 1.0]))
        tensor([-0.2828,  1.4142])
    """
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class EqualizedLinear(nn.Module):
    """A linear layer whose weight is stored with unit variance and scaled at run time (Karras et al., ICLR 2018).

        y = (gain m / sqrt(inputs)) W x + m b,      W ~ N(0, 1/m²) at the start

    so that an optimizer with normalized steps moves all layers at the same rate, times m.

    Args:
        inputs: width of what goes in.
        outputs: width of what comes out.
        lr_multiplier: m; 0.01 in StyleGAN's mapping network.
        bias: what all biases start from.
        gain: of the weights; sqrt(2) where a rectifier follows that does not make up for what it takes away.

    Example:
        >>> layer = EqualizedLinear(4, 1, lr_multiplier=0.5)
        >>> layer.weight.data.fill_(2.0); layer(torch.ones(1, 4)).item()
        tensor([[2., 2., 2., 2.]])
        2.0
    """

    def __init__(
        self, inputs: int, outputs: int, lr_multiplier: float = 1.0, bias: float = 0.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.lr_multiplier, self.gain = lr_multiplier, gain
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """The outputs, without activation."""
        scale = self.gain * self.lr_multiplier / math.sqrt(self.weight.shape[1])
        return F.linear(x, self.weight * scale, self.bias * self.lr_multiplier)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, lr_multiplier={self.lr_multiplier:g}"


def _conv2d(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


class EqualizedConv2d(nn.Module):
    """A convolution whose weight is stored with unit variance and scaled at run time (Karras et al., ICLR 2018).

        y = (gain / (k sqrt(inputs))) W * x + b,      W ~ N(0, 1), b = 0 at the start

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: k; odd.
        gain: He's sqrt(2) where a rectifier follows that does not make up for what it takes away.
        convolve: ``convolve(x, weight)``, where the resolution changes too (`orthogen.layers.box`,
            `orthogen.layers.fir`); None for the plain convolution that keeps it.
        bias: whether there is one.

    Example:
        >>> layer = EqualizedConv2d(4, 1, 1, gain=1.0)
        >>> layer.weight.data.fill_(3.0).shape; layer(torch.ones(1, 4, 1, 1)).item()
        torch.Size([1, 4, 1, 1])
        6.0
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        gain: float = math.sqrt(2),
        convolve: Callable[[Tensor, Tensor], Tensor] | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.gain, self.convolve = gain, convolve or _conv2d
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Float[Tensor, "batch inputs h w"]) -> Float[Tensor, "batch outputs h2 w2"]:
        """The outputs, without activation."""
        scale = self.gain / math.sqrt(self.weight[0].numel())
        y = self.convolve(x, self.weight * scale)
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        outputs, inputs, size, _ = self.weight.shape
        return f"{inputs}, {outputs}, kernel_size={size}, gain={self.gain:g}"
