"""GANSpace: principal components of what a layer does over many latents."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.maps import given, probe
from orthogen.core.progress import track
from orthogen.core.shapes import Float
from orthogen.discovery._components import Components, components
from orthogen.discovery._found import checked_count, found, latents
from orthogen.discovery._labels import Labeled
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

_DEAD = 1e-10  # share of the largest variance below which a component is rounding


@dataclass(frozen=True)
class GanSpace(Labeled):
    """The directions in which a layer's activations vary most, carried back to the latent by regression.

        y_j = layer(z_j),   V = principal components of the y_j,   x_j = V (y_j - mean y)
        U = argmin sum_j |U x_j - (z_j - mean z)|²,   directions: the columns of U, at unit length

    For the layer that maps z to w, as in a StyleGAN, ``space="w"`` gives the components V themselves. Covariances are
    streamed in double precision, so that memory does not grow with the number of samples, and the regression is solved
    from them. Of a layer with more features than samples the activations are held (4 bytes each), and their components
    computed from the matrix of samples by samples: exact too. ``strength`` is the standard deviation of each component;
    the provenance says which share of its variance the latent tells linearly (``linear``): where that is small, the
    direction is a poor stand-in for the component.

    Attributes:
        layer: name of the layer; the first that reads the latent if empty, as in the paper's BigGAN.
        samples: how many latents; the more there are, the less the directions depend on the seed.
        count: how many directions; all there are, at most as many as the latent has dimensions, if None.
        space: "z" for directions of the latent; any other name for the components of the activations themselves, which
            is then the directions' space.
        batch: latents per pass.

    For generators that take class labels: fix_class, one label for all samples.

    Raises:
        ValueError: the layer is not there; both samples and features are more than 10,000; too few samples; a count out
            of range.

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
        if self.samples < 2 or self.batch < 1:
            raise ValueError(f"GanSpace(samples={self.samples}, batch={self.batch}): give at least 2 samples, 1 a pass")

    @torch.no_grad()
    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """The directions, those of most variance first."""
        layer = self.layer
        if not layer:
            few = latents(generator, 4, rng)
            layer = readers(generator, few, self.conditions(generator, len(few), rng, few.device))[0].name

        def count(variances: Tensor) -> int:
            alive = int((variances > _DEAD * variances.max()).sum())
            return checked_count(self, self.count, min(alive, generator.latent.dim) if self.space == "z" else alive)

        main = components(self._activations(generator, layer, rng), self.samples, count, layer)
        basis, more = main.axes, {"layer": layer}
        if self.space == "z":
            basis, more["linear"] = _regression(main)
        space = None if self.space == "z" else self.space
        return found(self, generator, basis.float(), space=space, strength=main.variances.sqrt().float(), **more)

    def _activations(
        self, generator: Generator, layer: str, rng: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Fresh latents and what the layer does with them, flat."""
        f = probe(generator, (layer,))
        sizes = [min(self.batch, self.samples - start) for start in range(0, self.samples, self.batch)]
        with f.session():
            for n in track(sizes, f"GANSpace, activations of {layer}"):
                z = latents(generator, n, rng)
                yield z, given(f, **self.conditions(generator, n, rng, z.device))(z)[0].flatten(1)


def _regression(main: Components) -> tuple[Float[Tensor, "k dim"], Any]:
    """Columns of U as unit rows, and the share of each component's variance that is linear in the latent."""
    told = (main.across * torch.linalg.lstsq(main.latent, main.across).solution).sum(dim=0)
    columns = main.across / main.variances
    return (columns / columns.norm(dim=0).clamp_min(1e-300)).mT, (told / main.variances).tolist()
