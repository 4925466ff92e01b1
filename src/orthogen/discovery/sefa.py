"""SeFa: directions in closed form from the weights that first read the latent."""

from dataclasses import dataclass

import torch

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.discovery._found import checked_count, found, gram, latents, principal_axes
from orthogen.discovery._labels import Labeled
from orthogen.discovery._readers import readers

__all__ = ["SeFa"]

CITATION = """\
@inproceedings{shen2021closed,
  title     = {Closed-Form Factorization of Latent Semantics in {GANs}},
  author    = {Shen, Yujun and Zhou, Bolei},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class SeFa(Labeled):
    """The directions along which the layers that read the latent move most: their right singular vectors.

        Q = argmax over orthonormal q_1, q_2, ... of |A q_i|²,   A = the layers' weights, stacked (rows: outputs)
        A^T A = Q^T diag(s²) Q,   strength = s

    The Gram matrix A^T A of the stack is summed layer by layer in double precision and factorized: no tall matrix is
    formed or decomposed. Layers are found by watching one pass: whatever linear or convolutional layer gets the latent
    as its input, reshaped, normalized per sample, in parts or beside other inputs (class embeddings), counts with the
    columns that read it. Weights are taken as they act, after spectral norm, weight norm or equalized learning rates. A
    transposed convolution on a 1x1 latent is the matrix with one row per output channel and pixel.

    Attributes:
        layers: names of layers that read the latent; all that do if empty.
        count: how many directions; as many as the latent has dimensions if None.

    For generators that take class labels: fix_class; the labels do not change the result.

    Raises:
        ValueError: a layer that does not read the latent or is not there, or no layer does; a count out of range.

    Reference:
        Y. Shen, B. Zhou, "Closed-Form Factorization of Latent Semantics in GANs", CVPR 2021.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> layer = torch.nn.Linear(2, 3)
        >>> layer.weight.data = torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]])
        >>> found = SeFa().fit(adapt(torch.nn.Sequential(layer, torch.nn.Tanh()), Normal(2)))
        >>> found.basis.tolist(), found.strength.tolist()
        ([[0.0, 1.0], [1.0, 0.0]], [2.0, 1.0])
    """

    layers: tuple[str, ...] = ()
    count: int | None = None

    @torch.no_grad()
    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """The directions, strongest first."""
        count = checked_count(self, self.count, generator.latent.dim)
        z = latents(generator, 4, rng)
        reading = readers(generator, z, self.conditions(generator, len(z), rng, z.device), self.layers)
        # of all layers side by side, the outputs of which are the rows of A
        matrix = gram(torch.cat([reader.response.to(z) for reader in reading], dim=1))
        axes, squares = principal_axes(matrix.cpu(), count)
        used = [reader.name for reader in reading]
        return found(self, generator, axes.float(), strength=squares.sqrt().float(), layers=used)
