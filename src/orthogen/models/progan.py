"""ProGAN, written from the paper in plain PyTorch, in both variants that were published with latent penalties."""

import math
import re
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Normal
from orthogen.models._progan import Growing, ProGanCritic, ProGanGenerator

__all__ = ["ProGan"]

CITATION = """\
@inproceedings{karras2018progressive,
  title     = {Progressive Growing of {GANs} for Improved Quality, Stability, and Variation},
  author    = {Karras, Tero and Aila, Timo and Laine, Samuli and Lehtinen, Jaakko},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
"""


@dataclass(frozen=True)
class ProGan(Model):
    """Generator and critic that start at 4 pixels and grow, resolution by resolution, to any 4·2^n.

    ===============  ===========  ======  ===========  ================
    published with   latent       pixels  latent_norm  first_activation
    ===============  ===========  ======  ===========  ================
    the paper        Normal(512)  1024    True         True
    Hessian Penalty  Normal(12)   128     True         True
    OroJaR           Normal(12)   128     False        False
    ===============  ===========  ======  ===========  ================

    The defaults are those of the Hessian Penalty, which with OroJaR also has an under-parameterized Normal(3).

    Generator: per resolution two 3x3 convolutions (a dense layer and one convolution at 4 pixels), the first of which
    doubles the side, each with LeakyReLU 0.2 and pixel norm; an image from a 1x1 convolution. The critic mirrors it,
    without norms, and sees the standard deviation of groups of 4 samples before its last convolution. All weights have
    equalized learning rates. Channels at r pixels: min(channel_base / r, channel_max). There is no tanh: images may
    leave [-1, 1].

    Both networks have a buffer ``lod``: 0, as they are built, at full resolution, n at 4 pixels, and in between, with
    its fraction, the share of the lower resolution while a new one is faded in. Images have the full resolution always.

    Attributes:
        latent: where latents come from.
        channels: of the images.
        resolution: side of the images, in pixels.
        channel_base: channels times pixels.
        channel_max: the most channels.
        latent_norm: whether latents are divided by their root mean square. It adds no weights, so it can be left out of
            trained networks, as for traversals from latents that are normalized already.
        first_activation: whether the dense layer has activation and norm as the others do; without, and without
            ``latent_norm``, it is affine in z.

    Raises:
        ValueError: a field is out of range.

    Reference:
        T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and
        Variation", ICLR 2018, table 2; the variants: W. Peebles et al., "The Hessian Penalty: A Weak Prior for
        Unsupervised Disentanglement", ECCV 2020, and Y. Wei et al., "Orthogonal Jacobian Regularization for
        Unsupervised Disentanglement in Image Generation", ICCV 2021, with their released code.

    Example:
        >>> import torch
        >>> model = ProGan(resolution=32, channel_max=16)
        >>> networks = model.build()
        >>> images = networks["generator"](torch.ones(2, 12))
        >>> images.shape, networks["critic"](images).shape
        (torch.Size([2, 3, 32, 32]), torch.Size([2, 1]))
        >>> model.grow(networks["generator"], lod=3.0)  # 4 pixels, repeated
        >>> images = networks["generator"](torch.ones(1, 12))
        >>> bool((images[..., :8, :8] == images[..., :1, :1]).all())
        True
    """

    latent: Latent = field(default_factory=lambda: Normal(12))
    channels: int = 3
    resolution: int = 128
    channel_base: int = 16384
    channel_max: int = 512
    latent_norm: bool = True
    first_activation: bool = True

    bounded: ClassVar[bool] = False  # there is no tanh
    grows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.resolution < 4 or self.resolution & (self.resolution - 1):
            raise ValueError(
                f"ProGan(resolution={self.resolution}): the side is 4·2^n pixels; give 4, 8, 16, 32, 64, 128, ..."
            )
        if self.channels < 1 or self.channel_max < 1 or self.channel_base < self.resolution:
            raise ValueError(
                f"ProGan(channels={self.channels}, channel_base={self.channel_base}, channel_max={self.channel_max}): "
                f"all are positive, and the base is at least the resolution, {self.resolution}"
            )

    def _width(self, side: int) -> int:
        return min(self.channel_base // side, self.channel_max)

    @property
    def _widths(self) -> dict[int, int]:
        return {side: self._width(side) for side in (2**i for i in range(2, self.resolution.bit_length()))}

    @property
    def penalized_layers(self) -> tuple[str, ...]:
        """The layers of the generator that both papers number from 1, as the Hessian Penalty sees them: behind
        activation and norm. The last is the image; the papers' runs penalize the first ten.

        While a network is small, the higher ones do not run.

        Example:
            >>> ProGan().penalized_layers[:4], ProGan().penalized_layers[12]
            (('b4.conv0', 'b4.conv1', 'b8.conv0', 'b8.conv1'), 'output')
        """
        return (*(f"b{side}.{conv}" for side in self._widths for conv in ("conv0", "conv1")), "output")

    @property
    def preactivation_layers(self) -> tuple[str, ...]:
        """The same layers as OroJaR sees them: behind the bias, before activation and norm.

        Example:
            >>> ProGan().preactivation_layers[0], len(ProGan().preactivation_layers)
            ('b4.conv0.conv', 13)
        """
        return (*(f"{layer}.conv" for layer in self.penalized_layers[:-1]), "output")

    def grow(self, network: nn.Module, lod: float) -> None:
        """Bring one of the networks to a level of detail, from 0 at the full resolution to n at 4 pixels."""
        assert isinstance(network, Growing)
        network.grow(lod)

    def layer_share(self, layer: str, lod: float) -> float:
        """How far a layer takes part: rising from 0 to 1 while its resolution is faded in, the image with the last.

        A resolution's own image, ``torgb``, leaves again as the next one is faded in.

        Example:
            >>> [ProGan(resolution=32).layer_share(layer, 1.75) for layer in ("b8.conv0", "b16.conv0", "b32.conv0")]
            [1.0, 0.25, 0.0]
        """
        side = re.match(r"b(\d+)\.", f"{layer}.")
        if side is None and layer != "output":
            return 1.0
        own = 0 if side is None else int(math.log2(self.resolution // int(side[1])))
        if layer.endswith(".torgb"):
            return max(0.0, 1 - abs(own - lod))
        return min(1.0, max(0.0, own + 1 - lod))

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim)`` to images; ``critic``: images to logits ``(batch, 1)``."""
        generator = ProGanGenerator(
            self.latent.dim,
            self._widths,
            self.channels,
            latent_norm=self.latent_norm,
            first_activation=self.first_activation,
        )
        return {"generator": generator, "critic": ProGanCritic(self._widths, self._width(2), self.channels)}
