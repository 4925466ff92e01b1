"""An exponential moving average of a network's weights."""

from copy import deepcopy

import torch
from torch import nn

__all__ = ["Average"]


class Average:
    """A copy of a network that follows it: w_avg <- w + (w_avg - w) 2^(-n / h) after n more images, for half-life h.

    Buffers are copied. For ``half_life`` 0 there is no copy, and ``module`` is the network itself.

    Args:
        network: the network to follow, before its first forward pass.
        half_life: images after which a weight's share has halved.
        start: images up to which the copy equals the network.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> average = Average(network, half_life=100)
        >>> _ = nn.init.ones_(network.weight)
        >>> average.update(images=200)
        >>> average.module.weight.item()
        0.75
    """

    def __init__(self, network: nn.Module, half_life: int, start: int = 0) -> None:
        self.network, self.half_life, self.start = network, half_life, start
        self.module = deepcopy(network).requires_grad_(False) if half_life else network

    @torch.no_grad()
    def update(self, images: int, so_far: int | None = None) -> None:
        """Follow the network, which has been trained on so many more images, and on ``so_far`` in all."""
        if self.module is self.network:
            return
        early = so_far is not None and so_far <= self.start
        share = 1.0 if early else 1.0 - 0.5 ** (images / self.half_life)
        torch._foreach_lerp_(list(self.module.parameters()), list(self.network.parameters()), share)
        for mine, its in zip(self.module.buffers(), self.network.buffers(), strict=True):
            mine.copy_(its)
