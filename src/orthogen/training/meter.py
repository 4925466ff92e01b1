"""Means of losses, penalties and norms over an interval, gathered without waiting for the device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogen.training.distributed import Processes

__all__ = ["Fault", "Meter"]


@dataclass(frozen=True)
class Fault:
    """A value that was not finite, and the step that gave it: its number, and the images shown before it."""

    name: str
    step: int
    images: int


class Meter:
    """Means of what the steps return. Values stay on their device until `fold`, so that no step waits for them."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._rows: list[tuple[tuple[int, int], list[str], Tensor | None, dict[str, float]]] = []

    def add(self, step: int, images: int, values: Mapping[str, Tensor | float]) -> None:
        """Note the values of a step, which began at so many images."""
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        numbers = {name: float(value) for name, value in values.items() if not isinstance(value, Tensor)}
        stacked = torch.stack([value.detach().float() for value in tensors.values()]) if tensors else None
        self._rows.append(((step, images), list(tensors), stacked, numbers))

    def fold(self) -> Fault | None:
        """Bring the values over and add them up; the first one that is not finite, where there is one.

        Where several values of a step are not finite, the first that is no gradient norm is named: losses and penalties
        come before the norm of their gradients.
        """
        rows, self._rows = self._rows, []
        stacks = [stacked for _, _, stacked, _ in rows if stacked is not None]
        if stacks:
            flat = torch.cat(stacks)
            self.processes.average([flat])
            host = iter(flat.tolist())
        for when, names, _, numbers in rows:
            values = {**{name: next(host) for name in names}, **numbers}
            wrong = [name for name, value in values.items() if not math.isfinite(value)]
            if wrong:
                return Fault(min(wrong, key=lambda name: name.startswith("norm/")), *when)
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1
        return None

    def means(self) -> dict[str, float]:
        """The means of what was folded, to the digits that float32 has; the next interval begins."""
        means = {name: float(f"{total / self.counts[name]:.7g}") for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """What was folded of the interval under way, for a checkpoint."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the interval that `state_dict` left."""
        self.sums, self.counts, self._rows = dict(state["sums"]), dict(state["counts"]), []
