"""Activeness: how much each latent component, or direction, changes the image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, probe
from orthogen.core.progress import track
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._moves import directions_of, refuse_not_finite, replaced

__all__ = ["Activeness"]


@dataclass(frozen=True)
class Activeness(LatentMetric):
    """Mean variance of the pixels while one component takes three values; large bars are used, small ones idle.

    For component i, with the others as sampled,

        a_i = mean over z and pixels of Var{ G(z | z_i = low), G(z | z_i = middle), G(z | z_i = high) }

    where the variance is unbiased (divided by 2). Along a direction q the component of z along q is replaced, i.e.
    z - (z.q / q.q) q + t q. The score's value is the mean over directions; the values themselves are its parts, with
    ``effective``, the number of directions that share the activity, (sum a)^2 / sum a^2. Noise inside the generator is
    the same in the three images.

    Attributes:
        samples: how many latents.
        span: lowest and highest value of the component; the latent's own span (-2, 2 for a normal one) if None.
        batch: images per pass; few suit the caches of a CPU.

    Raises:
        ValueError: fewer than two samples, or directions that are zero or of another width than the latent.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020, figure 5; 300 samples and values -2, 0, 2 as in its released
        figures, without their pixel norm of the latents.

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

    def __post_init__(self) -> None:
        if self.samples < 2 or self.batch < 1:
            raise ValueError(
                f"Activeness(samples={self.samples}, batch={self.batch}): give at least 2 samples, 1 per pass"
            )

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The activeness of every direction, on fresh latents."""
        z = generator.latent.sample(self.samples, rng=rng, device=generator.device)
        directions = directions_of(self, generator, directions)
        low, high = generator.latent.span if self.span is None else self.span
        points = (low, (low + high) / 2, high)
        f, columns = probe(generator), []
        with f.session():
            for direction in track(directions.basis.to(z), "activeness, direction by direction"):
                variances = [self._variance(f, part, direction, points) for part in z.split(self.batch)]
                columns.append(torch.cat(variances))
        active = torch.stack(columns, dim=1)  # (samples, directions)
        refuse_not_finite(self, active)
        each, total = active.mean(dim=0), active.mean(dim=1)
        scale = self.samples**-0.5
        return Score(
            each.mean().item(),
            stderr=total.std().item() * scale,
            n=self.samples,
            name="Activeness",
            protocol={"points": list(points), "variance": "unbiased", "space": directions.space},
            parts={
                "directions": list(directions.names),
                "activeness": each.tolist(),
                "stderr": (active.std(dim=0) * scale).tolist(),
                "effective": (each.sum().square() / each.square().sum().clamp_min(1e-30)).item(),
            },
        )

    @staticmethod
    def _variance(
        f: LatentMap, z: Float[Tensor, "n dim"], direction: Float[Tensor, "dim"], points: tuple[float, ...]
    ) -> Float[Tensor, "n"]:
        images = torch.stack([f(replaced(z, direction, point))[0].flatten(1) for point in points])
        return images.double().var(dim=0).mean(dim=1)
