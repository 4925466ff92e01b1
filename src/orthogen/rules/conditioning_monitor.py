"""Conditioning monitor: logs how well conditioned layers are while they are trained, and changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from orthogen.core.chosen import chosen_layers
from orthogen.core.conditioning import conditioning, matrix_of, rows_of, true_rank
from orthogen.core.features import Moments
from orthogen.core.generator import first_tensor
from orthogen.core.kinds import BoundRule, StepRule
from orthogen.core.untouched import evaluating
from orthogen.rules._due import steps_so_far

__all__ = ["ConditioningMonitor"]

CITATION = """\
@inproceedings{song2022improving,
  title     = {Improving Covariance Conditioning of the {SVD} Meta-layer by Orthogonality},
  author    = {Song, Yue and Sebe, Nicu and Wang, Wei},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""

LOGGED = ("condition", "effective_rank", "ridge_condition", "weight_norm", "defect")


@dataclass(frozen=True)
class ConditioningMonitor(StepRule):
    """Logs the condition of layers' outputs and weights every so many steps; gradients and weights are as without it.

    With eigenvalues l_1 >= l_2 >= ... of the covariance of the c channels, over samples and positions of the first
    forward pass with gradients after the last step (this process's part of a batch, at the weights that it left),

        condition        l_1 / l_r, r = min(c, inputs per output of the weight), the rank that it can have
        effective_rank   exp(-sum p log p) with p = l / sum l
        ridge_condition  (l_1 + eps) / eps
        weight_norm      |W|_F
        defect           |W W^T / m - 1|_F, m the mean of the diagonal

    see `orthogen.core.conditioning.conditioning`; with several layers each under ``NAME/``. Steps in between cost
    nothing, and those that log wait for the device. Steps are counted as the optimizer counts them, where it does (the
    Adam family), or as `orthogen.train` does, so that a resumed run logs at the same ones. `orthogen.Conditioning`
    measures a generator afterwards, with standard errors.

    Attributes:
        layers: names or patterns of layers; the first one with a matrix for a weight if empty.
        every: steps from one measurement to the next.
        eps: the ridge.

    Raises:
        ValueError: an interval below one step, a ridge that is not positive; on ``bind``, a name matches no layer.

    Reference:
        Song et al., "Improving Covariance Conditioning of the SVD Meta-layer by Orthogonality", ECCV 2022; the figures
        released with its code show condition numbers over training.

    Example:
        >>> net = nn.Linear(2, 2, bias=False)
        >>> net.weight.data = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> monitor = ConditioningMonitor(every=10).bind(net).attach(optimizer)
        >>> net(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])).sum().backward()
        >>> optimizer.step()
        >>> {name: round(value, 2) for name, value in monitor.log.items()}
        {'condition': 9.0, 'effective_rank': 1.38, 'ridge_condition': 1201.0, 'weight_norm': 3.16, 'defect': 1.13}
    """

    layers: tuple[str, ...] = ()
    every: int = 100
    eps: float = 1e-2

    def __post_init__(self) -> None:
        if self.every < 1 or not self.eps > 0:
            raise ValueError(
                f"ConditioningMonitor(every={self.every}, eps={self.eps}): give an interval of at least 1 step, and a "
                "ridge above 0"
            )

    def bind(self, module: nn.Module) -> BoundRule:
        """The monitor of the module's layers of these names, with a forward hook on each."""
        return _Bound(chosen_layers(module, self.layers, type(self).__name__), self.every, self.eps)


class _Bound(BoundRule):
    order = -10

    def __init__(self, watched: Mapping[str, nn.Module], every: int, eps: float) -> None:
        self.watched, self.every, self.eps = dict(watched), every, eps
        self._seen: dict[str, Tensor] = {}
        self._step: int | None = None  # not known before the optimizer is
        for name, layer in self.watched.items():
            layer.register_forward_hook(partial(self._see, name))

    def _see(self, name: str, layer: nn.Module, args: object, output: object) -> None:
        due = self._step is None or self._step % self.every == 0
        # without gradients nothing is learned: a test or a sample between two steps
        if due and name not in self._seen and torch.is_grad_enabled():
            rows = rows_of(layer, first_tensor(output, f"layer {name!r}").detach())
            if len(rows) > 1:
                self._seen[name] = Moments.of(rows).covariance

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        if self._step is None:
            self._step = steps_so_far(optimizer)
        seen, self._seen = self._seen, {}
        due, self._step = self._step % self.every == 0, self._step + 1
        values: dict[str, float | Tensor] = {}
        for name, covariance in seen.items() if due else ():
            if covariance.isfinite().all():  # what is not finite is for the training loop to find
                for key, value in self._condition(self.watched[name], covariance).items():
                    values[key if len(self.watched) == 1 else f"{name}/{key}"] = value
        return values

    def _condition(self, layer: nn.Module, covariance: Tensor) -> dict[str, float]:
        with evaluating(layer):  # a parametrization of the weight may iterate in training
            weight = matrix_of(layer)
        rank = true_rank(weight, len(covariance), getattr(layer, "groups", 1))
        found = conditioning(weight, covariance, self.eps, rank=rank)
        return {key: found[key] for key in LOGGED if key in found}
