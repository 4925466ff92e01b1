"""What the rules on layers share: their parameters that have a gradient, with the learning rate in force."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.kinds import BoundRule

__all__ = ["BoundLayers", "Layer", "mean", "wide"]


@dataclass(frozen=True, eq=False)
class Layer:
    """A parameter about to be stepped.

    Attributes:
        name: of the parameter.
        parameter: itself.
        gradient: of it.
        rate: the learning rate of its group in the optimizer, as the scheduler has set it.
    """

    name: str
    parameter: nn.Parameter
    gradient: Tensor
    rate: float | Tensor


class BoundLayers(BoundRule):
    """A rule bound to some parameters.

    Args:
        who: the rule's name, for messages.
        parameters: by name.
    """

    def __init__(self, who: str, parameters: Mapping[str, nn.Parameter]) -> None:
        self.who, self.parameters = who, dict(parameters)

    def layers(self, optimizer: torch.optim.Optimizer) -> list[Layer]:
        """The parameters that have a gradient. Nothing is asked of the device.

        Raises:
            ValueError: the optimizer does not have one of them, or will divide gradients by a loss scale.
            TypeError: a gradient is sparse.
        """
        if getattr(optimizer, "grad_scale", None) is not None:
            raise ValueError(
                f"{self.who}: gradients still carry the loss scale; call scaler.unscale_(optimizer) before "
                "scaler.step(optimizer)"
            )
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        found = []
        for name, parameter in self.parameters.items():
            if id(parameter) not in rates:
                raise ValueError(
                    f"{self.who}: the optimizer does not have {name!r}; bind the rule to the module that the optimizer "
                    "got its parameters from"
                )
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.layout != torch.strided:
                raise TypeError(f"{self.who}: the gradient of {name!r} is sparse; make it dense (sparse=False)")
            found.append(Layer(name, parameter, gradient, rates[id(parameter)]))
        return found


def wide(x: Tensor) -> Tensor:
    """In float32 at least: half types have no room for sums of squares."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def mean(values: list[Tensor]) -> Tensor:
    """The mean over layers, for the log."""
    return torch.stack(values).mean()
