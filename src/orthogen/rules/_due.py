"""Which steps an observer acts on."""

import torch

__all__ = ["Due"]


class Due:
    """Every so many steps of an optimizer, the first one included.

    Steps are counted as the optimizer counts them, where it does (the Adam family), so that a resumed run goes on with
    the same ones.

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
            counts = [state["step"] for state in optimizer.state.values() if "step" in state]
            self._step = int(counts[0]) if counts else 0
        self._step += 1
        return (self._step - 1) % self.every == 0
