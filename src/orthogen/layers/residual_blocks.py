"""The residual blocks of SNGAN and BigGAN: one that doubles the side, and one that may halve it."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.spectral_norm import SpectralConv2d

__all__ = ["DownBlock", "UpBlock"]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class UpBlock(nn.Module):
    """Twice the side, under a condition.

        y = conv2(relu(bn2(conv1(up(relu(bn1(x, c)))), c))) + up(conv_sc(x)),   up = nearest neighbor, x2

    conv1 and conv2 are 3x3, conv_sc is 1x1; all have biases.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        norm: ``norm(channels)`` makes the conditional norms ``bn1`` and ``bn2``, called with x and the condition.
        spectral: whether the convolutions have spectral norm.

    Reference:
        T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative Adversarial Networks",
        ICLR 2018; A. Brock et al., ICLR 2019, appendix B.

    Example:
        >>> import torch
        >>> from orthogen.layers.batch_norm import ConditionalBatchNorm2d
        >>> block = UpBlock(4, 2, lambda c: ConditionalBatchNorm2d(nn.Embedding(10, c), nn.Embedding(10, c), c))
        >>> block(torch.randn(3, 4, 8, 8), torch.tensor([0, 1, 9])).shape
        torch.Size([3, 2, 16, 16])
    """

    def __init__(self, inputs: int, outputs: int, norm: Callable[[int], nn.Module], spectral: bool = False) -> None:
        super().__init__()
        conv = SpectralConv2d if spectral else nn.Conv2d
        self.conv1 = conv(inputs, outputs, 3, padding=1)
        self.conv2 = conv(outputs, outputs, 3, padding=1)
        self.conv_sc = conv(inputs, outputs, 1)
        self.bn1 = norm(inputs)
        self.bn2 = norm(outputs)

    def forward(self, x: Float[Tensor, "batch c h w"], condition: Tensor) -> Float[Tensor, "batch c2 h2 w2"]:
        """The map at twice the side."""
        h = self.conv1(_double(F.relu(self.bn1(x, condition))))
        h = self.conv2(F.relu(self.bn2(h, condition)))
        return h + _double(self.conv_sc(x))  # pixels that are repeated need no convolution of their own


class DownBlock(nn.Module):
    """The same or half the side, without norms of activations.

        y = pool(conv2(relu(conv1(relu(x))))) + conv_sc(pool(x)),   pool = means of 2x2 pixels

    ``first``, which gets an image, has no relu before conv1. conv_sc is 1x1, and there only
    where channels or side change; pools are there only where the side does. All convolutions have spectral norm.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        halve: whether the side is halved.
        first: whether it gets the image.
        skip_relu: whether the shortcut starts from relu(x) in place of x, as where the first relu works in place
            (StudioGAN's networks, and what was trained with them).

    Reference:
        As `UpBlock`.

    Example:
        >>> import torch
        >>> DownBlock(3, 4, first=True)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 4, 4, 4])
    """

    def __init__(
        self, inputs: int, outputs: int, halve: bool = True, first: bool = False, skip_relu: bool = False
    ) -> None:
        super().__init__()
        self.halve, self.first, self.skip_relu = halve, first, skip_relu
        self.conv1 = SpectralConv2d(inputs, outputs, 3, padding=1)
        self.conv2 = SpectralConv2d(outputs, outputs, 3, padding=1)
        self.conv_sc = SpectralConv2d(inputs, outputs, 1) if halve or inputs != outputs else nn.Identity()

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halve else x

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
        """The map, smaller where ``halve``."""
        activated = x if self.first else F.relu(x)
        h = self._pool(self.conv2(F.relu(self.conv1(activated))))
        # a 1x1 convolution of means is the mean of convolutions, at a quarter of the work
        return h + self.conv_sc(self._pool(activated if self.skip_relu and not self.first else x))
