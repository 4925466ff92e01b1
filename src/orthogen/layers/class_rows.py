"""A vector per class, from a table or from a map of a class embedding, read without leaving a trace."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm

from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import evaluating
from orthogen.layers.spectral_norm import SpectralEmbedding, SpectralLinear

__all__ = ["ClassRows", "stacked"]


@dataclass(frozen=True, eq=False)
class ClassRows:
    """A vector for each class: a table, or a linear map of an embedding that norms share.

        row_y = T_y            row_y = A [S_y; 0] + a

    The 0 stands for whatever else the condition holds behind the class embedding, such as a chunk of the latent.
    Weights are read as they act: divided by their spectral norm where they have one, without a step of its iteration.

    Attributes:
        source: the table ``(classes, channels)``, an embedding, or a linear layer.
        shared: the class embedding that a linear layer gets; None for tables.

    Example:
        >>> S, A = nn.Embedding(10, 4), nn.Linear(6, 8, bias=False)
        >>> rows = ClassRows(A, S)
        >>> rows.shape, rows(torch.tensor([2, 7])).shape
        ((10, 8), torch.Size([2, 8]))
    """

    source: Tensor | nn.Embedding | nn.Linear
    shared: nn.Embedding | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """How many classes and channels there are; no weight is computed."""
        match self.source, self.shared:
            case nn.Linear(), nn.Embedding():
                return self.shared.num_embeddings, self.source.out_features
            case nn.Embedding(), None:
                return self.source.num_embeddings, self.source.embedding_dim
            case Tensor(), None if self.source.ndim == 2:
                return self.source.shape[0], self.source.shape[1]
        raise ValueError(
            f"{type(self.source).__name__} was given for a vector per class; it is a tensor (classes, channels), an "
            "embedding, or a linear layer with the embedding that it gets"
        )

    def __call__(self, classes: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n c"]:
        """The rows of those classes; of all if None. Gradients reach the parameters behind them."""
        if self.shared is not None:
            return self.mapped(ClassRows(self.shared)(classes))
        table = _acting(self.source)
        return table if classes is None else nn.functional.embedding(classes, table)

    def mapped(self, embedded: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """What the linear map makes of the embedding of some classes."""
        offset = self.source.bias if isinstance(self.source, nn.Linear) else None
        return nn.functional.linear(embedded, _acting(self.source)[:, : embedded.shape[1]], offset)


def _acting(source: Tensor | nn.Embedding | nn.Linear) -> Tensor:
    """The weight that a pass in evaluation mode would use, in float32 at least."""
    if isinstance(source, Tensor):
        weight = source
    elif type(source) in (nn.Embedding, nn.Linear) and not source._forward_pre_hooks:
        weight = source.weight
    elif any(isinstance(hook, SpectralNorm) for hook in source._forward_pre_hooks.values()):
        weight = source.get_parameter("weight_orig")
        u, v = (source.get_buffer(f"weight_{side}").clone() for side in "uv")  # the next pass writes to them in place
        weight = weight / torch.dot(u, weight @ v)
    else:
        with evaluating(source):  # neither our spectral norm nor torch's parametrization iterates
            if isinstance(source, SpectralLinear | SpectralEmbedding):
                weight = source.acting_weight()
            else:
                weight = source.weight
    return weight if weight.dtype in (torch.float32, torch.float64) else weight.float()


def stacked(
    groups: Sequence[Sequence[ClassRows]], classes: Int[Tensor, "n"] | None = None
) -> list[Float[Tensor, "tables n c"]]:
    """The tables of each group, which are of equal width, in one tensor; what they share is looked up once for all.

    Example:
        >>> [V.shape for V in stacked([[ClassRows(torch.zeros(10, 4))] * 2, [ClassRows(torch.ones(10, 8))]])]
        [torch.Size([2, 10, 4]), torch.Size([1, 10, 8])]
    """
    embedded: dict[nn.Embedding, Tensor] = {}

    def rows(each: ClassRows) -> Tensor:
        if each.shared is None:
            return each(classes)
        if each.shared not in embedded:
            embedded[each.shared] = ClassRows(each.shared)(classes)
        return each.mapped(embedded[each.shared])

    return [torch.stack([rows(each) for each in group]) for group in groups]
