"""Residual classifiers whose stem can be whitened: where decorrelated batch norm and its conditioning are studied."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Model
from orthogen.core.linalg import RootMethod
from orthogen.layers.constrain import Constraint, constrain
from orthogen.layers.resnet_blocks import BasicBlock, Bottleneck
from orthogen.layers.zca import ZcaNorm2d
from orthogen.models._resnet import ResNet

__all__ = ["DecorrelatedResNet"]

CITATION = """\
@inproceedings{he2016deep,
  title     = {Deep Residual Learning for Image Recognition},
  author    = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2016}
}
@inproceedings{huang2018decorrelated,
  title     = {Decorrelated Batch Normalization},
  author    = {Huang, Lei and Yang, Dawei and Lang, Bo and Deng, Jia},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2018}
}
@inproceedings{song2022improving,
  title     = {Improving Covariance Conditioning of the {SVD} Meta-layer by Orthogonality},
  author    = {Song, Yue and Sebe, Nicu and Wang, Wei},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""

Row = tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]
TABLE: dict[int, Row] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
CONSTRAINTS: dict[str, Constraint] = {"skew": "skew", "orthogonal": "polar", "spectral": "spectral"}


@dataclass(frozen=True)
class DecorrelatedResNet(Model):
    """A ResNet for small images, with batch norm or ZCA whitening after its stem.

    =====  ==========================  ============  =====================
    depth  blocks in its four stages   made of       channels of the last
    =====  ==========================  ============  =====================
    18     2, 2, 2, 2                  two 3x3       8 width
    34     3, 4, 6, 3                  two 3x3       8 width
    50     3, 4, 6, 3                  bottlenecks   32 width
    =====  ==========================  ============  =====================

    The stem is one 3x3 convolution that keeps the side, without a pooling after it; stages halve the side but for the
    first. All norms but the stem's are batch norms. ``stem`` is where orthogonality comes in by construction (by
    gradients: `NearestOrthogonalGradient` and `OptimalLearningRate` on `stem_layer`; by a penalty:
    `SoftOrthogonality`). A plain stem of 3 channels gives whitening a covariance of rank 27 at most, however wide it
    is; "skew", which sees further, one of full rank.

    State dicts have torchvision's names: conv1, bn1, layer1.0.conv1, ..., fc. Defaults are CIFAR-10 with a whitened
    stem; for CIFAR-100 the release has ``depth=50, classes=100``, with the mean and deviation of CIFAR-10.

    Attributes:
        depth: row of the table: 18, 34 or 50.
        classes: how many there are to tell apart.
        channels: of the images.
        resolution: side of the images, in pixels.
        width: channels of the stem, and of convolutions in the first stage; twice as many in each further one.
        blocks: blocks of each stage in place of the table's; as many stages as entries.
        norm: of the stem, "zca" or "batchnorm".
        groups: of channels that ZCA whitens, each on its own.
        eps: ridge of ZCA's covariance.
        momentum: share of the newest batch in ZCA's averages.
        method: how ZCA's root is found, see `orthogen.layers.zca`; "pade" is the released one.
        stem: "plain"; "skew", a skew orthogonal convolution (OW); "orthogonal", whose weight is the polar factor of
            what is learned; or "spectral", whose weight is divided by its largest singular value (SN). See
            `orthogen.layers.constrain`; names of the state dict are others then.
        head: how the last map becomes a vector: its "average", or the root of the "covariance" of its channels (GCP).
        reduce_to: channels that the covariance is of, by a 1x1 convolution before it.
        mean: of the training images in [0, 1], channel by channel; subtracted within the network.
        std: their deviation, which divides.

    Raises:
        ValueError: another depth, norm, stem, head or method; a size that is not positive; mean or deviation of other
            channels, or a deviation that is not positive.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016; L. Huang, D. Yang,
        B. Lang, J. Deng, "Decorrelated Batch Normalization", CVPR 2018; sizes are those of the networks trained on
        CIFAR in Y. Song, N. Sebe, W. Wang, "Improving Covariance Conditioning of the SVD Meta-layer by Orthogonality",
        ECCV 2022.

    Example:
        >>> import torch
        >>> def parameters(model):
        ...     return sum(p.numel() for p in model.build()["classifier"].parameters())
        >>> with torch.device("meta"):  # no memory, only sizes
        ...     parameters(DecorrelatedResNet()), parameters(DecorrelatedResNet(depth=50, classes=100))
        (11173962, 23705252)
        >>> small = DecorrelatedResNet(width=16, blocks=(1, 1, 1), stem="skew")
        >>> small.build()["classifier"](torch.rand(2, 3, 32, 32) * 2 - 1).shape, small.stem_layer
        (torch.Size([2, 10]), 'conv1')
    """

    depth: Literal[18, 34, 50] = 18
    classes: int = 10
    channels: int = 3
    resolution: int = 32
    width: int = 64
    blocks: tuple[int, ...] | None = None
    norm: Literal["zca", "batchnorm"] = "zca"
    groups: int = 1
    eps: float = 1e-2
    momentum: float = 0.1
    method: RootMethod = "eigh"
    stem: Literal["plain", "skew", "orthogonal", "spectral"] = "plain"
    head: Literal["average", "covariance"] = "average"
    reduce_to: int = 256
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, ...] = (0.2023, 0.1994, 0.2010)

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("classes", "channels", "resolution", "width", "groups", "reduce_to"):
            if getattr(self, name) < 1:
                raise ValueError(f"DecorrelatedResNet({name}={getattr(self, name)}): it must be positive")
        if self.width % self.groups:
            raise ValueError(
                f"DecorrelatedResNet(width={self.width}, groups={self.groups}): give groups that divide the channels"
            )
        if self.blocks is not None and min(self.blocks, default=0) < 1:
            raise ValueError(
                f"DecorrelatedResNet(blocks={self.blocks}): give one stage or more, each of one block or more"
            )
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"DecorrelatedResNet(mean={self.mean}, std={self.std}): give one number per channel, {self.channels} "
                "of each"
            )
        if min(self.std) <= 0:
            raise ValueError(f"DecorrelatedResNet(std={self.std}): deviations must be positive")

    @property
    def stem_layer(self) -> str:
        """The name of the convolution before the whitening, for step rules, penalties and monitors.

        Example:
            >>> from orthogen import ConditioningMonitor, NearestOrthogonalGradient
            >>> model = DecorrelatedResNet(width=8, blocks=(1,))
            >>> network = model.build()["classifier"]
            >>> bound = NearestOrthogonalGradient((model.stem_layer,)).bind(network)
            >>> monitor = ConditioningMonitor((model.stem_layer,)).bind(network)
        """
        return "conv1"

    def build(self) -> dict[str, nn.Module]:
        """``classifier``: images in [-1, 1] to logits ``(batch, classes)``."""
        block, blocks = TABLE[self.depth]
        norm = (
            ZcaNorm2d(self.width, self.eps, self.momentum, groups=self.groups, method=self.method)
            if self.norm == "zca"
            else nn.BatchNorm2d(self.width)
        )
        covariance = self.reduce_to if self.head == "covariance" else None
        network = ResNet(
            block,
            self.blocks or blocks,
            self.width,
            self.channels,
            self.classes,
            norm,
            covariance,
            self.mean,
            self.std,
        )
        if self.stem != "plain":
            constrain(network, (self.stem_layer,), CONSTRAINTS[self.stem])
        return {"classifier": network}
