"""Discovery in a generator that may want class labels beside its latent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery
from orthogen.core.rng import private

__all__ = ["Labeled"]


@dataclass(frozen=True, kw_only=True)
class Labeled(Discovery):
    """A discovery that hands class labels to the generator, where it takes any.

    Attributes:
        fix_class: one label for all samples; None draws them evenly, where the generator takes labels.
    """

    fix_class: int | None = None

    def conditions(
        self, generator: Generator, n: int, rng: torch.Generator | None, device: torch.device
    ) -> dict[str, Tensor]:
        """Labels for ``n`` samples, by keyword; nothing where the generator takes none.

        Raises:
            ValueError: ``fix_class`` is no class of the generator.
        """
        if self.fix_class is not None and not 0 <= self.fix_class < generator.classes:
            there = f"has the classes 0 to {generator.classes - 1}" if generator.classes else "takes no class labels"
            raise ValueError(f"{type(self).__name__}(fix_class={self.fix_class}): this generator {there}")
        if not generator.classes:
            return {}
        if self.fix_class is not None:
            return {generator.condition: torch.full((n,), self.fix_class, device=device)}
        rng = private() if rng is None else rng
        labels = torch.randint(generator.classes, (n,), generator=rng, device=rng.device)
        return {generator.condition: labels.to(device)}
