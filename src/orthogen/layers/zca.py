"""Decorrelated batch normalization: channels of unit variance that do not vary together."""

import torch
from torch import Tensor, nn

from orthogen.core.linalg import RootMethod, inv_sqrtm_psd, sqrtm_psd
from orthogen.core.shapes import Float
from orthogen.layers._whitening import affine, whiten

__all__ = ["DecorrelatedBatchNorm", "ZcaNorm2d"]


class ZcaNorm2d(nn.Module):
    """In place of ``nn.BatchNorm2d``: subtracts the mean and whitens, changing the channels as little as possible.

        y = gain P (x - mean) + bias,   P = (S + eps I)^(-1/2),   S = mean of (x - mean) (x - mean)^T

    with means over samples and pixels, S of all channels or of each group of them. The eigenvalues of the covariance of
    y, without gain and bias, are l / (l + eps) for those l of S. In evaluation mean and P are exponential averages over
    training; it is P that is averaged, not S. Everything is computed in float32 at least, under autocast too.

    The gradient has no difference of eigenvalues in it, so that equal ones are harmless. It can be differentiated again
    with ``method="newton_schulz"``, and in evaluation.

    Args:
        num_features: channels.
        eps: ridge of the covariance; 1e-2 in the released code (batch norm's 1e-5 would amplify noise 300 times).
        momentum: share of the newest batch in the averages; None for plain averages.
        affine: whether there are gain and bias, ``weight`` and ``bias``, at first 1 and 0 (a released gain starts
            uniform in [0, 1]).
        track_running_stats: whether averages are kept; without them evaluation uses the batch.
        groups: how many groups of consecutive channels are whitened, each on its own.
        method: how P is found, a name of `orthogen.core.linalg.inv_sqrtm_psd`. As released: "pade", and "taylor", whose
            root is then inverted.
        iterations: of "newton_schulz".

    Raises:
        ValueError: channels that the groups do not divide; images of other channels; one value per channel in training.

    Reference:
        Huang, Yang, Lang, Deng, "Decorrelated Batch Normalization", CVPR 2018. As released with "pade": Song, Sebe,
        Wang, "Fast Differentiable Matrix Square Root", ICLR 2022.

    Example:
        >>> norm = ZcaNorm2d(2, eps=0.0)
        >>> x = torch.randn(8, 1, 16, 16) + 0.1 * torch.randn(8, 2, 16, 16)  # two channels, nearly the same
        >>> norm(x).transpose(0, 1).flatten(1).cov(correction=0).round(decimals=3).abs()
        tensor([[1., 0.],
                [0., 1.]], grad_fn=<AbsBackward0>)
    """

    running_mean: Tensor | None
    running_whitening: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-2,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        groups: int = 1,
        method: RootMethod = "eigh",
        iterations: int | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or num_features % groups:
            raise ValueError(f"ZcaNorm2d: {num_features} channels do not make {groups} groups; give a divisor of them")
        self.num_features, self.groups = num_features, groups
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        self.method, self.iterations = method, iterations
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        c = num_features // groups
        kept = {
            "running_mean": torch.zeros(num_features),
            "running_whitening": torch.eye(c).repeat(groups, 1, 1),
            "num_batches_tracked": torch.tensor(0),
        }
        for name, value in kept.items():
            self.register_buffer(name, value if track_running_stats else None)

    def _root(self, S: Tensor) -> Tensor:
        """P of a covariance."""
        if self.method == "pade" or self.method == "taylor":
            return torch.linalg.inv_ex(sqrtm_psd(S, eps=self.eps, method=self.method)).inverse
        return inv_sqrtm_psd(S, eps=self.eps, method=self.method, iterations=self.iterations)

    @torch.no_grad()
    def _average(self, mean: Tensor, whitening: Tensor) -> None:
        """Take the statistics of a batch into the averages."""
        if self.running_mean is None or self.running_whitening is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        for average, newest in ((self.running_mean, mean.flatten()), (self.running_whitening, whitening)):
            average.lerp_(newest.to(average), share)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """``x``, whitened, scaled and shifted."""
        if x.shape[1] != self.num_features:
            raise ValueError(f"ZcaNorm2d: images of {x.shape[1]} channels were given; {self.num_features} are accepted")
        batch, _, height, width = x.shape
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            grouped = wide.reshape(batch, self.groups, self.num_features // self.groups, height * width)
            return self._normalized(grouped.contiguous()).view(x.shape).to(x.dtype)

    def _normalized(self, x: Tensor) -> Tensor:
        """The same for (batch, groups, channels of a group, pixels)."""
        one, zero = x.new_ones(self.num_features), x.new_zeros(self.num_features)
        weight, bias, mean = (
            (default if given is None else given.to(x)).view(self.groups, -1, 1)
            for given, default in ((self.weight, one), (self.bias, zero), (self.running_mean, zero))
        )
        if not self.training and self.running_whitening is not None:
            A = weight * self.running_whitening.to(x)
            return affine(A, x, bias - A @ mean)
        if len(x) * x.shape[3] < 2:
            raise ValueError(
                f"ZcaNorm2d: {len(x)} samples of {x.shape[3]} pixels have no covariance; give more of either, or set "
                "the norm to evaluation"
            )
        y, mean, whitening = whiten(x, weight, bias, self._root)
        if self.training:
            self._average(mean, whitening)
        return y

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        settings = {name: getattr(self, name) for name in ("eps", "momentum", "affine", "groups", "method")}
        return ", ".join([str(self.num_features), *(f"{name}={value!r}" for name, value in settings.items())])


DecorrelatedBatchNorm = ZcaNorm2d
