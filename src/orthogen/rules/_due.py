"""Which steps an observer acts on."""

import torch

__all__ = ["Due", "steps_so_far"]


def steps_so_far(optimizer: torch.optim.Optimizer) -> int:
    """How many steps an optimizer has taken: as it counts them, where it does (the Adam family), else as `train` does.

    Elsewhere, as with a plain SGD in a loop of one's own, it is not known: 0.

    Example:
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> sgd.param_groups[0]["steps"] = 7  # what `train` notes
        >>> steps_so_far(sgd)
        7
    """
    counts = [state["step"] for state in optimizer.state.values() if "step" in state]
    return int(counts[0]) if counts else int(optimizer.param_groups[0].get("steps", 0))


class Due:
    """Every so many steps of an optimizer, the first one included.

    Steps are counted on from `steps_so_far`, so that a resumed run goes on with the same ones.

    Example:
        >>> due, optimizer = Due(2), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> [due(optimizer) for _ in range(5)]
        [True, False, True, False, True]
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._step: int | None = None  # not known before the optimizer is

    def __call__(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether the step that comes is one of them; to be asked once per step."""
        if self._step is None:
            self._step = steps_so_far(optimizer)
        self._step += 1
        return (self._step - 1) % self.every == 0
