"""SNGAN: residual networks with a class-conditional batch norm and a critic under spectral norm."""

from dataclasses import dataclass, field

from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Normal
from orthogen.layers.batch_norm import Statistics
from orthogen.models._residual import ResidualCritic, ResidualGenerator, ResidualLevels

__all__ = ["Sngan"]

CITATION = """\
@inproceedings{miyato2018spectral,
  title     = {Spectral Normalization for Generative Adversarial Networks},
  author    = {Miyato, Takeru and Kataoka, Toshiki and Koyama, Masanori and Yoshida, Yuichi},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
@inproceedings{miyato2018cgans,
  title     = {{cGANs} with Projection Discriminator},
  author    = {Miyato, Takeru and Koyama, Masanori},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
"""


@dataclass(frozen=True)
class Sngan(Model):
    """Generator and projection critic of SNGAN, at the published resolutions or any 4·2^n.

    ==========  ================================================  ==========================================
    pixels      generator, channels / width at 4, 8, ... pixels   critic, channels / width after each block
    ==========  ================================================  ==========================================
    32          4, 4, 4, 4                                        2, 2, 2, 2 (two of them halve the side)
    64          16, 8, 4, 2, 1                                    1, 2, 4, 8, 16
    128         16, 16, 8, 4, 2, 1                                1, 2, 4, 8, 16, 16
    256         16, 16, 8, 8, 4, 2, 1                             1, 2, 4, 8, 8, 16, 16
    512         16, 16, 8, 8, 4, 2, 1, 1                          1, 1, 2, 4, 8, 8, 16, 16
    ==========  ================================================  ==========================================

    The generator takes ``label=``, one class per sample; each of its norms has a table of gains and one of biases, with
    a row per class. Defaults are CIFAR-10 as in group spectral regularization.

    Attributes:
        latent: where latents come from.
        resolution: side of the images, in pixels.
        channels: of the images.
        classes: number of classes.
        width: what a 1 in the table stands for, in channels.
        critic_width: the same for the critic; as ``width`` if None.
        generator_levels: the generator's row of the table, where another one is wanted.
        critic_levels: the critic's; all of its blocks but the last halve the side.
        spectral: whether the generator has spectral norm too; the critic always has.
        statistics: of batch norms in evaluation: "running" averages, "standing" statistics measured for the purpose
            (see `orthogen.layers.batch_norm`), or those of the "batch" (as released).
        eps: of the batch norms.
        skip_relu: whether the critic's shortcuts start from the activated map, as in StudioGAN's networks, where an
            in-place activation has it so.

    Raises:
        ValueError: resolution and levels do not fit together.

    Reference:
        T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative Adversarial Networks",
        ICLR 2018; T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR 2018.

    Example:
        >>> import torch
        >>> networks = Sngan().build()
        >>> [sum(p.numel() for p in net.parameters()) for net in networks.values()]
        [4304387, 1055105]
        >>> G = Sngan().adapt(networks["generator"].eval())
        >>> G.sample(2, label=torch.tensor([3, 7])).shape
        torch.Size([2, 3, 32, 32])
    """

    latent: Latent = field(default_factory=lambda: Normal(128))
    resolution: int = 32
    channels: int = 3
    classes: int = 10
    width: int = 64
    critic_width: int | None = None
    generator_levels: tuple[int, ...] | None = None
    critic_levels: tuple[int, ...] | None = None
    spectral: bool = False
    statistics: Statistics = "running"
    eps: float = 1e-4
    skip_relu: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.channels, self.classes) < 1:
            raise ValueError(f"{self}: channels and classes are 1 at least")
        _ = self._levels

    @property
    def _levels(self) -> ResidualLevels:
        critic_width = self.width if self.critic_width is None else self.critic_width
        return ResidualLevels.of(
            "Sngan", self.resolution, self.width, critic_width, self.generator_levels, self.critic_levels
        )

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents and labels to images; ``critic``: images and labels to logits ``(batch, 1)``."""
        generator = ResidualGenerator(
            self._levels,
            (self.latent.dim,),
            self.classes,
            0,
            self.channels,
            (),
            self.spectral,
            self.statistics,
            self.eps,
        )
        return {
            "generator": generator,
            "critic": ResidualCritic(self._levels, self.classes, self.channels, (), self.skip_relu),
        }
