"""The residual blocks of ResNet classifiers: two 3x3 convolutions, or a bottleneck of three."""

import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["BasicBlock", "Bottleneck"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

        y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))

    conv1 has the stride. The shortcut, ``downsample``, is x itself; where side or channels change, it is a 1x1
    convolution of that stride and a norm. No convolution has a bias.

    Args:
        inputs: channels that come in.
        width: channels of the convolutions, and ``expansion`` times as many that go out.
        stride: 1, or 2 for half the side.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

    Example:
        >>> import torch
        >>> BasicBlock(4, 8, stride=2)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
        """The map, of the same side or half of it."""
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1, beside a shortcut.

        y = relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + shortcut(x))

    It is conv2, the 3x3 one, that has the stride (in the paper it is conv1), as in most ResNet-50 since. All else is as
    in `BasicBlock`.

    Args:
        inputs: channels that come in.
        width: channels of conv1 and conv2; four times as many go out.
        stride: 1, or 2 for half the side.

    Reference:
        As `BasicBlock`.

    Example:
        >>> import torch
        >>> Bottleneck(4, 8, stride=2)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 32, 4, 4])
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
        """The map, of the same side or half of it."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + self.downsample(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
