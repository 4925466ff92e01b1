"""Consistency regularization: the critic says the same of an image and of its augmentation."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from orthogen.augment.flip_shift import FlipShift
from orthogen.core.kinds import Augmentation, CriticBatch, CriticPenalty
from orthogen.core.shapes import Float
from orthogen.regularizers._compared import gap

__all__ = ["Consistency"]

CITATION = """\
@inproceedings{zhang2020consistency,
  title     = {Consistency Regularization for Generative Adversarial Networks},
  author    = {Zhang, Han and Zhang, Zizhao and Odena, Augustus and Lee, Honglak},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2020}
}
@inproceedings{zhao2021improved,
  title     = {Improved Consistency Regularization for {GANs}},
  author    = {Zhao, Zhengli and Singh, Sameer and Lee, Honglak and Zhang, Zizhao and Odena, Augustus and Zhang, Han},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class Consistency(CriticPenalty):
    """The critic's logits of images and of their augmentations T agree: CR on real images, bCR on generated ones too.

        L = real E (D(x) - D(T(x)))^2 + fake E (D(G(z)) - D(T(G(z))))^2

    The defaults are CR; ``Consistency.balanced()`` is bCR, which together with `LatentConsistency` makes ICR. A
    conditional critic is called with the labels of the images.

    Both logits come from passes of their own, so that T alone makes them differ: in float32 whatever the precision of
    the networks, and with the same spectral norms. Gradients go through both. Where the critic stands behind an
    augmentation A, such as DiffAugment, both images pass the same draw of it: D(A(x)) and D(A(T(x))).

    Attributes:
        real: the weight of real images.
        fake: the weight of generated images.
        augmentation: T, one that remembers nothing.

    Raises:
        ValueError: a negative weight, both 0, or an augmentation that needs a memory.

    Reference:
        CR: H. Zhang, Z. Zhang, A. Odena, H. Lee, "Consistency Regularization for Generative Adversarial Networks",
        ICLR 2020; bCR: Z. Zhao, S. Singh, H. Lee, Z. Zhang, A. Odena, H. Zhang, "Improved Consistency Regularization
        for GANs", AAAI 2021.

    Example:
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
        >>> flat, real = torch.ones(4, 1, 8, 8), torch.randn(4, 1, 8, 8)  # no flip and shift changes the first
        >>> penalty = Consistency()
        >>> penalty(critic, CriticBatch(flat, real, critic(flat), critic(real))).item()
        0.0
        >>> penalty(critic, CriticBatch(real, flat, critic(real), critic(flat))).item() > 0
        True
    """

    real: float = 10.0
    fake: float = 0.0
    augmentation: Augmentation = field(default_factory=FlipShift)

    def __post_init__(self) -> None:
        if min(self.real, self.fake) < 0 or self.real + self.fake == 0:
            raise ValueError(f"Consistency(real={self.real}, fake={self.fake}): weights are 0 at least, one is above")
        if self.augmentation.init() is not None:
            raise ValueError(
                f"Consistency(augmentation={self.augmentation}): it follows the critic, and there is no memory for it "
                "here; give one that remembers nothing, such as FlipShift()"
            )

    @classmethod
    def balanced(cls) -> "Consistency":
        """BCR, with the paper's weights of 10 and 5."""
        return cls(real=10.0, fake=5.0)

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss."""
        total = batch.real_logits.new_zeros(())
        for weight, images, labels in (
            (self.real, batch.real.detach(), batch.real_labels),
            (self.fake, batch.fake.detach(), batch.fake_labels),
        ):
            if weight:
                changed = self.augmentation(images, rng=rng)
                total = total + weight * gap(critic, images, changed, labels)
        return total
