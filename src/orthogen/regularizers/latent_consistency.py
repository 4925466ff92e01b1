"""Latent consistency, zCR: nearby latents make images that differ, and the critic does not mind."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import CriticBatch, CriticPenalty, ImageSet
from orthogen.core.maps import given, probe
from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int
from orthogen.regularizers._compared import gap

__all__ = ["LatentConsistency"]

CITATION = """\
@inproceedings{zhao2021improved,
  title     = {Improved Consistency Regularization for {GANs}},
  author    = {Zhao, Zhengli and Singh, Sameer and Lee, Honglak and Zhang, Zizhao and Odena, Augustus and Zhang, Han},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year      = {2021}
}
"""


class _Partner(nn.Module):
    """The generator that draws the pairs of images: no part of this module, which has nothing to train or to save."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator, self.f = generator, probe(generator)

    def pair(
        self, z: Tensor, others: Tensor, labels: Tensor | None
    ) -> tuple[Float[Tensor, "batch c h w"], Float[Tensor, "batch c h w"]]:
        """G(z) and G(z'), by passes that differ in their latents alone and leave nothing behind."""
        f = self.f
        if self.generator.classes and labels is not None:
            f = given(f, **{self.generator.condition: labels})
        (images,), (neighbors,) = f.passes(torch.stack([z, others]))
        return images, neighbors


@dataclass(frozen=True)
class LatentConsistency(CriticPenalty):
    """A small change of the latent is not to change what the critic says, and is to change the image.

        L_D =  critic    E (D(G(z)) - D(G(z')))^2,   z' = z + noise n,   n ~ N(0, 1)
        L_G = -generator E (G(z) - G(z'))^2,         the mean over samples and pixels

    Latents and labels are those of the batch. Both images of a pair come from passes of their own, so that their
    latents alone make them differ: in float32, with the same noise inputs and the same spectral norms; so do both
    logits, see `Consistency`. In L_D the generator gets no gradients. Nothing bounds L_G but L_D.

    Attributes:
        critic: the weight of the critic's half.
        generator: the weight of the generator's; 0 for none.
        noise: standard deviation of the change.

    Raises:
        ValueError: a weight below 0, or a noise that is not above 0; there is no memory, which knows the generator, or
            the batch lacks its latents.

    Reference:
        Z. Zhao, S. Singh, H. Lee, Z. Zhang, A. Odena, H. Zhang, "Improved Consistency Regularization for GANs",
        AAAI 2021.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(nn.Unflatten(1, (1, 2, 2)), Normal(4))
        >>> D, penalty = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), LatentConsistency(critic=1.0, noise=2.0)
        >>> z, state = torch.zeros(20_000, 4), penalty.init(G)
        >>> batch = CriticBatch(G(z), G(z), D(G(z)), D(G(z)), fake_latents=z)
        >>> value = penalty(D, batch, state=state)  # D(x) = w . x: it is 4 |w|^2
        >>> round((value / D[1].weight.square().sum()).item(), 0)
        4.0
        >>> round(penalty.of_generator(D, G(z), z, state=state).item(), 1)  # -1/2 of 4
        -2.0
    """

    critic: float = 20.0
    generator: float = 0.5
    noise: float = 0.07

    def __post_init__(self) -> None:
        if min(self.critic, self.generator) < 0 or self.critic + self.generator == 0:
            raise ValueError(
                f"LatentConsistency(critic={self.critic}, generator={self.generator}): weights are 0 at least, one is "
                "above"
            )
        if not self.noise > 0:
            raise ValueError(f"LatentConsistency(noise={self.noise}): give a standard deviation above 0")

    def init(self, generator: Generator, data: ImageSet | None = None, critic: nn.Module | None = None) -> nn.Module:
        """What knows the generator; there is nothing in it to move or to save."""
        return _Partner(generator)

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """L_D."""
        z = batch.fake_latents
        if z is None:
            raise ValueError(
                "LatentConsistency moves the latents of generated images; give fake_latents with the batch"
            )
        with torch.no_grad():
            pair = _known(state).pair(z, self._moved(z, rng), batch.fake_labels)
        return self.critic * gap(critic, *pair, batch.fake_labels)

    def of_generator(
        self,
        critic: nn.Module,
        fake: Float[Tensor, "batch c h w"],
        latents: Float[Tensor, "batch dim"],
        labels: Int[Tensor, "batch"] | None = None,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""] | None:
        """L_G."""
        if not self.generator:
            return None
        images, others = _known(state).pair(latents, self._moved(latents, rng), labels)
        return -self.generator * (images - others).square().mean()

    def _moved(self, z: Tensor, rng: torch.Generator | None) -> Tensor:
        rng = private() if rng is None else rng
        return z + self.noise * torch.randn(z.shape, generator=rng, device=rng.device).to(z)


def _known(state: nn.Module | None) -> _Partner:
    if not isinstance(state, _Partner):
        raise ValueError(
            "LatentConsistency draws images of its own: let it know the generator with "
            "state = penalty.init(generator) and hand it over as state=state"
        )
    return state
