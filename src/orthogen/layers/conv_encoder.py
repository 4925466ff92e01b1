"""From an image to a few numbers: the simple GAN's critic, recognizers of generated images, the encoder of a VAE."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.block import Block

__all__ = ["ConvEncoder"]


class ConvEncoder(nn.Module):
    """Convolutions of stride 2, then linear layers.

    The first convolution has a bias and no norm, the others a norm and no bias. Parameters are named as in the
    published simple GAN: ``encoder.i.layers.conv`` and ``.instancenorm``, ``fc.i.layers.conv``.

    Args:
        shape: channels, height and width of the images, in pixels.
        channels: output channels of each convolution; each halves height and width.
        hidden: width of the linear layer before the last, or of several; 0 for none.
        outputs: how many numbers come out.
        activation: follows each convolution.
        hidden_activation: follows the hidden layer; None for nothing, as in the published 128-pixel critic.
        norm: whether convolutions after the first have an instance norm.
        kernels: side of each convolution's kernel, an even number; 4 for all if None.

    Raises:
        ValueError: images of another shape are given.

    Example:
        >>> import torch
        >>> critic = ConvEncoder((3, 32, 32), channels=(8, 16), hidden=32, outputs=1)
        >>> critic(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: Sequence[int],
        hidden: int | Sequence[int],
        outputs: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        hidden_activation: Callable[[], nn.Module] | None = nn.ReLU,
        norm: bool = True,
        kernels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = nn.Sequential()
        sizes = [4] * len(channels) if kernels is None else kernels
        for i, ((before, after), kernel) in enumerate(zip(pairwise((shape[0], *channels)), sizes, strict=True)):
            normed = norm and i > 0
            convolution = nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2 - 1, bias=not normed)
            self.encoder.append(Block(convolution, after if normed else 0, activation()))
        sides = [side // 2 ** len(channels) for side in shape[1:]]
        features = (*shape[:1], *channels)[-1] * math.prod(sides)
        self.fc = nn.Sequential()
        widths = [width for width in ([hidden] if isinstance(hidden, int) else hidden) if width]
        for before, after in pairwise((features, *widths)):
            after_hidden = None if hidden_activation is None else hidden_activation()
            self.fc.append(Block(nn.Linear(before, after), activation=after_hidden))
        self.fc.append(Block(nn.Linear((features, *widths)[-1], outputs)))

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch outputs"]:
        """The outputs, without activation."""
        if images.shape[1:] != self.shape:
            raise ValueError(f"images of {tuple(images.shape[1:])} were given; this encoder was built for {self.shape}")
        return self.fc(self.encoder(images).flatten(1))
