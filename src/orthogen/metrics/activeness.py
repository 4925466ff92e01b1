"""Activeness: how much each latent component, or direction, changes the image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics._moves import (
    PAST_NORM,
    check_span,
    directions_of,
    latents,
    points_along,
    points_by_block,
    refuse_not_finite,
    replaced,
    try_out,
    unit,
)

__all__ = ["Activeness"]


@dataclass(frozen=True)
class Activeness(LatentMetric):
    """Mean variance of the pixels while one component takes three values; large bars are used, small ones idle.

    For component i, with the others as sampled,

        a_i = mean over z and pixels of Var{ G(z | z_i = low), G(z | z_i = middle), G(z | z_i = high) }

    where the variance is unbiased (divided by 2). Along a direction, brought to length 1 as q, the component of z is
    replaced, i.e. z - (z.q) q + t q. The score's value is the mean over directions; the values themselves are its
    parts, with ``effective``, the number of directions that share the activity, (sum a)^2 / sum a^2. The generator is
    in evaluation mode, and noise inside it is the same in the three images.

    Attributes:
        samples: how many latents.
        span: lowest and highest value of the component; the latent's own span (-2, 2 for a normal one) if None. Blocks
            have a span each; a direction across several takes their mean, weighted by its squared components.
        batch: images per pass; few suit the caches of a CPU.
        held: blocks of a `Blocks` latent that are none of the components, drawn from their own prior, times a factor.
        past_norm: set the component behind the network's own norm of latents, which is left out, so that the others
            stay as they are; see `orthogen.Generator.past_norm`.

    Raises:
        ValueError: fewer than two samples, a span that goes nowhere, directions that are zero or of another width than
            the latent, or a generator that takes conditions.
        TypeError: a generator in half precision.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020, figure 5; 300 samples and values -2, 0, 2 as in its released
        figures, which look behind the norm of the latents (`hessian_penalty`).

    Example:
        G(z) = z: the three images are -2, 0, 2, whose unbiased variance is 4, here in one of two pixels.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z[:, None, None, :])
        >>> [round(a, 4) for a in Activeness()(G).parts["activeness"]]
        [2.0, 2.0]
    """

    samples: int = 300
    span: tuple[float, float] | None = None
    batch: int = 32
    held: Mapping[str, float] = field(default_factory=dict)
    past_norm: bool = False

    @classmethod
    def hessian_penalty(cls) -> "Activeness":
        """Of ProGAN in the Hessian Penalty's figure 5, and in OroJaR's: 300 latents that have their norm already.

        The component of such a latent is set to -2, 0 and 2, and the network's own norm is left out.
        """
        return cls(300, span=(-2.0, 2.0), past_norm=True)

    @classmethod
    def simple_gan(cls) -> "Activeness":
        """Of OroJaR's simple GAN on dSprites: 300 latents of N(0, I), the component at -2, 0 and 2.

        The latents of the release are drawn without a seed; here they follow ``rng``, as all do.
        """
        return cls(300, span=(-2.0, 2.0))

    @classmethod
    def eigengan(cls, noise: str = "epsilon") -> "Activeness":
        """Of the coordinates of EigenGAN's layers alone: which layers and directions have stopped to matter."""
        return cls(held={noise: 1.0})

    def __post_init__(self) -> None:
        if self.samples < 2 or self.batch < 1:
            raise ValueError(
                f"Activeness(samples={self.samples}, batch={self.batch}): give at least 2 samples, 1 per pass"
            )
        check_span("Activeness", self.span)

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The activeness of every direction, on fresh latents."""
        generator = generator.past_norm() if self.past_norm else generator
        directions = unit(directions_of("Activeness", generator, directions, self.held))
        rng = private() if rng is None else rng
        z, f, found = latents(generator, self.samples, rng, held=self.held), probe(generator), []
        basis = directions.basis.to(z)
        points = points_along(generator.latent, basis, self.span, 3).tolist()
        with evaluating(generator.module):
            try_out("Activeness", generator, f, z)
            for part in track(z.split(self.batch), "activeness"):
                with seeded(rng, z.device), f.session():
                    found.append(self._variances(f, part, basis, points))
        active = torch.cat(found)  # (samples, directions)
        refuse_not_finite("Activeness", active)
        each, total = active.mean(dim=0), active.mean(dim=1)
        scale = self.samples**-0.5
        return Score(
            each.mean().item(),
            stderr=total.std().item() * scale,
            n=self.samples,
            name="Activeness",
            protocol={
                "points": points_by_block(generator.latent, self.span, 3),
                "variance": "unbiased",
                "lengths": "unit",
                "space": directions.space,
                **({"held": dict(self.held)} if self.held else {}),
                **PAST_NORM[self.past_norm],
            },
            parts={
                "directions": list(directions.names),
                "activeness": each.tolist(),
                "stderr": (active.std(dim=0) * scale).tolist(),
                "effective": (each.sum().square() / each.square().sum().clamp_min(1e-30)).item(),
            },
        )

    @staticmethod
    def _variances(
        f: LatentMap, z: Float[Tensor, "n dim"], basis: Float[Tensor, "k dim"], points: list[list[float]]
    ) -> Float[Tensor, "n k"]:
        columns = []
        for direction, values in zip(basis, points, strict=True):
            images = torch.stack([f(replaced(z, direction, value))[0].flatten(1) for value in values])
            columns.append(images.double().var(dim=0).mean(dim=1))
        return torch.stack(columns, dim=1)
