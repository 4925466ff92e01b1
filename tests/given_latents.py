"""A latent of given points, so that a golden file's own can be used."""

from dataclasses import dataclass

import torch

from orthogen.core.latent import Latent


@dataclass(frozen=True)
class Given(Latent):
    """Hands out the latents it was given."""

    z: torch.Tensor

    @property
    def dim(self) -> int:
        return self.z.shape[1]

    @property
    def span(self) -> tuple[float, float]:
        return (-2.0, 2.0)

    def draw(self, n: int, rng: torch.Generator) -> torch.Tensor:
        return self.z[:n]
