"""Discovery in a generator that may want class labels beside its latent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.kinds import Discovery
from orthogen.core.rng import private

__all__ = ["Labelled"]


@dataclass(frozen=True, kw_only=True)
class Labelled(Discovery):
    """A discovery that hands class labels to the generator, where it takes any.

    Attributes:
        condition: keyword under which the generator's ``call`` takes class labels; None where it takes none.
        classes: labels are drawn uniformly from 0, ..., classes - 1; 1000 for ImageNet.
        fix_class: one label for all samples, in place of random ones.
    """

    condition: str | None = None
    classes: int = 1000
    fix_class: int | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.classes < 1:
            raise ValueError(f"{name}(classes={self.classes}): give at least 1 class")
        if self.fix_class is not None and self.condition is None:
            raise ValueError(
                f"{name}(fix_class={self.fix_class}): name the keyword of the labels too, such as condition='label'"
            )
        if self.fix_class is not None and not 0 <= self.fix_class < self.classes:
            raise ValueError(f"{name}(fix_class={self.fix_class}): labels go from 0 to {self.classes - 1}")

    def conditions(self, n: int, rng: torch.Generator | None, device: torch.device) -> dict[str, Tensor]:
        """Labels for ``n`` samples, by keyword; nothing where the generator takes none."""
        if self.condition is None:
            return {}
        rng = private() if rng is None else rng
        if self.fix_class is not None:
            return {self.condition: torch.full((n,), self.fix_class, device=device)}
        return {self.condition: torch.randint(self.classes, (n,), generator=rng, device=rng.device).to(device)}
