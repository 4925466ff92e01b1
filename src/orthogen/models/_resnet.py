"""A residual network for small images: a 3x3 stem that keeps the side, stages of blocks, a pooled vector."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.covariance_pooling import CovariancePooling
from orthogen.layers.resnet_blocks import BasicBlock, Bottleneck

__all__ = ["ResNet"]


class ResNet(nn.Module):
    """Images in [-1, 1] to logits, with parts of torchvision's names: conv1, bn1, layer1, layer2, ..., fc.

    Convolutions start normal, of variance 2 / (outputs k²), without biases; the last layer starts as torch has it.

    Args:
        block: what a stage is made of.
        blocks: how many of them each stage has.
        width: channels of the stem and of the first stage's convolutions; each further stage has twice as many, on half
            the side.
        channels: of the images.
        classes: number of logits.
        norm: what follows the stem.
        covariance: how many channels' covariance is pooled; None for the averages of all.
        mean: of the channels of images in [0, 1], which is subtracted.
        std: their deviation, which divides.
    """

    standard_mean: Tensor
    standard_std: Tensor

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        width: int,
        channels: int,
        classes: int,
        norm: nn.Module,
        covariance: int | None,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        # settings, which a state dict does not hold
        for name, value in (("standard_mean", mean), ("standard_std", std)):
            self.register_buffer(name, torch.tensor(value).view(-1, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = norm
        self.stages = [f"layer{i + 1}" for i in range(len(blocks))]
        inputs = width
        for i, (name, number) in enumerate(zip(self.stages, blocks, strict=True)):
            stage = nn.Sequential()
            for j in range(number):
                stage.append(block(inputs, width * 2**i, stride=2 if i and not j else 1))
                inputs = block.expansion * width * 2**i
            self.add_module(name, stage)
        if covariance is None:
            self.pool: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.fc = nn.Linear(inputs, classes)
        else:
            self.pool = pooling = CovariancePooling(inputs, reduce_to=covariance)
            self.fc = nn.Linear(pooling.out_features, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        x = ((images + 1) / 2 - self.standard_mean) / self.standard_std
        x = F.relu(self.bn1(self.conv1(x)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(x))
        return logits
