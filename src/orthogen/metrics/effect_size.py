"""Effect size: how much the image changes per standard deviation of the latent along each direction."""

import math
from dataclasses import dataclass

import torch

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics._moves import directions_of, latents, refuse_not_finite, try_out, unit

__all__ = ["EffectSize"]


@dataclass(frozen=True)
class EffectSize(LatentMetric):
    """Root mean square change of the image per standard deviation of the latent along a direction.

    With q_i a direction at length 1 and d_i the standard deviation of the latent's component z.q_i,

        e_i² = mean over z and pixels of [ G(z + s d_i q_i / 2) - G(z - s d_i q_i / 2) ]² / s²

    in units of the image, which spans [-1, 1]. Half of the way is gone to either side, so that bounded latents hardly
    leave their range. Directions of any latent, block or length compare, since each is gone in its own standard
    deviations; 0.01 is about one of 256 gray levels. The score's value is the mean over directions, the values
    themselves are its parts. The generator is in evaluation mode, and noise inside it is the same in both images.

    Attributes:
        samples: how many latents.
        step: s, the distance of the two points, in standard deviations.
        batch: images per pass; few suit the caches of a CPU.

    Raises:
        ValueError: fewer than two samples, a step that is not positive, directions that are zero or of another width
            than the latent, images that are not finite, or a generator that takes conditions.
        TypeError: a generator in half precision.

    Reference:
        The finite form of |J q|, by which singular vectors of the Jacobian are ordered in A. Ramesh, Y. Choi, Y. LeCun,
        "A Spectral Regularizer for Unsupervised Disentanglement", arXiv 1812.01161, 2018; its unit is of this library.

    Example:
        G(z) = (3 z0, 0): three per standard deviation in one of two pixels.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: (z * torch.tensor([3.0, 0.0]))[:, None, None])
        >>> [round(e, 3) for e in EffectSize()(G).parts["effect_size"]]
        [2.121, 0.0]
    """

    samples: int = 300
    step: float = 1.0
    batch: int = 32

    def __post_init__(self) -> None:
        if self.samples < 2 or self.batch < 1:
            raise ValueError(
                f"EffectSize(samples={self.samples}, batch={self.batch}): give at least 2 samples, 1 per pass"
            )
        if not 0 < self.step < math.inf:
            raise ValueError(f"EffectSize(step={self.step}): give a positive number of standard deviations, such as 1")

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The effect size of every direction, on fresh latents."""
        directions = unit(directions_of("EffectSize", generator, directions))
        rng = private() if rng is None else rng
        z, f, found = latents(generator, self.samples, rng), probe(generator), []
        deviation = generator.latent.spread(directions.basis.double())
        ways = (self.step * deviation[:, None].to(directions.basis) * directions.basis).to(z)
        with evaluating(generator.module):
            try_out("EffectSize", generator, f, z)
            for part in track(z.split(self.batch), "effect size"):
                with seeded(rng, z.device), f.session():
                    found.append(self._squares(f, part, ways))
        squares = torch.cat(found).cpu()  # (samples, directions)
        refuse_not_finite("EffectSize", squares)
        each = squares.mean(dim=0).sqrt()
        # of the root of a mean, to first order
        influence = (squares - each.square()) / (2 * each).clamp_min(1e-30)
        scale = self.samples**-0.5
        return Score(
            each.mean().item(),
            stderr=influence.mean(dim=1).std().item() * scale,
            n=self.samples,
            name="Effect size",
            protocol={
                "unit": "root mean square over pixels in [-1, 1], per standard deviation of the latent",
                "step": self.step,
                "space": directions.space,
                "stderr": "to first order, over latents",
            },
            parts={
                "directions": list(directions.names),
                "effect_size": each.tolist(),
                "stderr": (influence.std(dim=0) * scale).tolist(),
                "deviation": deviation.tolist(),
            },
        )

    def _squares(
        self, f: LatentMap, z: Float[torch.Tensor, "n dim"], ways: Float[torch.Tensor, "k dim"]
    ) -> Float[torch.Tensor, "n k"]:
        """The mean square over pixels, by sample and direction."""
        columns = []
        for way in ways:
            change = f(z + way / 2)[0].double() - f(z - way / 2)[0].double()
            columns.append((change / self.step).flatten(1).square().mean(dim=1))
        return torch.stack(columns, dim=1)
