"""Spectral norms of whole tables of conditional norms: what group spectral regularization is compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator, module_of
from orthogen.core.kinds import WeightPenalty
from orthogen.core.linalg import spectral_norm
from orthogen.core.shapes import Float
from orthogen.layers.class_vectors import VectorSource, class_vectors

__all__ = ["PlainSpectral"]

CITATION = """\
@inproceedings{rangwani2022improving,
  title     = {Improving {GANs} for Long-Tailed Data through Group Spectral Regularization},
  author    = {Rangwani, Harsh and Jaswani, Naman and Karmali, Tejan and Jampani, Varun and Babu, R. Venkatesh},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""


@dataclass(frozen=True)
class PlainSpectral(WeightPenalty):
    """The spectral norms of all classes' gains and biases together, as one matrix per layer, without groups.

        R = sum_l (sigma(G^l) + sigma(B^l))

    G^l has the gain's offset from 1 of each class in its rows, B^l the bias; sigma is the largest singular value. It
    is not squared, and classes have no weights: the ablation of `GroupSpectral` in its released code, called
    ``fro_regularize`` there, with a weight of 0.5. That takes parameters as they are learned, this rows as they act.

    Attributes:
        layers: names of conditional norms, with wildcards; all of them if empty.
        vectors: how norms that are not of this library are found, see `GroupSpectral`.

    Raises:
        ValueError: when it is called, for a generator without conditional norms, or a name that none has.

    Reference:
        H. Rangwani, N. Jaswani, T. Karmali, V. Jampani, R. V. Babu, "Improving GANs for Long-Tailed Data through Group
        Spectral Regularization", ECCV 2022, released code.

    Example:
        >>> import orthogen as og
        >>> from orthogen.layers.batch_norm import ConditionalBatchNorm2d
        >>> norm = ConditionalBatchNorm2d(nn.Embedding(2, 3), nn.Embedding(2, 3), 3)
        >>> norm.gain.weight.data = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> norm.bias.weight.data = torch.tensor([[0.0, 0.6, 0.8], [0.0, 0.0, 0.0]])
        >>> og.PlainSpectral()(norm).item()
        4.0
    """

    layers: tuple[str, ...] = ()
    vectors: VectorSource | None = None

    def __call__(
        self, network: Generator | nn.Module, *, state: nn.Module | None = None, rng: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """The penalty, unweighted."""
        module = module_of(network)
        found = class_vectors(module, self.vectors, self.layers, "PlainSpectral")
        with torch.autocast(next(module.parameters()).device.type, enabled=False):
            norms = [spectral_norm(rows()).sigma for pair in found.values() for rows in pair if rows is not None]
        return torch.stack(norms).sum()
