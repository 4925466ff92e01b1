"""BigGAN-deep: bottlenecks in place of BigGAN's blocks, and the whole latent at every one of them."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Normal, TruncatedNormal
from orthogen.layers.batch_norm import Statistics
from orthogen.layers.recorded import Recorded
from orthogen.models._biggan_deep import DeepCritic, DeepGenerator
from orthogen.models._residual import ResidualLevels
from orthogen.models._scaled import Scaled

__all__ = ["BigGanDeep"]

CITATION = """\
@inproceedings{brock2019large,
  title     = {Large Scale {GAN} Training for High Fidelity Natural Image Synthesis},
  author    = {Brock, Andrew and Donahue, Jeff and Simonyan, Karen},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2019}
}
"""

_DEEPEST = 100  # a file must not ask for more


@dataclass(frozen=True)
class BigGanDeep(Model):
    """Generator and projection critic of BigGAN-deep, at the published resolutions or any 4·2^n.

    It is of the same paper as `BigGan`, and a class of its own because its latent is another one: it is not cut into
    chunks, but goes whole, beside the class embedding, into the first layer and into the norms of every block.

        c = [embed(y); z],   x = tanh(conv(relu(bn(block_n(... block_1(linear(c), c) ..., c)))))

    Blocks are bottlenecks (`orthogen.layers.bottleneck_blocks`), two per resolution; the second one doubles the side.
    Channels at 4, 8, ... pixels are those of `BigGan`'s table; the critic has a convolution to the first entry of its
    row, and each other entry stands for two blocks, the first of which halves the side.

    The generator takes ``label=``, one class per sample. State dicts have the names of the BigGAN-PyTorch files.

    Attributes:
        resolution: side of the images, in pixels.
        channels: of the images.
        classes: number of classes.
        dim: of the latent.
        shared_dim: width of the class embedding.
        width: what a 1 in the table stands for, in channels.
        critic_width: the same for the critic; as ``width`` if None.
        generator_levels: the generator's row of the table, where another one is wanted; it must not rise.
        critic_levels: the critic's; it must not fall.
        attention: sides, in pixels, after whose last block the generator has self-attention.
        critic_attention: the same for the critic; as ``attention`` if None.
        depth: blocks per resolution.
        spectral: whether the generator has spectral norm; the critic always has.
        statistics: of batch norms in evaluation, see `orthogen.layers.batch_norm.ConditionalBatchNorm2d`.
        recorded: how many truncations, evenly from 0 to 1, batch norms have running statistics for, as in the released
            weights (51); 0 for one set of them. With recorded ones, ``truncation`` picks them, and None means 1.
        eps: of the batch norms.
        truncation: factor on the latent, whose components are cut off at 2 first (the truncation trick as it was
            released); None for all of N(0, I).

    Raises:
        ValueError: resolution, levels or attention do not fit together; or a truncation beyond what is recorded.

    Reference:
        A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        ICLR 2019, appendix B; width, dim, eps and attention of the released 128-pixel model.

    Example:
        >>> import torch
        >>> small = BigGanDeep(resolution=32, classes=10, dim=8, shared_dim=8, width=4, attention=(16,), truncation=0.4)
        >>> G = small.adapt(small.build()["generator"])
        >>> G.sample(2, label=torch.tensor([3, 7])).shape
        torch.Size([2, 3, 32, 32])
        >>> G.latent.span
        (-0.8, 0.8)
    """

    resolution: int = 128
    channels: int = 3
    classes: int = 1000
    dim: int = 128
    shared_dim: int = 128
    width: int = 128
    critic_width: int | None = None
    generator_levels: tuple[int, ...] | None = None
    critic_levels: tuple[int, ...] | None = None
    attention: tuple[int, ...] = (64,)
    critic_attention: tuple[int, ...] | None = None
    depth: int = 2
    spectral: bool = True
    statistics: Statistics = "running"
    recorded: int = 0
    eps: float = 1e-4
    truncation: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.channels, self.classes, self.dim, self.shared_dim, self.depth) < 1 or self.depth > _DEEPEST:
            raise ValueError(
                f"{self}: channels, classes, dim, shared_dim and depth are 1 at least, and depth at most {_DEEPEST}"
            )
        levels = self._levels
        if any(before < after for before, after in pairwise(levels.generator)):
            raise ValueError(f"BigGanDeep(generator_levels={self.generator_levels}): its blocks only drop channels")
        if any(before > after for before, after in pairwise(levels.critic)):
            raise ValueError(f"BigGanDeep(critic_levels={self.critic_levels}): its blocks only add channels")
        for field, wanted, sides in (
            ("attention", self.attention, levels.generator_sides),
            ("critic_attention", self._critic_attention, levels.critic_sides[: len(levels.critic) - 1]),
        ):
            if missing := set(wanted) - set(sides):
                raise ValueError(
                    f"BigGanDeep({field}={wanted}): at {self.resolution} pixels no block ends at {min(missing)}; give "
                    f"some of {sorted(set(sides))}, or () for none"
                )
        if self.truncation is not None and not self.truncation > 0:
            raise ValueError(f"BigGanDeep(truncation={self.truncation}): give a positive factor, or None for none")
        if self.recorded == 1 or self.recorded < 0 or (self.recorded and self.statistics != "running"):
            raise ValueError(
                f"BigGanDeep(recorded={self.recorded}, statistics={self.statistics!r}): give 0, or for running "
                "statistics 2 truncations at least"
            )
        if self.recorded and (self.truncation or 1) > 1:
            raise ValueError(
                f"BigGanDeep(truncation={self.truncation}): its statistics are recorded for truncations up to 1"
            )

    @property
    def _levels(self) -> ResidualLevels:
        critic_width = self.width if self.critic_width is None else self.critic_width
        return ResidualLevels.of(
            "BigGanDeep", self.resolution, self.width, critic_width, self.generator_levels, self.critic_levels
        )

    @property
    def _critic_attention(self) -> tuple[int, ...]:
        return self.attention if self.critic_attention is None else self.critic_attention

    @property
    def latent(self) -> Latent:  # type: ignore[override]
        """Normal latents, or cut-off and scaled ones."""
        if self.truncation is None:
            return Normal(self.dim)
        return Scaled(TruncatedNormal(self.dim, bound=2.0), self.truncation)

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents and labels to images; ``critic``: images and labels to logits ``(batch, 1)``."""
        levels = self._levels
        recorded = Recorded(self.recorded, self.truncation or 1.0) if self.recorded else None
        generator = DeepGenerator(
            levels,
            self.dim,
            self.classes,
            self.shared_dim,
            self.channels,
            self.attention,
            self.depth,
            self.spectral,
            recorded or self.statistics,
            self.eps,
        )
        critic = DeepCritic(levels, self.classes, self.channels, self._critic_attention, self.depth)
        return {"generator": generator, "critic": critic}
