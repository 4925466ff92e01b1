"""DiffAugment: differentiable augmentation of everything the critic sees."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.augment._operations import OPERATIONS, beside
from orthogen.core.kinds import Augmentation
from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["DiffAugment"]

CITATION = """\
@inproceedings{zhao2020differentiable,
  title     = {Differentiable Augmentation for Data-Efficient {GAN} Training},
  author    = {Zhao, Shengyu and Liu, Zhijian and Lin, Ji and Zhu, Jun-Yan and Han, Song},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2020}
}
"""

_COLOR = ("brightness", "saturation", "contrast")


@dataclass(frozen=True)
class DiffAugment(Augmentation):
    """Random changes of color and place for real and generated images alike, in the critic's and the generator's step.

    Each sample draws its own u ~ U[0, 1) for each of

        brightness    x + (u - 1/2)
        saturation    m + 2u (x - m)           m: the mean over the channels of each pixel
        contrast      m + (u + 1/2) (x - m)    m: the mean of the image

    and whole numbers for a translation (up to an eighth of the sides, zeros come in) and for a cutout (zeros in a
    rectangle of half the sides, anywhere). Images may leave [-1, 1]. With a probability below 1 each of the five is
    applied to all samples of a call or to none.

    Attributes:
        policy: what is applied, in this order, separated by commas: brightness, saturation, contrast, translation,
            cutout; color stands for the first three.
        probability: of each of them, in each call.

    Raises:
        ValueError: an unknown or repeated operation, or a probability out of [0, 1].

    Reference:
        S. Zhao, Z. Liu, J. Lin, J.-Y. Zhu, S. Han, "Differentiable Augmentation for Data-Efficient GAN Training",
        NeurIPS 2020.

    Example:
        >>> augment, x = DiffAugment("brightness"), torch.zeros(2, 3, 8, 8)
        >>> changed = augment(x, rng=torch.Generator().manual_seed(0))
        >>> changed.amax(dim=(1, 2, 3)) - changed.amin(dim=(1, 2, 3)), bool((changed[0] != changed[1]).all())
        (tensor([0., 0.]), True)
    """

    policy: str = "color,translation,cutout"
    probability: float = 1.0

    def __post_init__(self) -> None:
        chosen = self.operations
        for name in chosen:
            if name not in OPERATIONS:
                known = ", ".join(("color", *OPERATIONS))
                raise ValueError(f"DiffAugment(policy={self.policy!r}): there is no {name!r}; give some of {known}")
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"DiffAugment(policy={self.policy!r}): name each operation once; color is three of them")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"DiffAugment(probability={self.probability}): give a number from 0 to 1")

    @classmethod
    def eigengan(cls) -> "DiffAugment":
        """As EigenGAN is trained: each of the five operations in 60 % of the calls."""
        return cls(probability=0.6)

    @property
    def operations(self) -> tuple[str, ...]:
        """What the policy stands for.

        Example:
            >>> DiffAugment("color,cutout").operations
            ('brightness', 'saturation', 'contrast', 'cutout')
        """
        named = [name.strip() for name in self.policy.split(",")]
        return tuple(each for name in named for each in (_COLOR if name == "color" else (name,)))

    def __call__(
        self,
        images: Float[Tensor, "batch c h w"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """The changed images; draws are made on the device of ``rng``."""
        rng = private() if rng is None else rng
        for name in self.operations:
            operation = OPERATIONS[name]
            changed = operation.apply(images, *(beside(images, drawn) for drawn in operation.draw(images, rng)))
            if self.probability < 1:
                coin = torch.rand((), generator=rng, device=rng.device) < self.probability
                changed = torch.where(beside(images, coin), changed, images)  # an `if` would wait for the device
            images = changed
        return images
