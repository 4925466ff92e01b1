"""A critic behind an augmentation: what it scores, real and generated, is changed at random first."""

import torch
from torch import Tensor, nn

from orthogen.core.draws import Drawing
from orthogen.core.kinds import Augmentation
from orthogen.core.rng import Rngs

__all__ = ["Augmented"]


class Augmented(Drawing):
    """D(T(x)), with fresh draws of T for each call; gradients pass through T, to the generator too.

    Penalties see it as the critic, so that R1, for one, is E |grad_x D(T(x))|².

    Args:
        critic: D.
        augmentation: T.
        state: what T carries between steps.
        streams: whose stream ``"augment"`` draws for it, as it is at the time of a call.

    Example:
        >>> from orthogen.augment.diff_augment import DiffAugment
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
        >>> Augmented(critic, DiffAugment("color"), None, Rngs(seed=0))(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 1])
    """

    def __init__(self, critic: nn.Module, augmentation: Augmentation, state: nn.Module | None, streams: Rngs) -> None:
        super().__init__()
        self.critic, self.augmentation, self.state, self.streams = critic, augmentation, state, streams

    @property
    def rng(self) -> torch.Generator:
        """What T draws from."""
        return self.streams["augment"]

    def forward(self, images: Tensor, *labels: Tensor) -> Tensor:
        """The critic's logits for augmented images."""
        return self.critic(self.augmentation(images, state=self.state, rng=self.rng), *labels)
