"""Singular vectors of the generator's Jacobian, averaged over latents."""

from dataclasses import dataclass, field

import torch

from orthogen.core.derivative import Derivative, FiniteDifference
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.maps import LatentMap, given, probe
from orthogen.core.progress import track
from orthogen.core.shapes import Float
from orthogen.discovery._found import checked_count, found, gram, latents, principal_axes
from orthogen.discovery._labels import Labeled

__all__ = ["JacobianSvd"]

CITATION = """\
@article{ramesh2018spectral,
  title   = {A Spectral Regularizer for Unsupervised Disentanglement},
  author  = {Ramesh, Aditya and Choi, Youngduck and LeCun, Yann},
  journal = {arXiv preprint arXiv:1812.01161},
  year    = {2018}
}
@inproceedings{wang2021geometry,
  title     = {The Geometry of Deep Generative Image Models and its Applications},
  author    = {Wang, Binxu and Ponce, Carlos R.},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class JacobianSvd(Labeled):
    """The directions along which the image changes most, on average over latents.

        M = mean over z of J(z)^T J(z),   J = dG/dz
        M = Q^T diag(s²) Q,   strength = s (root mean square change of the image per unit of latent)

    At a single latent these are the right singular vectors of J. One sample's Jacobian is in memory at a time, as dim
    images; the Gram matrices are summed in double precision.

    Attributes:
        samples: how many latents are averaged over; 1 for directions at one latent.
        layer: whose Jacobian; the image's by default.
        derivative: `FiniteDifference`, or ``Exact()``. Unlike in the penalties the step stands for zero: a central
            difference of 0.01 is right to 1e-5 in float32 where the generator is smooth.
        count: how many directions; as many as the latent has dimensions if None.

    For generators that take class labels: fix_class, one label for all samples.

    Raises:
        ValueError: no samples, a count out of range, a layer that is not there, or a generator whose samples see each
            other.

    Reference:
        A. Ramesh, Y. Choi, Y. LeCun, "A Spectral Regularizer for Unsupervised Disentanglement", arXiv 1812.01161, 2018
        (singular vectors of J as directions); B. Wang, C. R. Ponce, "The Geometry of Deep Generative Image Models and
        its Applications", ICLR 2021 (the average over latents).

    Example:
        G(z) = (3 z1, z0): the first direction is z1.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z.flip(1) * torch.tensor([3.0, 1.0]))
        >>> found = JacobianSvd(samples=2).fit(G)
        >>> [[round(abs(x), 3) for x in q] for q in found.basis.tolist()]
        [[0.0, 1.0], [1.0, 0.0]]
        >>> [round(s, 3) for s in found.strength.tolist()]
        [3.0, 1.0]
    """

    samples: int = 64
    layer: str = "output"
    derivative: Derivative = field(default_factory=lambda: FiniteDifference(0.01, central=True))
    count: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"JacobianSvd(samples={self.samples}): give at least 1 latent")

    @torch.no_grad()
    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """The directions, strongest first."""
        count = checked_count(self, self.count, generator.latent.dim)
        z = latents(generator, self.samples, rng)
        f = given(probe(generator, (self.layer,)), **self.conditions(generator, len(z), rng, z.device))
        with f.session():
            if not f.separable(z):
                raise ValueError(
                    "JacobianSvd takes one sample at a time, and this generator's samples see each other (batch "
                    "statistics) or draw alike (dropout, noise); call generator.module.eval(), or fix the noise"
                )
            matrix = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64, device=z.device)
            for i in track(torch.arange(len(z), device=z.device).split(1), "Jacobians, sample by sample"):
                matrix += gram(self._columns(f.take(i), z[i])) / len(z)
        axes, squares = principal_axes(matrix.cpu(), count)
        return found(self, generator, axes.float(), strength=squares.sqrt().float())

    def _columns(self, f: LatentMap, z: Float[torch.Tensor, "1 dim"]) -> Float[torch.Tensor, "dim outputs"]:
        """The columns of one sample's Jacobian, as rows."""
        vectors = torch.eye(f.dim).to(z)[:, None, :]
        return torch.cat([column.flatten(1) for (column,) in self.derivative.along(f, z, vectors, 1)])
