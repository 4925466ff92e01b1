"""Batch normalization, plain and per class, that says by name where its statistics come from in evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.recorded import Recorded

__all__ = ["BatchNorm2d", "ConditionalBatchNorm2d", "Statistics", "standing_statistics"]

Statistics = Literal["running", "standing", "batch"]


class _Normalizing(nn.Module):
    """Normalization to mean 0 and variance 1 per channel, then a gain and bias per sample.

    In training statistics are always those of the batch. Written with means and rsqrt: derivatives of all orders, in
    forward mode too, are right, which those of torch's batch norm in training mode are not (torch 2.15).
    """

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, eps: float, momentum: float, statistics: Statistics | Recorded) -> None:
        super().__init__()
        self.eps, self.momentum, self.statistics = eps, momentum, statistics
        # not measured yet: forgetting to must show
        mean, var = (torch.nan, torch.nan) if statistics == "standing" else (0.0, 1.0)
        shape = (statistics.steps, channels) if isinstance(statistics, Recorded) else (channels,)
        self.register_buffer("stored_mean", torch.full(shape, mean))
        self.register_buffer("stored_var", torch.full(shape, var))
        self._averaged: int | None = None  # passes averaged so far, inside `standing_statistics`

    def _store(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        if self._averaged is not None:
            self._averaged += 1
            share = 1.0 / self._averaged
        elif self.training and self.statistics == "running":
            share = self.momentum
        else:
            return
        unbiased = var * (pixels / max(1, pixels - 1))
        if share == 1.0:  # whatever was there, NaN too
            self.stored_mean.copy_(mean)
            self.stored_var.copy_(unbiased)
        else:
            self.stored_mean.lerp_(mean.to(self.stored_mean), share)
            self.stored_var.lerp_(unbiased.to(self.stored_var), share)

    def _normalized(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """``gain`` and ``bias``: (batch or 1, channels)."""
        if self.training or self.statistics == "batch" or self._averaged is not None:
            mean = x.mean(dim=(0, 2, 3))
            var = (x - mean[:, None, None]).square().mean(dim=(0, 2, 3))
            with torch.no_grad():
                self._store(mean, var, x.numel() // x.shape[1])
        elif isinstance(self.statistics, Recorded):
            mean, var = self.statistics.at(self.stored_mean), self.statistics.at(self.stored_var)
        else:
            mean, var = self.stored_mean, self.stored_var
        scale = gain * (var + self.eps).rsqrt()
        return torch.addcmul((bias - mean * scale)[:, :, None, None], x, scale[:, :, None, None])

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"{self.stored_mean.shape[-1]}, eps={self.eps}, statistics={self.statistics!r}"


class BatchNorm2d(_Normalizing):
    """Batch norm with one gain and bias per channel.

        y = gain (x - mean) / sqrt(var + eps) + bias

    Args:
        channels: number of channels.
        eps: added to the variance.
        momentum: share of the newest batch in the running statistics.
        statistics: what is used in evaluation, see `ConditionalBatchNorm2d`.

    Example:
        >>> norm = BatchNorm2d(1)
        >>> norm(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)).flatten().tolist()
        [-0.99999..., 0.99999...]
        >>> norm.stored_mean, norm.stored_var
        (tensor([0.2000]), tensor([1.1000]))
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        statistics: Statistics | Recorded = "running",
    ) -> None:
        super().__init__(channels, eps, momentum, statistics)
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """``x``, normalized, scaled and shifted."""
        return self._normalized(x, self.gain[None], self.bias[None])


class ConditionalBatchNorm2d(_Normalizing):
    """Batch norm whose gain and bias are functions of a condition.

        y = (1 + gain(c)) (x - mean) / sqrt(var + eps) + bias(c)

    With embeddings for ``gain`` and ``bias``, c is the class label and each class has a row of its own (SNGAN). With
    linear layers, c is a shared embedding of the class beside a chunk of the latent (BigGAN).

    ``statistics`` says what mean and variance are in evaluation:

    ==========  ==========================================================================================
    running     exponential averages over training; an image does not depend on who else is in the batch
    standing    plain averages over passes made for that purpose, see `standing_statistics`; NaN before
    batch       those of the batch at hand, as in training; images depend on their batch
    `Recorded`  those recorded at the truncation of the latents, as in the released BigGAN-deep
    ==========  ==========================================================================================

    Args:
        gain: what gives (batch, channels) offsets from a gain of 1.
        bias: what gives (batch, channels) biases.
        channels: number of channels.
        eps: added to the variance.
        momentum: share of the newest batch in the running statistics.
        statistics: what is used in evaluation, as above.

    Reference:
        H. de Vries et al., "Modulating early visual processing by language", NeurIPS 2017; standing statistics:
        A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        ICLR 2019, section 3.

    Example:
        >>> norm = ConditionalBatchNorm2d(nn.Embedding(10, 4), nn.Embedding(10, 4), 4).eval()
        >>> norm(torch.randn(2, 4, 8, 8), torch.tensor([3, 7])).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self,
        gain: nn.Module,
        bias: nn.Module,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        statistics: Statistics | Recorded = "running",
    ) -> None:
        super().__init__(channels, eps, momentum, statistics)
        self.gain, self.bias = gain, bias

    def forward(self, x: Float[Tensor, "batch c h w"], condition: Tensor) -> Float[Tensor, "batch c h w"]:
        """``x``, normalized, scaled and shifted as ``condition``, one row per sample, says."""
        return self._normalized(x, 1 + self.gain(condition), self.bias(condition))


@contextmanager
def standing_statistics(module: nn.Module) -> Iterator[None]:
    """Passes inside the block measure the statistics that evaluation uses after it: the plain average over them.

    Works in any mode; every pass uses the statistics of its own batch. All batch norms of this file in ``module`` are
    ``standing`` from then on; in those with `Recorded` ones, what was measured stands at every truncation.

    Args:
        module: the network.

    Raises:
        ValueError: it has no batch norm of this file; or no pass was made.

    Example:
        >>> norm = BatchNorm2d(1, statistics="standing").eval()
        >>> with standing_statistics(norm):
        ...     for value in (1.0, 2.0, 6.0):
        ...         _ = norm(torch.full((2, 1, 1, 1), value))
        >>> norm.stored_mean.item(), norm.stored_var.item()
        (3.0, 0.0)
    """
    norms = [part for part in module.modules() if isinstance(part, _Normalizing)]
    if not norms:
        raise ValueError(f"standing_statistics: {type(module).__name__} has no batch norm of orthogen to measure for")
    for norm in norms:
        norm._averaged = 0
        if not isinstance(norm.statistics, Recorded):
            norm.statistics = "standing"
    try:
        yield
        if not any(norm._averaged for norm in norms):
            raise ValueError("standing_statistics: no pass was made inside the block; draw some batches in it")
    finally:
        for norm in norms:
            norm._averaged = None
