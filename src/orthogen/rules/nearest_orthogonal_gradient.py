"""Nearest orthogonal gradient: what a layer's gradient is replaced by before the optimizer sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.chosen import chosen
from orthogen.core.kinds import BoundRule, StepRule
from orthogen.core.linalg import PolarMethod, polar_factors
from orthogen.rules._bound import BoundLayers, Layer, mean, wide

__all__ = ["NearestOrthogonalGradient"]

CITATION = """\
@inproceedings{song2022improving,
  title     = {Improving Covariance Conditioning of the {SVD} Meta-layer by Orthogonality},
  author    = {Song, Yue and Sebe, Nicu and Wang, Wei},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""


@dataclass(frozen=True)
class NearestOrthogonalGradient(StepRule):
    """Replaces the gradient of a layer by the nearest matrix with orthonormal rows (or columns, where it is tall).

        G' = argmin |G - R|_F  over  R R^T = I  =  U V^T      with G = U S V^T, the gradient after flatten(1)

    Its scale is not restored: |G'|² is the rank of G, whatever the loss or the clipping; the learning rate alone sets
    the length of a step. Directions in which the gradient has nothing get nothing (a partial isometry), and a gradient
    that is not finite is left as it is, for the loop's own check to find.

    ``on="gradient"``, as in the paper, acts before the optimizer, whose weight decay, momentum and preconditioning come
    on top: under Adam the step itself is not orthogonal. ``on="update"`` acts on what the optimizer did to the weight,
    weight decay included, in the manner of Muon:

        W  <-  W_old + lr polar(W - W_old)

    With plain SGD the two are the same. The gradient is that of the whole batch: once per step however many parts it
    was accumulated from, after all processes' were averaged, and after clipping. Acts before `OptimalLearningRate`.

    It logs, as means over the layers, the ``norm`` of what was replaced (on updates: per unit of learning rate) and its
    ``cosine`` with what replaced it, sum(S) / (sqrt(r) |S|): 1 where all r singular values were equal already. Both are
    0 for a gradient that is zero or not finite.

    Attributes:
        layers: names, or patterns such as ``blocks.*.U``, of parameters or of layers with parameters in them; the first
            parameter of two or more dimensions if empty. The paper takes the layer in front of an SVD, or the subspace
            bases of EigenGAN.
        on: "gradient" or "update".
        method: of `orthogen.core.linalg.polar_factor`. By default eigenvalues up to a short side of 64, for which the
            host waits for the device; ``PolarExpress()`` does not wait.

    Raises:
        ValueError: on ``bind``, a name matches nothing; in a step, the optimizer does not have the parameter, gradients
            still carry the loss scale of a GradScaler, or ``step`` was given a closure.
        TypeError: in a step, a sparse gradient.

    Reference:
        Song et al., "Improving Covariance Conditioning of the SVD Meta-layer by Orthogonality", ECCV 2022. For updates:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

    Example:
        In a training loop of one's own: one line to bind, one to attach (``objective.rules`` in a recipe).

        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        >>> _ = nn.init.zeros_(net[0].weight)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> nog = NearestOrthogonalGradient(layers=("0",)).bind(net)
        >>> nog.attach(optimizer) is nog
        True
        >>> net[0].weight.grad = torch.tensor([[0.0, 7.0], [-2.0, 0.0]])
        >>> optimizer.step()
        >>> net[0].weight.data
        tensor([[ 0.0000, -0.1000],
                [ 0.1000,  0.0000]])
        >>> round(nog.log["cosine"].item(), 3)  # (7 + 2) / (sqrt(2) sqrt(7² + 2²))
        0.874
    """

    layers: tuple[str, ...] = ()
    on: Literal["gradient", "update"] = "gradient"
    method: PolarMethod | None = None

    def __post_init__(self) -> None:
        check_choices(self)

    def bind(self, module: nn.Module) -> BoundRule:
        """The rule on the module's parameters of these names."""
        who = type(self).__name__
        found = chosen(module, self.layers, who, learned=True)
        if self.on == "update":
            return _OnUpdate(who, found, self.method)
        return _OnGradient(who, found, self.method)


class _Nearest(BoundLayers):
    order = 0

    def __init__(self, who: str, parameters: dict[str, nn.Parameter], method: PolarMethod | None) -> None:
        super().__init__(who, parameters)
        self.method = method

    def factors(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        return polar_factors(matrices, self.method, nonfinite="keep")


class _OnGradient(_Nearest):
    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        gradients = [layer.gradient for layer in self.layers(optimizer)]
        matrices = [gradient.flatten(1) for gradient in gradients]
        factors = self.factors(matrices)
        log = _log(matrices, factors)
        for gradient, P in zip(gradients, factors, strict=True):
            gradient.copy_(P.view_as(gradient))  # in place: it may be a view of a bucket
        return log


class _OnUpdate(_Nearest):
    def __init__(self, who: str, parameters: dict[str, nn.Parameter], method: PolarMethod | None) -> None:
        super().__init__(who, parameters, method)
        self._old: list[tuple[Layer, Tensor]] = []

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        self._old = [(layer, layer.parameter.detach().clone()) for layer in self.layers(optimizer)]
        return {}

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        layers, self._old = self._old, []
        moves = [(wide(layer.parameter) - wide(old)).flatten(1) for layer, old in layers]
        factors = self.factors(moves)
        for (layer, old), move, P in zip(layers, moves, factors, strict=True):
            new = wide(old) + layer.rate * P.view_as(old)
            layer.parameter.copy_(torch.where(move.isfinite().all(), new, wide(layer.parameter)))
        return _log([move / layer.rate for (layer, _), move in zip(layers, moves, strict=True)], factors)


def _log(matrices: Sequence[Tensor], factors: Sequence[Tensor]) -> dict[str, float | Tensor]:
    if not matrices:
        return {}
    norms, cosines = [], []
    for G, P in zip(matrices, factors, strict=True):
        g, p = wide(G).flatten(), wide(P).flatten()
        norm, length = torch.linalg.vector_norm(g), torch.linalg.vector_norm(p)
        whole = norm.isfinite() & (norm > 0)
        norms.append(torch.where(whole, norm, 0.0))
        cosines.append(torch.where(whole, torch.dot(g, p) / (norm * length), 0.0))
    return {"norm": mean(norms), "cosine": mean(cosines)}
