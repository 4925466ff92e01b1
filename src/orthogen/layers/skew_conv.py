"""Convolutions that are orthogonal maps: the exponential of a skew-symmetric one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers._kept import Kept
from orthogen.layers.skew_symmetric import SkewSymmetric

__all__ = ["SkewOrthogonalConv2d"]


class SkewOrthogonalConv2d(nn.Module):
    """A convolution whose map keeps lengths, or distances at least: as many outputs as inputs, or more.

        y = sum_{t=0..T} K^t x / t!  ~  exp(K) x,   K^t: K convolved t times, zeros around its input each time

    K is the kernel that `SkewSymmetric` makes of the weight, on n = max(outputs, inputs stride²) channels; x is given
    zero channels up to n, and the first ``out_channels`` of y are kept. Stride 2 first moves 2 x 2 pixels into
    channels, in the order of ``torch.pixel_unshuffle``. Of 3 to 64 channels on 8 x 8 pixels, singular values lie in
    [1, 1.0021] with T = 5 and within 1e-6 of 1 with T = 10. A 3 x 3 kernel sees T pixels far.

    The series is summed from inside, x + K (x + K (x + ...) / 3) / 2: the innermost convolution then needs the given
    channels only, the outermost makes none that are dropped, and nothing of full size is kept but their inputs.

    In evaluation without gradients K / t is kept until a weight or buffer has another value. A 1 x 1 kernel is kept as
    the one kernel of the whole series. Larger ones cannot be: K^t x meets the zeros of every one of t borders, and a
    composed kernel of 2 T (k // 2) + 1 pixels a side those around x only. That is another map, and not orthogonal, in
    the T - 1 pixels next to a border. With T = 10 it would take five times the arithmetic between 64 channels, and a
    quarter from 3 to 64.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        kernel_size: side of K, odd.
        stride: 1 or 2.
        bias: whether the channels have one; uniform within ±1 / sqrt(outputs) at first.
        terms: T in training.
        eval_terms: T in evaluation.

    Raises:
        ValueError: an even kernel, another stride, no term; images of other channels, or of odd sides for stride 2.

    Reference:
        Singla and Feizi, "Skew Orthogonal Convolutions", ICML 2021. Before a differentiable eigendecomposition (OW):
        Song, Sebe, Wang, "Improving Covariance Conditioning of the SVD Meta-layer by Orthogonality", ECCV 2022.

    Example:
        >>> layer = SkewOrthogonalConv2d(3, 8, bias=False).eval()
        >>> x = torch.randn(1, 3, 16, 16)
        >>> y = layer(x)
        >>> y.shape, round((y.norm() / x.norm()).item(), 4)
        (torch.Size([1, 8, 16, 16]), 1.0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        bias: bool = True,
        terms: int = 5,
        eval_terms: int = 10,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0 or stride not in (1, 2) or min(terms, eval_terms) < 1:
            raise ValueError(
                f"SkewOrthogonalConv2d: kernel_size={kernel_size}, stride={stride}, terms={terms}, eval_terms="
                f"{eval_terms} were given; an odd kernel, stride 1 or 2, and one term or more are accepted"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride
        self.terms, self.eval_terms = terms, eval_terms
        n = max(out_channels, in_channels * stride**2)
        self.weight = nn.Parameter(torch.randn(n, n, kernel_size, kernel_size) / n**0.5)
        self.skew = SkewSymmetric(self.weight)
        self.bias = nn.Parameter((2 * torch.rand(out_channels) - 1) / out_channels**0.5) if bias else None
        self._kept = Kept[list[Tensor]]()

    def _kernels(self) -> list[Tensor]:
        """K / t for t = T, ..., 1, without channels that are not needed; of a 1 x 1 kernel, that of the series."""
        terms = self.terms if self.training else self.eval_terms
        inputs = self.in_channels * self.stride**2
        K = self.skew(self.weight)
        if self.kernel_size == 1:
            with torch.autocast(K.device.type, enabled=False):
                series = identity = torch.eye(len(K), inputs, dtype=K.dtype, device=K.device)
                for t in range(terms, 0, -1):
                    series = identity + K.flatten(1) @ series / t
            return [series[: self.out_channels, :, None, None]]
        # channels last, which is faster on the CPU; what comes out is in that format too
        K = K.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        kernels = [K / t for t in range(terms, 0, -1)]
        kernels[0] = kernels[0][:, :inputs]
        kernels[-1] = kernels[-1][: self.out_channels]
        return kernels

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch o h2 w2"]:
        """The image of ``x``, of the same side or half of it."""
        if x.shape[1] != self.in_channels or x.shape[2] % self.stride or x.shape[3] % self.stride:
            raise ValueError(
                f"SkewOrthogonalConv2d: images of {tuple(x.shape[1:])} were given; {self.in_channels} channels, and "
                f"sides that {self.stride} divides, are accepted"
            )
        differentiated = torch.is_grad_enabled() and self.weight.requires_grad
        # what torch.func puts in place of a weight is none: it may be a batch of them, or have a tangent
        if self.training or differentiated or not isinstance(self.weight, nn.Parameter):
            kernels = self._kernels()
        else:
            sources = [self.weight, *self.skew.buffers()]
            kernels = self._kept.get(self._kernels, sources, setting=self.eval_terms)
        x = F.pixel_unshuffle(x, self.stride)
        y = F.conv2d(x, kernels[0]) if self.kernel_size == 1 else self._series(x, kernels)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _series(self, x: Tensor, kernels: list[Tensor]) -> Tensor:
        """The sum, from inside."""
        zeros = max(0, self.out_channels - x.shape[1])
        padded, y = F.pad(x, (0, 0, 0, 0, 0, zeros)), x
        for kernel in kernels:
            y = F.conv2d(y, kernel, padding=self.kernel_size // 2)
            y += padded[:, : y.shape[1]]
        return y.contiguous() if x.is_contiguous() else y

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"terms={self.terms}, eval_terms={self.eval_terms}"
        )
