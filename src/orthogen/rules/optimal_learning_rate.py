"""Optimal learning rate: how far a layer goes along its gradient."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.chosen import chosen
from orthogen.core.kinds import BoundRule, StepRule
from orthogen.rules._bound import BoundLayers, Layer, mean, wide
from orthogen.rules._rate import optimal_rate

__all__ = ["OptimalLearningRate"]

CITATION = """\
@inproceedings{song2022improving,
  title     = {Improving Covariance Conditioning of the {SVD} Meta-layer by Orthogonality},
  author    = {Song, Yue and Sebe, Nicu and Wang, Wei},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""


EDGES = (0.1, 0.01, 0.001, 0.0001, 0.0)  # of the histogram's decades below lr


@dataclass(frozen=True)
class OptimalLearningRate(StepRule):
    """Gives a layer a learning rate of its own, of its weight w and gradient l, where that is below the scheduled one.

        eta* = a b / (a c + 2 b²) = (b / c) / (1 + 2 cos²(w, l)),     a = <w, w>,  b = <l, w>,  c = <l, l>
        used = eta*  where 0 < eta* < lr,  else lr

    b / c is the step that makes |w - eta l| smallest; eta* is a third of it up to all of it. It is positive only where
    the gradient has a part along the weight; in front of a normalization that hardly is so, and lr is used.

    The rate enters by scaling what the optimizer did, W_old + (used / lr) (W - W_old), which is the step at rate
    ``used`` of every optimizer whose step is proportional to its rate (SGD, Adam, AdamW, RMSprop, momentum and weight
    decay included). So the optimizer and its scheduler know nothing of it, a resume is exact, and nothing waits for the
    device. A step at lr is the optimizer's, bit by bit, as is one whose gradient is not finite.

    ``on="gradient"``, as in the paper, takes the gradient for l, even under Adam, for which the formula was not
    derived; ``on="update"`` takes what the optimizer applied, (W_old - W) / lr, momentum and all. The gradient is that
    of the whole batch, averaged over processes and clipped, and `NearestOrthogonalGradient` acts on it before.

    It logs the ``rate`` used (the mean over layers, and ``rate/NAME`` of each where there are several); ``at_base``,
    the share of layers at lr; and ``share/0.1``, ``share/0.01``, ... of those in the decade of used / lr that begins
    there (``share/0``: all below 0.0001). So the log's means over an interval are the histogram of its steps.

    Attributes:
        layers: names, or patterns such as ``blocks.*.U``, of parameters or of layers with parameters in them; the first
            parameter of two or more dimensions if empty. The paper takes the layer in front of an SVD, or the subspace
            bases of EigenGAN.
        on: "gradient" or "update".

    Raises:
        ValueError: on ``bind``, a name matches nothing; in a step, the optimizer does not have the parameter, gradients
            still carry the loss scale of a GradScaler, or ``step`` was given a closure.
        TypeError: in a step, a sparse gradient.

    Reference:
        Song et al., "Improving Covariance Conditioning of the SVD Meta-layer by Orthogonality", ECCV 2022.

    Example:
        With l = 2 w the rate is 1/6, and the weight loses a third.

        >>> net = nn.Linear(2, 2, bias=False)
        >>> net.weight.data = torch.tensor([[3.0, 0.0], [0.0, 6.0]])
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        >>> olr = OptimalLearningRate().bind(net).attach(optimizer)
        >>> net.weight.grad = 2 * net.weight.data
        >>> optimizer.step()
        >>> net.weight.data
        tensor([[2., 0.],
                [0., 4.]])
        >>> round(olr.log["rate"].item(), 4), olr.log["at_base"].item(), optimizer.param_groups[0]["lr"]
        (0.1667, 0.0, 1.0)
    """

    layers: tuple[str, ...] = ()
    on: Literal["gradient", "update"] = "gradient"

    def __post_init__(self) -> None:
        check_choices(self)

    def bind(self, module: nn.Module) -> BoundRule:
        """The rule on the module's parameters of these names."""
        who = type(self).__name__
        return _Bound(who, chosen(module, self.layers, who, learned=True), self.on)


class _Bound(BoundLayers):
    order = 10

    def __init__(self, who: str, parameters: dict[str, nn.Parameter], on: str) -> None:
        super().__init__(who, parameters)
        self.on = on
        self._old: list[tuple[Layer, Tensor, Tensor | None]] = []

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        self._old = [
            (
                layer,
                layer.parameter.detach().clone(),
                optimal_rate(layer.parameter, layer.gradient) / layer.rate if self.on == "gradient" else None,
            )
            for layer in self.layers(optimizer)
        ]
        return {}

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        layers, self._old = self._old, []
        rates: dict[str, Tensor] = {}
        shares: list[Tensor] = []
        for layer, old, share in layers:
            new = layer.parameter
            move = wide(new) - wide(old)
            if share is None:
                share = -optimal_rate(old, move)  # l = -move holds lr already
            own = (share > 0) & (share < 1)  # false where it is NaN
            new.copy_(torch.where(own, move.mul_(share).add_(old), wide(new)))
            shares.append(torch.where(own, share, 1.0))
            rates[layer.name] = shares[-1] * layer.rate
        if not rates:
            return {}
        each = {f"rate/{name}": rate for name, rate in rates.items()} if len(rates) > 1 else {}
        return {"rate": mean(list(rates.values())), **each, **histogram(torch.stack(shares))}


def histogram(shares: Tensor) -> dict[str, float | Tensor]:
    """What part of the layers is at the scheduled rate, and in each decade below it.

    Example:
        >>> found = histogram(torch.tensor([1.0, 0.5, 0.2, 0.02]))
        >>> {name: part.item() for name, part in found.items() if part}
        {'at_base': 0.25, 'share/0.1': 0.5, 'share/0.01': 0.25}
    """
    below = [1.0, *EDGES]
    parts = {f"share/{low:g}": (shares >= low) & (shares < high) for high, low in pairwise(below)}
    return {name: part.double().mean() for name, part in {"at_base": shares == 1, **parts}.items()}
