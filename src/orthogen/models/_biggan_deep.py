"""The networks of BigGAN-deep. State dicts are named as in the files of BigGAN-PyTorch."""

from collections.abc import Callable, Collection
from itertools import pairwise

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float, Int
from orthogen.layers.batch_norm import ConditionalBatchNorm2d, Statistics
from orthogen.layers.bottleneck_blocks import BottleneckDownBlock, BottleneckUpBlock
from orthogen.layers.orthogonal_init import orthogonal_init
from orthogen.layers.recorded import Recorded
from orthogen.layers.self_attention import SelfAttention
from orthogen.layers.spectral_norm import SpectralConv2d, SpectralEmbedding, SpectralLinear
from orthogen.models._residual import ResidualLevels, checked_labels, projected, to_image, upwards

__all__ = ["DeepCritic", "DeepGenerator"]


class DeepGenerator(nn.Module):
    """A linear layer to 4x4 pixels, bottlenecks, every ``depth``-th of which doubles the side, and a convolution.

        c = [embedding of the class; z],   h_0 = linear(c),   h_i = block_i(h_{i-1}, c)

    Args:
        levels: channels at each side.
        dim: of the latent.
        classes: number of classes.
        shared_dim: width of the class embedding.
        channels: of the images.
        attention: sides, in pixels, after whose last block there is self-attention.
        depth: blocks per doubling; the last of them doubles and drops channels.
        spectral: whether all weights but the class embedding have spectral norm.
        statistics: of the batch norms in evaluation.
        eps: of the batch norms.
    """

    def __init__(
        self,
        levels: ResidualLevels,
        dim: int,
        classes: int,
        shared_dim: int,
        channels: int,
        attention: Collection[int],
        depth: int,
        spectral: bool,
        statistics: Statistics | Recorded,
        eps: float,
    ) -> None:
        super().__init__()
        self.classes = classes
        linear: Callable[..., nn.Module] = SpectralLinear if spectral else nn.Linear

        def norm(c: int) -> nn.Module:
            gain, bias = (linear(shared_dim + dim, c, bias=False) for _ in range(2))
            return ConditionalBatchNorm2d(gain, bias, c, eps, statistics=statistics)

        self.shared = nn.Embedding(classes, shared_dim)
        self.linear = linear(shared_dim + dim, levels.generator[0] * 16)
        self.blocks = nn.ModuleList()
        for (before, after), side in zip(pairwise(levels.generator), levels.generator_sides, strict=True):
            for _ in range(depth - 1):
                self.blocks.append(nn.ModuleList([BottleneckUpBlock(before, before, norm, False, spectral)]))
            last = nn.ModuleList([BottleneckUpBlock(before, after, norm, True, spectral)])
            if side in attention:
                last.append(SelfAttention(after, spectral))
            self.blocks.append(last)
        self.output_layer = to_image(levels.generator[-1], channels, spectral, eps, statistics)
        orthogonal_init(self)

    def forward(
        self, z: Float[Tensor, "batch dim"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1] of those classes."""
        condition = torch.cat([self.shared(checked_labels(label, self.classes, "generator")), z], dim=1)
        h = self.linear(condition).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            h = upwards(block, h, condition)
        return self.output_layer(h).tanh()


class DeepCritic(nn.Module):
    """A convolution, bottlenecks, every ``depth``-th of which halves the side, and a projection critic's head.

        D(x, y) = linear(h) + embed(y) . h,   h = sum over pixels of relu(blocks(input_conv(x)))

    All weights have spectral norm.

    Args:
        levels: channels after the convolution, then at each halving.
        classes: number of classes.
        channels: of the images.
        attention: sides, in pixels, after whose last block there is self-attention.
        depth: blocks per halving; the first of them halves and adds channels.
    """

    def __init__(
        self, levels: ResidualLevels, classes: int, channels: int, attention: Collection[int], depth: int
    ) -> None:
        super().__init__()
        self.classes = classes
        self.input_conv = SpectralConv2d(channels, levels.critic[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for i, (before, after) in enumerate(pairwise(levels.critic)):
            halve = i < levels.critic_halvings
            group = [nn.ModuleList([BottleneckDownBlock(before, after, halve)])]
            group += [nn.ModuleList([BottleneckDownBlock(after, after, False)]) for _ in range(depth - 1)]
            if levels.critic_sides[i] in attention and halve:  # once per side
                group[-1].append(SelfAttention(after))
            self.blocks.extend(group)
        self.linear = SpectralLinear(levels.critic[-1], 1)
        self.embed = SpectralEmbedding(classes, levels.critic[-1])
        orthogonal_init(self)

    def forward(
        self, images: Float[Tensor, "batch c h w"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch 1"]:
        """Logits of real against generated, for images of those classes."""
        label = checked_labels(label, self.classes, "critic")
        h = self.input_conv(images)
        for block in self.blocks:
            for layer in block.children():
                h = layer(h)
        return projected(h, label, self.linear, self.embed)
