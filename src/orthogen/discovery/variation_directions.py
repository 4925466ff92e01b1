"""Directions whose changes a recognizer can name: Variation Predictability, turned into a search."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator, adapt
from orthogen.core.kinds import LatentPenalty
from orthogen.core.latent import Normal
from orthogen.core.maps import along, given
from orthogen.core.shapes import Float
from orthogen.discovery._descent import Descent, Search
from orthogen.discovery._found import initialized, latents
from orthogen.discovery._penalty import penalty_of

__all__ = ["VariationDirections"]

CITATION = """\
@inproceedings{zhu2020learning,
  title     = {Learning Disentangled Representations with Latent Variation Predictability},
  author    = {Zhu, Xinqi and Xu, Chang and Tao, Dacheng},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class VariationDirections(Descent):
    """Directions and a recognizer are trained together: from two images it must name the direction that changed.

        minimize over Q and the recognizer   E_z penalty( a -> G(z + (a - Q z) Q) ) at a = Q z

    a are the latent's coordinates along the directions, so that the map gives G(z) at a = Q z. With Variation
    Predictability the second image has one of these coordinates taken from another latent, and the loss is the
    recognizer's cross-entropy: log n minus it bounds from below the information, in nats, that a pair of images has
    about the direction. The paper trains the generator so, with Q the identity; here the generator stays as it is and Q
    learns.

    Attributes:
        penalty: a `LatentPenalty` that learns a network, or the name of one.

    Fields of all searches: count, search_space, orthogonal, lr, batch, steps; for class labels: fix_class.

    Raises:
        ValueError: a penalty that learns nothing (see PenaltyDescent), or fields out of range.
        TypeError: ``penalty`` is neither a latent penalty nor the name of one.

    Reference:
        X. Zhu, C. Xu, D. Tao, "Learning Disentangled Representations with Latent Variation Predictability", ECCV 2020,
        for the loss; that Q learns in a frozen generator is ours, after Voynov and Babenko, ICML 2020, and so are the
        defaults of the search.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8))), Normal(2))
        >>> VariationDirections(steps=3).fit(G).basis.shape
        torch.Size([2, 2])
    """

    penalty: LatentPenalty | str = "VariationPredictability"
    lr: float = field(default=1e-3, kw_only=True)
    batch: int = field(default=64, kw_only=True)
    steps: int = field(default=10_000, kw_only=True)

    def beside(self, generator: Generator, n: int, rng: torch.Generator) -> nn.Module:
        """The penalty's own network, made for the generator in direction coordinates."""
        penalty, like = penalty_of(self, self.penalty), latents(generator, 1, torch.Generator())

        def call(module: nn.Module, a: Tensor) -> Any:
            z = like.expand(len(a), -1).to(a)
            return generator.call(module, z, **self.conditions(generator, len(a), torch.Generator(), a.device))

        # only the shape of its images and the number of its coordinates count
        shown = adapt(generator.module, Normal(n), call=call)
        network = initialized(lambda: penalty.init(shown), rng)
        if network is None:
            name = type(penalty).__name__
            raise ValueError(f"VariationDirections: {name} learns nothing; use PenaltyDescent({name!r})")
        return network

    def losses(self, search: Search, basis: Float[Tensor, "n dim"]) -> Iterator[dict[str, Tensor]]:
        """The penalty of one batch."""
        z, conditions = search.draw(self.batch)
        a = z @ basis.detach().mT
        f = along(given(search.f, **conditions), z - a @ basis, basis)
        with torch.no_grad():  # G(z) does not depend on Q
            first = f(a)
        penalty = penalty_of(self, self.penalty)
        yield {"loss": penalty(f.at(a, first), a, state=search.network, rng=search.rng)}
