"""BigGAN: a class-conditional generator with a shared embedding and a latent shared out to all depths."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Model
from orthogen.core.latent import Blocks, Latent, Normal, TruncatedNormal
from orthogen.layers.batch_norm import Statistics
from orthogen.models._residual import ResidualCritic, ResidualGenerator, ResidualLevels, chunk_widths

__all__ = ["BigGan"]

CITATION = """\
@inproceedings{brock2019large,
  title     = {Large Scale {GAN} Training for High Fidelity Natural Image Synthesis},
  author    = {Brock, Andrew and Donahue, Jeff and Simonyan, Karen},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2019}
}
"""


@dataclass(frozen=True)
class BigGan(Model):
    """Generator and projection critic of BigGAN, at the published resolutions or any 4·2^n.

    ==========  ================================================  ==========================================
    pixels      generator, channels / width at 4, 8, ... pixels   critic, channels / width after each block
    ==========  ================================================  ==========================================
    32          4, 4, 4, 4                                        2, 2, 2, 2 (two of them halve the side)
    64          16, 8, 4, 2, 1                                    1, 2, 4, 8, 16
    128         16, 16, 8, 4, 2, 1                                1, 2, 4, 8, 16, 16
    256         16, 16, 8, 8, 4, 2, 1                             1, 2, 4, 8, 8, 16, 16
    512         16, 16, 8, 8, 4, 2, 1, 1                          1, 1, 2, 4, 8, 8, 16, 16
    ==========  ================================================  ==========================================

    The generator takes ``label=``, one class per sample. Its latent is cut into equal chunks: the first one goes
    through the linear layer, each other one beside the class embedding into the norms of a block. Thirds of the chunks
    (the earlier thirds larger where it must be) are the blocks ``coarse``, ``mid`` and ``fine`` of the latent: at 128
    pixels components 0-39, 40-79 and 80-119, as in the searches of the Hessian Penalty and OroJaR. The defaults are the
    ImageNet model at 128 pixels of those searches; state dicts have the names of the BigGAN-PyTorch files. The critics
    of StudioGAN have classes x shared_dim parameters more, for a class embedding that nothing reads.

    Attributes:
        resolution: side of the images, in pixels.
        channels: of the images.
        classes: number of classes.
        dim: of the latent; with ``hierarchical`` a multiple of the number of chunks, which is one more than of blocks.
        shared_dim: width of the class embedding.
        hierarchical: whether blocks get chunks of the latent; False for all of it at the first layer.
        width: what a 1 in the table stands for, in channels.
        critic_width: the same for the critic; as ``width`` if None.
        generator_levels: the generator's row of the table, where another one is wanted.
        critic_levels: the critic's; all of its blocks but the last halve the side.
        attention: sides, in pixels, after whose block the generator has self-attention.
        critic_attention: the same for the critic; as ``attention`` if None.
        spectral: whether the generator has spectral norm; the critic always has.
        statistics: of batch norms in evaluation: "running" averages, "standing" statistics measured for the purpose
            (see `orthogen.layers.batch_norm`), or those of the "batch".
        eps: of the batch norms.
        skip_relu: whether the critic's shortcuts start from the activated map, as in StudioGAN's networks, where an
            in-place activation has it so.
        truncation: bound on the latent's components (the truncation trick); None for none.

    Raises:
        ValueError: resolution, levels, attention or the latent's dimension do not fit together.

    Reference:
        A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        ICLR 2019, appendix B; width, dim and attention of the released 128-pixel model.

    Example:
        >>> import torch
        >>> BigGan().latent.slices["mid"]
        slice(40, 80, None)
        >>> small = BigGan(resolution=32, classes=10, dim=16, shared_dim=8, width=2, attention=(16,))
        >>> G = small.adapt(small.build()["generator"])
        >>> G.sample(2, label=torch.tensor([3, 7])).shape
        torch.Size([2, 3, 32, 32])
    """

    resolution: int = 128
    channels: int = 3
    classes: int = 1000
    dim: int = 120
    shared_dim: int = 128
    hierarchical: bool = True
    width: int = 96
    critic_width: int | None = None
    generator_levels: tuple[int, ...] | None = None
    critic_levels: tuple[int, ...] | None = None
    attention: tuple[int, ...] = (64,)
    critic_attention: tuple[int, ...] | None = None
    spectral: bool = True
    statistics: Statistics = "running"
    eps: float = 1e-5
    skip_relu: bool = False
    truncation: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.channels, self.classes, self.dim, self.shared_dim) < 1:
            raise ValueError(f"{self}: channels, classes, dim and shared_dim are 1 at least")
        blocks = len(self._levels.generator_sides)
        if self.hierarchical and self.dim % (blocks + 1):
            raise ValueError(
                f"BigGan(dim={self.dim}): at {self.resolution} pixels the latent is cut into {blocks + 1} chunks; give "
                f"a multiple of {blocks + 1}, or hierarchical=False"
            )
        for field, wanted, sides in (
            ("attention", self.attention, self._levels.generator_sides),
            ("critic_attention", self._critic_attention, self._levels.critic_sides),
        ):
            if missing := set(wanted) - set(sides):
                raise ValueError(
                    f"BigGan({field}={wanted}): at {self.resolution} pixels no block ends at {min(missing)}; give some "
                    f"of {sorted(set(sides))}, or () for none"
                )
        if self.truncation is not None and not self.truncation > 0:
            raise ValueError(f"BigGan(truncation={self.truncation}): give a positive bound, or None for none")

    @property
    def _levels(self) -> ResidualLevels:
        critic_width = self.width if self.critic_width is None else self.critic_width
        return ResidualLevels.of(
            "BigGan", self.resolution, self.width, critic_width, self.generator_levels, self.critic_levels
        )

    @property
    def _chunks(self) -> tuple[int, ...]:
        return chunk_widths(self.dim, len(self._levels.generator_sides), self.hierarchical)

    @property
    def _critic_attention(self) -> tuple[int, ...]:
        return self.attention if self.critic_attention is None else self.critic_attention

    @property
    def latent(self) -> Latent:  # type: ignore[override]
        """Normal latents: blocks ``coarse``, ``mid`` and ``fine`` where the latent is cut into three chunks or more."""
        part: Callable[[int], Latent] = Normal
        if (bound := self.truncation) is not None:
            part = lambda dim: TruncatedNormal(dim, bound)  # noqa: E731
        chunks = self._chunks
        if len(chunks) < 3:
            return part(self.dim)
        counts = [(len(chunks) + 2 - i) // 3 for i in range(3)]
        return Blocks({name: part(n * chunks[0]) for name, n in zip(("coarse", "mid", "fine"), counts, strict=True)})

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents and labels to images; ``critic``: images and labels to logits ``(batch, 1)``."""
        levels = self._levels
        generator = ResidualGenerator(
            levels,
            self._chunks,
            self.classes,
            self.shared_dim,
            self.channels,
            self.attention,
            self.spectral,
            self.statistics,
            self.eps,
        )
        critic = ResidualCritic(levels, self.classes, self.channels, self._critic_attention, self.skip_relu)
        return {"generator": generator, "critic": critic}
