"""The networks that SNGAN and BigGAN share: a generator under class labels, and a projection critic.

State dicts are named as in the files of BigGAN-PyTorch.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float, Int
from orthogen.layers.batch_norm import BatchNorm2d, ConditionalBatchNorm2d, Statistics
from orthogen.layers.orthogonal_init import orthogonal_init
from orthogen.layers.recorded import Recorded
from orthogen.layers.residual_blocks import DownBlock, UpBlock
from orthogen.layers.self_attention import SelfAttention
from orthogen.layers.spectral_norm import SpectralConv2d, SpectralEmbedding, SpectralLinear

__all__ = [
    "ResidualCritic",
    "ResidualGenerator",
    "ResidualLevels",
    "checked_labels",
    "chunk_widths",
    "projected",
    "to_image",
    "upwards",
]

# channels over width, at 4, 8, ... pixels of the generator, and after each block of the critic
GENERATOR_LEVELS = {
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
CRITIC_LEVELS = {
    32: (2, 2, 2, 2),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}


@dataclass(frozen=True)
class ResidualLevels:
    """Channels of both networks at a resolution, of the papers' tables or given; ``critic_halvings`` of its first
    blocks halve the side (two at 32 pixels, else down to 4).

    Raises:
        ValueError: the side is no 4·2^n, the tables lack it and nothing was given, or what was given does not fit it.
    """

    resolution: int
    generator: tuple[int, ...]
    critic: tuple[int, ...]
    critic_halvings: int

    @classmethod
    def of(
        cls,
        name: str,
        resolution: int,
        width: int,
        critic_width: int,
        generator_levels: tuple[int, ...] | None,
        critic_levels: tuple[int, ...] | None,
    ) -> "ResidualLevels":
        """The channels for a model's fields; ``name`` is the model's."""
        n = resolution.bit_length() - 3  # doublings
        if n < 1 or resolution != 4 * 2**n:
            raise ValueError(f"{name}(resolution={resolution}): the side is 4·2^n pixels; give 8, 16, 32, 64, 128, ...")
        if min(width, critic_width, *(generator_levels or ()), *(critic_levels or ())) < 1:
            raise ValueError(f"{name}: widths and levels are 1 at least")
        if resolution not in GENERATOR_LEVELS and (generator_levels is None or critic_levels is None):
            raise ValueError(
                f"{name}(resolution={resolution}): the papers' tables have 32, 64, 128, 256 and 512 pixels; for others "
                "give generator_levels and critic_levels"
            )
        if generator_levels is not None and len(generator_levels) != n + 1:
            raise ValueError(
                f"{name}(generator_levels={generator_levels}): give {n + 1} entries, for 4, 8, ..., {resolution} pixels"
            )
        if critic_levels is not None and not 1 <= len(critic_levels) <= n + 1:
            raise ValueError(
                f"{name}(critic_levels={critic_levels}): give 1 to {n + 1} entries at {resolution} pixels; all blocks "
                "but the last halve the side"
            )
        generator = GENERATOR_LEVELS[resolution] if generator_levels is None else generator_levels
        critic = CRITIC_LEVELS[resolution] if critic_levels is None else critic_levels
        return cls(
            resolution,
            tuple(width * level for level in generator),
            tuple(critic_width * level for level in critic),
            2 if critic_levels is None and resolution == 32 else len(critic) - 1,
        )

    @property
    def generator_sides(self) -> tuple[int, ...]:
        """Side of each generator block's output, in pixels."""
        return tuple(8 * 2**i for i in range(len(self.generator) - 1))

    @property
    def critic_sides(self) -> tuple[int, ...]:
        """Side of each critic block's output, in pixels."""
        return tuple(self.resolution // 2 ** min(i + 1, self.critic_halvings) for i in range(len(self.critic)))


def chunk_widths(dim: int, blocks: int, hierarchical: bool) -> tuple[int, ...]:
    """How the latent is shared out: to the first layer, then to each block; all to the first if not hierarchical."""
    return (dim // (blocks + 1),) * (blocks + 1) if hierarchical else (dim,)


def checked_labels(label: Tensor | None, classes: int, who: str) -> Tensor:
    """Class labels, refused where they are missing or (on a CPU, where looking is free) out of range."""
    if label is None:
        raise ValueError(
            f"this {who} takes class labels: hand it label=, integers from 0 to {classes - 1}, one per sample "
            "(og.given(f, label=...) in a map)"
        )
    if label.device.type == "cpu" and label.numel() and not (0 <= int(label.min()) <= int(label.max()) < classes):
        raise ValueError(
            f"labels from {int(label.min())} to {int(label.max())} were given; 0 to {classes - 1} are known"
        )
    return label


def to_image(width: int, channels: int, spectral: bool, eps: float, statistics: Statistics | Recorded) -> nn.Sequential:
    """What makes an image, but for the tanh, of the last feature maps."""
    conv: Callable[..., nn.Module] = SpectralConv2d if spectral else nn.Conv2d
    return nn.Sequential(BatchNorm2d(width, eps, statistics=statistics), nn.ReLU(), conv(width, channels, 3, padding=1))


def upwards(block: nn.Module, h: Tensor, condition: Tensor) -> Tensor:
    """A generator's block under its condition, and the attention behind it, where there is any."""
    up, *attention = block.children()
    h = up(h, condition)
    for layer in attention:
        h = layer(h)
    return h


def projected(h: Tensor, label: Tensor, linear: nn.Module, embed: nn.Module) -> Float[Tensor, "batch 1"]:
    """The head of a projection critic: linear(s) + embed(y) . s, s = sum over pixels of relu(h)."""
    s = F.relu(h).sum(dim=(2, 3))
    return linear(s) + (embed(label) * s).sum(dim=1, keepdim=True)


class ResidualGenerator(nn.Module):
    """A linear layer to 4x4 pixels, blocks that double the side, and a convolution to the image.

    Args:
        levels: channels at each side.
        chunks: widths of the parts of the latent: the linear layer's, then the blocks' (none, or one each).
        classes: number of classes.
        shared_dim: width of the class embedding that all norms share, beside a block's chunk of the latent; 0 for
            norms with tables of their own.
        channels: of the images.
        attention: sides, in pixels, after whose block there is self-attention.
        spectral: whether all weights but the class embedding have spectral norm.
        statistics: of the batch norms in evaluation.
        eps: of the batch norms.
    """

    def __init__(
        self,
        levels: ResidualLevels,
        chunks: Sequence[int],
        classes: int,
        shared_dim: int,
        channels: int,
        attention: Collection[int],
        spectral: bool,
        statistics: Statistics,
        eps: float,
    ) -> None:
        super().__init__()
        self.classes, self.chunks = classes, tuple(chunks)
        linear: Callable[..., nn.Module] = SpectralLinear if spectral else nn.Linear
        width = shared_dim + (chunks[1] if len(chunks) > 1 else 0)

        def norm(c: int) -> nn.Module:
            def table() -> nn.Module:
                return linear(width, c, bias=False) if shared_dim else nn.Embedding(classes, c)

            return ConditionalBatchNorm2d(table(), table(), c, eps, statistics=statistics)

        self.shared = nn.Embedding(classes, shared_dim) if shared_dim else None
        self.linear = linear(chunks[0], levels.generator[0] * 16)
        self.blocks = nn.ModuleList()
        for (before, after), side in zip(pairwise(levels.generator), levels.generator_sides, strict=True):
            block = nn.ModuleList([UpBlock(before, after, norm, spectral)])
            if side in attention:
                block.append(SelfAttention(after, spectral))
            self.blocks.append(block)
        self.output_layer = to_image(levels.generator[-1], channels, spectral, eps, statistics)
        orthogonal_init(self)

    def forward(
        self, z: Float[Tensor, "batch dim"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1] of those classes."""
        label = checked_labels(label, self.classes, "generator")
        first, *others = z.split(self.chunks, dim=1)
        if self.shared is None:
            conditions = [label] * len(self.blocks)
        else:
            y = self.shared(label)
            conditions = [torch.cat([y, chunk], dim=1) for chunk in others] or [y] * len(self.blocks)
        h = self.linear(first).unflatten(1, (-1, 4, 4))
        for block, condition in zip(self.blocks, conditions, strict=True):
            h = upwards(block, h, condition)
        return self.output_layer(h).tanh()


class ResidualCritic(nn.Module):
    """Blocks that halve the side, then a projection critic's head on the sum over pixels.

        D(x, y) = linear(h) + embed(y) . h,   h = sum over pixels of relu(blocks(x))

    All weights have spectral norm.

    Args:
        levels: channels after each block.
        classes: number of classes.
        channels: of the images.
        attention: sides, in pixels, after whose block there is self-attention.
        skip_relu: whether shortcuts start from the activated map, see `DownBlock`.
    """

    def __init__(
        self, levels: ResidualLevels, classes: int, channels: int, attention: Collection[int], skip_relu: bool
    ) -> None:
        super().__init__()
        self.classes = classes
        self.blocks = nn.ModuleList()
        for i, (before, after) in enumerate(pairwise((channels, *levels.critic))):
            halve = i < levels.critic_halvings
            block = nn.ModuleList([DownBlock(before, after, halve, first=i == 0, skip_relu=skip_relu)])
            if levels.critic_sides[i] in attention and halve:  # once per side
                block.append(SelfAttention(after))
            self.blocks.append(block)
        self.linear = SpectralLinear(levels.critic[-1], 1)
        self.embed = SpectralEmbedding(classes, levels.critic[-1])
        orthogonal_init(self)

    def forward(
        self, images: Float[Tensor, "batch c h w"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch 1"]:
        """Logits of real against generated, for images of those classes."""
        label = checked_labels(label, self.classes, "critic")
        h = images
        for block in self.blocks:
            for layer in block.children():
                h = layer(h)
        return projected(h, label, self.linear, self.embed)
