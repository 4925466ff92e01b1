"""GANSpace: principal components of what a layer does over many latents."""

from dataclasses import dataclass
from typing import Any

import torch

from orthogen.core.directions import Directions
from orthogen.core.features import Gathering, Moments
from orthogen.core.generator import Generator
from orthogen.core.maps import given, probe
from orthogen.core.progress import track
from orthogen.discovery._found import checked_count, latents, principal_axes, provenance
from orthogen.discovery._labels import Labelled
from orthogen.discovery._readers import readers

__all__ = ["GanSpace"]

CITATION = """\
@inproceedings{harkonen2020ganspace,
  title     = {{GANSpace}: Discovering Interpretable {GAN} Controls},
  author    = {H{\\"a}rk{\\"o}nen, Erik and Hertzmann, Aaron and Lehtinen, Jaakko and Paris, Sylvain},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2020}
}
"""

_FEATURES = 8192  # whose covariance in double precision takes half a gigabyte
_DEAD = 1e-10  # share of the largest variance below which a component is rounding


@dataclass(frozen=True)
class GanSpace(Labelled):
    """The directions in which a layer's activations vary most, carried back to the latent by regression.

        y_j = layer(z_j),   V = principal components of the y_j,   x_j = V (y_j - mean y)
        U = argmin sum_j |U x_j - (z_j - mean z)|²,   directions: the columns of U, at unit length

    For the layer that maps z to w, as in a StyleGAN, ``space="w"`` gives the components V themselves. Mean and
    covariance of latents and activations are streamed in double precision, so that memory does not grow with the number
    of samples, and the regression is solved from them. ``strength`` is the standard deviation of each component; the
    provenance says which share of its variance the latent tells linearly (``linear``): where that is small, the
    direction is a poor stand-in for the component.

    Attributes:
        layer: name of the layer; the first that reads the latent if empty, as in the paper's BigGAN.
        samples: how many latents; the more there are, the less the directions depend on the seed.
        count: how many directions; all there are, at most as many as the latent has dimensions, if None.
        space: "z" for directions of the latent; any other name for the components of the activations themselves, which
            is then the directions' space.
        batch: latents per pass.

    Fields for generators that take class labels: condition, classes, fix_class.

    Raises:
        ValueError: the layer is not there or has more than 8192 features; too few samples; a count out of range.

    Reference:
        E. Härkönen, A. Hertzmann, J. Lehtinen, S. Paris, "GANSpace: Discovering Interpretable GAN Controls",
        NeurIPS 2020.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> layer = torch.nn.Linear(2, 3)
        >>> layer.weight.data = torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]])
        >>> found = GanSpace().fit(adapt(torch.nn.Sequential(layer, torch.nn.Tanh()), Normal(2)))
        >>> [[round(abs(x), 1) for x in q] for q in found.basis.tolist()]
        [[0.0, 1.0], [1.0, 0.0]]
    """

    layer: str = ""
    samples: int = 10_000
    count: int | None = None
    space: str = "z"
    batch: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2 or self.batch < 1:
            raise ValueError(f"GanSpace(samples={self.samples}, batch={self.batch}): give at least 2 samples, 1 a pass")

    @torch.no_grad()
    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """The directions, those of most variance first."""
        layer = self.layer
        if not layer:
            few = latents(generator, 4, rng)
            layer = readers(generator, few, self.conditions(len(few), rng, few.device))[0].name
        moments, dim = self._moments(generator, layer, rng), generator.latent.dim
        covariance = moments.covariance[dim:, dim:]
        variances = torch.linalg.eigvalsh(covariance)
        alive = int((variances > _DEAD * variances.max()).sum())
        count = checked_count(self, self.count, min(alive, dim) if self.space == "z" else alive)
        components, squares = principal_axes(covariance, count)
        basis, more = components, {"layer": layer}
        if self.space == "z":
            basis, more["linear"] = self._regression(moments.covariance, components, squares)
        return Directions(
            basis.float(), self.space, squares.sqrt().float(), provenance=provenance(self, generator, **more)
        )

    def _moments(self, generator: Generator, layer: str, rng: torch.Generator | None) -> Moments:
        """Mean and covariance of latents and activations side by side."""
        f, gathering = probe(generator, (layer,)), Gathering({"moments"}, sample=1)
        sizes = [min(self.batch, self.samples - start) for start in range(0, self.samples, self.batch)]
        with f.session():
            for n in track(sizes, f"GANSpace, activations of {layer}"):
                z = latents(generator, n, rng)
                y = given(f, **self.conditions(n, rng, z.device))(z)[0].flatten(1)
                if y.shape[1] > _FEATURES:
                    raise ValueError(
                        f"GanSpace: layer {layer!r} has {y.shape[1]} features, whose covariance is too large to hold; "
                        f"name one of at most {_FEATURES}"
                    )
                gathering.add(torch.cat([z, y.to(z)], dim=1))
        moments = gathering.finish().moments
        assert moments is not None
        return moments

    def _regression(
        self, covariance: torch.Tensor, components: torch.Tensor, squares: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        """Columns of U as unit rows, and the share of each component's variance that is linear in the latent."""
        dim = covariance.shape[0] - components.shape[1]
        across = covariance[:dim, dim:] @ components.mT  # of z and x: (dim, count)
        told = (across * torch.linalg.lstsq(covariance[:dim, :dim], across).solution).sum(dim=0)
        columns = across / squares
        return (columns / columns.norm(dim=0).clamp_min(1e-300)).mT, (told / squares).tolist()
