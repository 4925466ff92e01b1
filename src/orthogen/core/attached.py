"""Rules that act by themselves whenever an optimizer steps, in their order."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

__all__ = ["attach"]


@runtime_checkable
class _Acting(Protocol):
    """What is known of a bound rule here."""

    order: ClassVar[int]
    log: Mapping[str, float | Tensor]

    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]: ...

    def after(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]: ...


class _Attached:
    """The rules of one optimizer behind one pair of hooks; with a pair each they would act in order of arrival."""

    def __init__(self) -> None:
        self.rules: list[Any] = []

    def before(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("closure", args[1] if len(args) > 1 else None) is not None:  # args[0] is the optimizer
            raise ValueError(
                "optimizer.step was given a closure, which makes gradients after the rules have acted on them; "
                "call backward first, then step() alone"
            )
        for rule in self.rules:
            rule.log = rule.before(optimizer)

    def after(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for rule in self.rules:
            rule.log = {**rule.log, **rule.after(optimizer)}


_ATTACHED: WeakKeyDictionary[torch.optim.Optimizer, _Attached] = WeakKeyDictionary()


def attach(rule: _Acting, optimizer: torch.optim.Optimizer) -> None:
    """Let a rule act around every step of an optimizer; what it logs is in ``rule.log`` after the step.

    Hooks are no part of an optimizer's ``state_dict``: attach anew after loading a checkpoint into a new optimizer.
    """
    if optimizer not in _ATTACHED:
        _ATTACHED[optimizer] = attached = _Attached()
        optimizer.register_step_pre_hook(attached.before)
        optimizer.register_step_post_hook(attached.after)
    rules = _ATTACHED[optimizer].rules
    if not any(known is rule for known in rules):
        rules.append(rule)
        rules.sort(key=lambda rule: rule.order)
