"""Latent consistency, zCR: nearby latents make images that differ, and the critic does not mind."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import CriticBatch, CriticPenalty, ImageSet, LatentPenalty
from orthogen.core.maps import LatentMap
from orthogen.core.rng import private
from orthogen.core.shapes import Float
from orthogen.core.untouched import untouched

__all__ = ["LatentConsistency", "LatentSensitivity"]

CITATION = """\
@inproceedings{zhao2021improved,
  title     = {Improved Consistency Regularization for {GANs}},
  author    = {Zhao, Zhengli and Singh, Sameer and Lee, Honglak and Zhang, Zizhao and Odena, Augustus and Zhang, Han},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year      = {2021}
}
"""


def _check(penalty: "LatentConsistency | LatentSensitivity") -> None:
    if not penalty.noise > 0:
        raise ValueError(f"{type(penalty).__name__}(noise={penalty.noise}): give a standard deviation above 0")


def _normal(z: Tensor, rng: torch.Generator | None) -> Tensor:
    rng = private() if rng is None else rng
    return torch.randn(z.shape, generator=rng, device=rng.device).to(z)


@dataclass(frozen=True)
class LatentSensitivity(LatentPenalty):
    """The generator's half of zCR: a small change of the latent changes the image.

        L = -E (f(z) - f(z'))^2,   z' = z + noise n,   n ~ N(0, 1)

    the mean over samples and entries of a layer, which is the image unless the term names others. The paper's weight is
    0.5: ``Term(LatentSensitivity(), weight=0.5)``, together with `LatentConsistency` for the critic, as nothing else
    bounds it.

    Attributes:
        noise: standard deviation of the change.

    Raises:
        ValueError: a noise that is not above 0; probes of the wrong shape.

    Reference:
        Z. Zhao, S. Singh, H. Lee, Z. Zhang, A. Odena, H. Zhang, "Improved Consistency Regularization for GANs",
        AAAI 2021.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.core.maps import probe
        >>> G = adapt(nn.Linear(2, 2, bias=False), Normal(2))
        >>> _ = nn.init.eye_(G.module.weight).data.mul_(10.0)
        >>> n = torch.ones(1, 4, 2)
        >>> round(LatentSensitivity()(probe(G), torch.zeros(4, 2), probes=n).item(), 3)  # -(0.07 * 10)^2
        -0.49
    """

    noise: float = 0.07

    def __post_init__(self) -> None:
        _check(self)

    def terms(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
        probes: Float[Tensor, "k batch dim"] | None = None,
    ) -> dict[str, Tensor]:
        """One scalar per layer; ``probes`` are the n, and their mean is taken where there are several."""
        probes = _normal(z, rng)[None] if probes is None else probes.to(z)
        if probes.ndim != 3 or probes.shape[1:] != z.shape or not len(probes):
            expected = f"(k, {', '.join(map(str, z.shape))})"
            raise ValueError(f"probes have shape {tuple(probes.shape)}; {expected} is needed for these latents")
        moved = z + self.noise * probes
        with f.session():
            known = f.known(z)
            here, *there = f.passes(torch.cat([z[None], moved])) if known is None else (known, *f.passes(moved))
        changes = [
            torch.stack([(a - b).square().mean() for b in passes]).mean()
            for a, *passes in zip(here, *there, strict=True)
        ]
        return {layer: -change for layer, change in zip(f.layers, changes, strict=True)}


class _Partner(nn.Module):
    """The generator that pairs of images are drawn from: no part of this module, which has nothing to train or save."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator


@dataclass(frozen=True)
class LatentConsistency(CriticPenalty):
    """The critic's half of zCR: it says the same of images from nearby latents.

        L = E (D(G(z)) - D(G(z')))^2,   z' = z + noise n,   n ~ N(0, 1)

    The paper's weight is 20: ``Term(LatentConsistency(), weight=20.0)``, together with `LatentSensitivity` for the
    generator. Latents are drawn anew for as many pairs as there are generated images, with their labels; the generator
    gets no gradients and its buffers stay as they are.

    Attributes:
        noise: standard deviation of the change.

    Raises:
        ValueError: a noise that is not above 0; there is no memory, which knows the generator.

    Reference:
        Z. Zhao, S. Singh, H. Lee, Z. Zhang, A. Odena, H. Zhang, "Improved Consistency Regularization for GANs",
        AAAI 2021.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(nn.Unflatten(1, (1, 2, 2)), Normal(4))
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
        >>> penalty, x = LatentConsistency(noise=2.0), torch.zeros(20_000, 1, 2, 2)
        >>> batch = CriticBatch(x, x, critic(x), critic(x))
        >>> value = penalty(critic, batch, state=penalty.init(G))  # D(x) = w . x: it is 4 |w|^2
        >>> round((value / critic[1].weight.square().sum()).item(), 0)
        4.0
    """

    noise: float = 0.07

    def __post_init__(self) -> None:
        _check(self)

    def init(
        self, generator: Generator, data: ImageSet | None = None, critic: nn.Module | None = None
    ) -> nn.Module:
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
        """A scalar to add to the critic's loss."""
        if not isinstance(state, _Partner):
            raise ValueError(
                "LatentConsistency draws images of its own: let it know the generator with "
                "state = penalty.init(generator) and hand it over as state=state"
            )
        labels, logits = batch.fake_labels, []
        pair = self._pair(state.generator, len(batch.fake), labels, rng)
        with untouched(critic, batch.fake.device) as host:
            for images in pair:
                host.rewind()  # the same dropout for both
                logits.append(critic(images) if labels is None else critic(images, labels))
        return (logits[0] - logits[1]).square().mean()

    @torch.no_grad()
    def _pair(self, generator: Generator, n: int, labels: Tensor | None, rng: torch.Generator | None) -> list[Tensor]:
        """Images of n latents and of their neighbors."""
        z = generator.latent.sample(n, rng=rng, device=generator.device)
        z = z.to(next(generator.module.parameters(), z).dtype)
        conditions = {generator.condition: labels} if generator.classes and labels is not None else {}
        with untouched(generator.module, generator.device) as host:
            pair = []
            for latents in (z, z + self.noise * _normal(z, rng)):
                host.rewind()
                pair.append(generator(latents, **conditions))
        return pair
