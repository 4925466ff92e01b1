"""The residual blocks of BigGAN-deep: bottlenecks whose shortcuts drop or add channels in place of mapping them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.spectral_norm import SpectralConv2d

__all__ = ["BottleneckDownBlock", "BottleneckUpBlock"]

_RATIO = 4  # of the channels outside to those of the 3x3 convolutions


class BottleneckUpBlock(nn.Module):
    """The same or twice the side, under a condition, with as many channels or fewer.

        h = up(relu(bn2(conv1(relu(bn1(x, c))), c)))
        y = conv4(relu(bn4(conv3(relu(bn3(conv2(h), c))), c))) + up(x[:outputs]),   up = nearest neighbor, x2

    conv1 and conv4 are 1x1, conv2 and conv3 are 3x3 on a quarter of the incoming channels; all have biases. The
    shortcut keeps the first ``outputs`` channels. ``up`` is there only where the side is doubled.

    Args:
        inputs: channels that come in.
        outputs: channels that go out, ``inputs`` at most.
        norm: ``norm(channels)`` makes the conditional norms ``bn1`` to ``bn4``, called with x and the condition.
        enlarge: whether the side is doubled.
        spectral: whether the convolutions have spectral norm.

    Reference:
        A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        ICLR 2019, appendix B.

    Example:
        >>> from orthogen.layers.batch_norm import ConditionalBatchNorm2d
        >>> norm = lambda c: ConditionalBatchNorm2d(nn.Embedding(10, c), nn.Embedding(10, c), c)
        >>> block = BottleneckUpBlock(8, 4, norm, enlarge=True)
        >>> block(torch.randn(3, 8, 4, 4), torch.tensor([0, 1, 9])).shape
        torch.Size([3, 4, 8, 8])
    """

    def __init__(
        self, inputs: int, outputs: int, norm: Callable[[int], nn.Module], enlarge: bool, spectral: bool = False
    ) -> None:
        super().__init__()
        conv = SpectralConv2d if spectral else nn.Conv2d
        narrow = max(1, inputs // _RATIO)
        self.outputs, self.enlarge = outputs, enlarge
        self.conv1 = conv(inputs, narrow, 1)
        self.conv2 = conv(narrow, narrow, 3, padding=1)
        self.conv3 = conv(narrow, narrow, 3, padding=1)
        self.conv4 = conv(narrow, outputs, 1)
        self.bn1, self.bn2, self.bn3, self.bn4 = norm(inputs), norm(narrow), norm(narrow), norm(narrow)

    def _up(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.enlarge else x

    def forward(self, x: Float[Tensor, "batch c h w"], condition: Tensor) -> Float[Tensor, "batch c2 h2 w2"]:
        """The map, larger where ``enlarge``."""
        h = self.conv1(F.relu(self.bn1(x, condition)))
        h = self.conv2(self._up(F.relu(self.bn2(h, condition))))
        h = self.conv3(F.relu(self.bn3(h, condition)))
        h = self.conv4(F.relu(self.bn4(h, condition)))
        return h + self._up(x[:, : self.outputs])


class BottleneckDownBlock(nn.Module):
    """The same or half the side, without norms of activations, with as many channels or more.

        y = conv4(pool(relu(conv3(relu(conv2(relu(conv1(relu(x))))))))) + [pool(x); conv_sc(pool(x))]

    conv1, conv4 and conv_sc are 1x1, conv2 and conv3 are 3x3 on a quarter of the outgoing channels; all have biases and
    spectral norm. The shortcut keeps its channels, and conv_sc makes those that are missing. ``pool``, means of 2x2
    pixels, is there only where the side is halved.

    Args:
        inputs: channels that come in.
        outputs: channels that go out, ``inputs`` at least.
        halve: whether the side is halved.

    Reference:
        As `BottleneckUpBlock`.

    Example:
        >>> BottleneckDownBlock(4, 8, halve=True)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        narrow = max(1, outputs // _RATIO)
        self.halve = halve
        self.conv1 = SpectralConv2d(inputs, narrow, 1)
        self.conv2 = SpectralConv2d(narrow, narrow, 3, padding=1)
        self.conv3 = SpectralConv2d(narrow, narrow, 3, padding=1)
        self.conv4 = SpectralConv2d(narrow, outputs, 1)
        self.conv_sc = SpectralConv2d(inputs, outputs - inputs, 1) if outputs > inputs else None

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halve else x

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
        """The map, smaller where ``halve``."""
        h = self.conv1(F.relu(x))
        h = self.conv3(F.relu(self.conv2(F.relu(h))))
        h = self.conv4(self._pool(F.relu(h)))
        kept = self._pool(x)
        return h + (kept if self.conv_sc is None else torch.cat([kept, self.conv_sc(kept)], dim=1))
