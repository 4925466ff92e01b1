"""The simple GAN of OroJaR: a plain convolutional generator and critic with instance norm."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Normal
from orthogen.core.shapes import Float
from orthogen.layers.block import Block
from orthogen.layers.constrain import constrain
from orthogen.layers.conv_encoder import ConvEncoder

__all__ = ["SimpleGan"]


class SimpleGenerator(nn.Module):
    """Transposed convolutions, ``levels[i]`` channels at 4·2^i pixels, then a 3x3 convolution to the image.

    The first one is affine: it has neither norm nor activation.
    """

    def __init__(self, dim: int, levels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Block(nn.ConvTranspose2d(dim, levels[0], 4)))
        for before, after in pairwise(levels):
            doubling = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            self.layers.append(Block(doubling, after, nn.LeakyReLU(0.2)))
        self.layers.append(Block(nn.Conv2d(levels[-1], channels, 3, padding=1), activation=nn.Tanh()))

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1]."""
        return self.layers(z[:, :, None, None])


@dataclass(frozen=True)
class SimpleGan(Model):
    """Generator and critic of the simple GAN, at the published 64 and 128 pixels or any 4·2^n.

    ==========  ========================================  ==========================================
    published   generator, channels at 4, 8, ... pixels   critic, channels after each convolution
    ==========  ========================================  ==========================================
    64 px       512, 256, 128, 64, 64                     64, 128, 256, 512, then linear 512 (ReLU)
    128 px      1024, 1024, 512, 256, 128, 64             64, ..., 1024, then linear 1024 (no ReLU)
    ==========  ========================================  ==========================================

    Generator: transposed convolutions (kernel 4; the first affine, the others with instance norm and LeakyReLU 0.2),
    then a 3x3 convolution and tanh. Critic: convolutions (kernel 4, stride 2; instance norm except on the first, ReLU)
    down to 4 pixels, then two linear layers. State dicts have the published names, so published weights load.

    Other resolutions extend the two rows. Below 64 px the generator has the first levels of the 64-px row; above, 64
    channels at full size and twice as many at each halving, up to 1024, which is the 128-px row continued. The critic
    doubles from 64 up to 1024; its hidden layer is as wide as its last convolution, with a ReLU up to 64 px only.

    Attributes:
        latent: where latents come from; N(0, I) of 6 dimensions for dSprites, of 30 for CelebA.
        channels: of the images; 1 for dSprites, 3 for CelebA.
        resolution: side of the images, in pixels.
        width: factor on the number of channels of every level, rounded.
        generator_channels: channels at 4, 8, ... pixels instead of the table's; one entry per level.
        critic_channels: channels after each stride-2 convolution instead of the table's.
        critic_hidden: width of the critic's hidden layer; 0 for none, None for that of its last convolution.
        critic_norm: whether the critic has instance norms.
        first: the generator's first weight, whose rows are the directions that latents take in the maps of 4 pixels:
            "free", as published; "orthogonal", the polar factor of what is learned; or "spectral", divided by its
            largest singular value. See `orthogen.layers.constrain`; names of the state dict are others then.

    Raises:
        ValueError: the resolution is no 4·2^n, the channels do not fit it, or there is no such kind of weight.

    Reference:
        Y. Wei, Y. Shi, X. Liu, Z. Ji, Y. Gao, Z. Wu, W. Zuo, "Orthogonal Jacobian Regularization for Unsupervised
        Disentanglement in Image Generation", ICCV 2021; the released networks ``gan`` and ``gan128``.

    Example:
        >>> import torch
        >>> networks = SimpleGan().build()
        >>> [sum(p.numel() for p in net.parameters()) for net in networks.values()]
        [2869313, 6950721]
        >>> small = SimpleGan(Normal(6), channels=3, resolution=32, generator_channels=(128, 128, 64, 32))
        >>> small.build()["generator"](torch.zeros(2, 6)).shape
        torch.Size([2, 3, 32, 32])
    """

    latent: Latent = field(default_factory=lambda: Normal(6))
    channels: int = 1
    resolution: int = 64
    width: float = 1.0
    generator_channels: tuple[int, ...] | None = None
    critic_channels: tuple[int, ...] | None = None
    critic_hidden: int | None = None
    critic_norm: bool = True
    first: Literal["free", "orthogonal", "spectral"] = "free"

    def __post_init__(self) -> None:
        check_choices(self)
        n = self.resolution.bit_length() - 3
        if n < 1 or self.resolution != 4 * 2**n:
            raise ValueError(
                f"SimpleGan(resolution={self.resolution}): the side is 4·2^n pixels; give 8, 16, 32, 64, 128, ..."
            )
        positive = (self.width, self.channels, *(self.generator_channels or ()), *(self.critic_channels or ()))
        if min(positive) <= 0 or (self.critic_hidden or 0) < 0:
            raise ValueError(f"{self}: width and numbers of channels must be positive")
        if self.generator_channels is not None and len(self.generator_channels) != n + 1:
            raise ValueError(
                f"SimpleGan(generator_channels={self.generator_channels}): give {n + 1} entries, "
                f"for 4, 8, ..., {self.resolution} pixels"
            )
        if self.critic_channels is not None and not 1 <= len(self.critic_channels) <= n + 1:
            raise ValueError(
                f"SimpleGan(critic_channels={self.critic_channels}): give one entry per halving of the image, 1 to "
                f"{n + 1} at {self.resolution} pixels"
            )

    def _scaled(self, channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(self.width * c)) if c else 0 for c in channels)

    @property
    def _generator_levels(self) -> tuple[int, ...]:
        levels = self.resolution.bit_length() - 2  # at 4, 8, ... pixels
        if self.generator_channels is not None:
            return self._scaled(self.generator_channels)
        if self.resolution <= 64:
            return self._scaled((512, 256, 128, 64, 64)[:levels])
        return self._scaled(tuple(min(1024, 64 * 2**i) for i in reversed(range(levels))))

    @property
    def _critic_levels(self) -> tuple[int, ...]:
        levels = self.resolution.bit_length() - 3  # down to 4 pixels
        return self._scaled(self.critic_channels or tuple(min(1024, 64 * 2**i) for i in range(levels)))

    @property
    def regularized_layers(self) -> tuple[str, ...]:
        """The layers on which the paper puts its penalties: the convolution outputs, before their norm, of all
        levels but the last.

        Example:
            >>> SimpleGan().regularized_layers[-1]
            'layers.3.layers.conv'
        """
        return tuple(f"layers.{i}.layers.conv" for i in range(len(self._generator_levels) - 1))

    @property
    def first_weight(self) -> str:
        """The name of the generator's first weight, for penalties and step rules on it.

        Example:
            >>> from orthogen import NearestOrthogonalGradient
            >>> model = SimpleGan(first="orthogonal")
            >>> list(NearestOrthogonalGradient((model.first_weight,)).bind(model.build()["generator"]).parameters)
            ['layers.0.layers.conv.weight']
        """
        return "layers.0.layers.conv.weight"

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim)`` to images; ``critic``: images to logits ``(batch, 1)``."""
        levels = self._critic_levels
        hidden = levels[-1] if self.critic_hidden is None else self._scaled((self.critic_hidden,))[0]
        generator = SimpleGenerator(self.latent.dim, self._generator_levels, self.channels)
        if self.first != "free":
            constrain(generator, (self.first_weight,), "polar" if self.first == "orthogonal" else "spectral")
        critic = ConvEncoder(
            (self.channels, self.resolution, self.resolution),
            levels,
            hidden,
            outputs=1,
            hidden_activation=nn.ReLU if self.resolution <= 64 else None,
            norm=self.critic_norm,
        )
        return {"generator": generator, "critic": critic}
