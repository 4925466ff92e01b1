"""One who learns: a network, what its penalties learn, and the optimizer of both."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from orthogen.core.kinds import BoundRule
from orthogen.training.distributed import Processes
from orthogen.training.recipe import Adam, Sgd

__all__ = ["Player"]


class Player:
    """Takes gradients as backward left them, and steps.

    Args:
        name: ``"generator"``, ``"critic"`` or ``"classifier"``; values are logged under it.
        network: what learns.
        memories: states of its penalties, by term; their parameters are learned along.
        settings: of the optimizer.
        clip: largest norm of all gradients together; None for no clipping.
        rules: what happens around the optimizer's step, by name, in their order.

    Attributes:
        steps: taken so far.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        memories: Mapping[str, nn.Module],
        settings: Adam | Sgd,
        clip: float | None = None,
        rules: Mapping[str, BoundRule] | None = None,
    ) -> None:
        self.name, self.clip, self.rate = name, clip, settings.lr
        self.rules = dict(sorted((rules or {}).items(), key=lambda item: item[1].order))
        parts = nn.ModuleDict({"network": network, "terms": nn.ModuleDict(dict(memories))})
        self.parameters = {key: value for key, value in parts.named_parameters() if value.requires_grad}
        if not self.parameters:
            raise ValueError(f"the {name} has no parameter that requires a gradient; there is nothing to train")
        self.optimizer = settings.over(self.parameters.values())
        self.optimizer.zero_grad()
        self.steps = 0

    def step(self, factor: float, processes: Processes, buffers: Iterable[Tensor]) -> dict[str, Tensor | float]:
        """One optimizer step, and what to log of it.

        Args:
            factor: of the learning rate.
            processes: those that share the step.
            buffers: to be averaged over the processes along with the gradients.
        """
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        processes.average([*gradients, *buffers])
        norm = get_total_norm(gradients)
        if self.clip is not None:
            clip_grads_with_norm_(self.parameters.values(), self.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"], group["steps"] = self.rate * factor, self.steps  # not every optimizer counts, and rules ask
        values: dict[str, Tensor | float] = {f"rate/{self.name}": self.rate * factor, f"norm/{self.name}": norm}
        for name, rule in self.rules.items():
            values |= {f"{name}/{key}": value for key, value in rule.before(self.optimizer).items()}
        self.optimizer.step()
        for name, rule in self.rules.items():
            values |= {f"{name}/{key}": value for key, value in rule.after(self.optimizer).items()}
        self.optimizer.zero_grad()
        self.steps += 1
        return values

    def forget(self) -> None:
        """Start the optimizer anew: no moments, no count of their steps."""
        self.optimizer.state.clear()

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's moments by parameter, as ``network.0.weight/exp_avg``."""
        state = self.optimizer.state
        return {
            f"{name}/{key}": value
            for name, parameter in self.parameters.items()
            for key, value in state.get(parameter, {}).items()
            if isinstance(value, Tensor)  # SGD without momentum has None
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the optimizer where `tensors` left it."""
        ordered = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        index = {id(parameter): number for number, parameter in enumerate(ordered)}
        state: dict[int, dict[str, Tensor]] = {}
        for entry, value in tensors.items():
            name, _, key = entry.rpartition("/")
            parameter = self.parameters[name]
            if value.shape == parameter.shape:  # fused steps go through memory, so a moment lies there as its weight
                value = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
            state.setdefault(index[id(parameter)], {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
