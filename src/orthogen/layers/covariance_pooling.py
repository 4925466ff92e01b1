"""Global covariance pooling: how the channels of a feature map vary together, as a vector."""

import torch
from torch import Tensor, nn

from orthogen.core.linalg import RootMethod, inv_sqrtm_psd, sqrtm_psd
from orthogen.core.shapes import Float

__all__ = ["CovariancePooling"]


class CovariancePooling(nn.Module):
    """In place of global average pooling: the root of the covariance of the channels over the pixels.

        S = sum_p (x_p - mean) (x_p - mean)^T / pixels,   y = upper triangle of S^(1/2), row by row, with the diagonal

    of C channels, C (C + 1) / 2 numbers per image, 32896 for 256. With ``reduce_to``, a 1x1 convolution, a batch norm
    and a ReLU first bring the channels down to that many.

    An image has fewer pixels than channels more often than not (49 of 256 in a ResNet-50), and S no full rank. Of exact
    roots the smaller product is then decomposed, with the same value and gradient,

        S^(1/2) = D (D^T D)^(-1/2) D^T,   D = (x - mean) / sqrt(pixels)

    and the covariance is in float64 unless told otherwise: the root of an eigenvalue that should be 0 is 3e-4 of the
    largest one in float32, and 1e-8 in float64.

    Args:
        channels: channels that come in.
        reduce_to: channels whose covariance is taken; None for those that come in.
        method: how the root is found, a name of `orthogen.core.linalg.sqrtm_psd`. As published: "newton_schulz" with 5
            iterations (MPN-COV), "pade" and "taylor", "svd_taylor" and others.
        iterations: of "newton_schulz".
        dtype: of covariance and root; what comes out has the type of the images.

    Raises:
        ValueError: images of other channels.

    Reference:
        Li, Xie, Wang, Zuo, "Is Second-Order Information Helpful for Large-Scale Visual Recognition?", ICCV 2017; Li,
        Xie, Wang, Gao, "Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square Root
        Normalization", CVPR 2018; Song, Sebe, Wang, "Why Approximate Matrix Square Root Outperforms Accurate SVD in
        Global Covariance Pooling?", ICCV 2021.

    Example:
        >>> x = torch.tensor([[3.0, -3.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # the second channel is constant
        >>> CovariancePooling(2)(x)
        tensor([[3., 0., 0.]])
        >>> CovariancePooling(512, reduce_to=64)(torch.randn(2, 512, 4, 4)).shape
        torch.Size([2, 2080])
    """

    def __init__(
        self,
        channels: int,
        reduce_to: int | None = None,
        method: RootMethod = "eigh",
        iterations: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.channels, self.method, self.iterations, self.dtype = channels, method, iterations, dtype
        pooled = channels if reduce_to is None else reduce_to
        self.out_features = pooled * (pooled + 1) // 2
        self.reduction = nn.Sequential() if reduce_to is None else _reduction(channels, pooled)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d"]:
        """The pooled vector."""
        if x.shape[1] != self.channels:
            raise ValueError(f"CovariancePooling: {x.shape[1]} channels were given; {self.channels} are accepted")
        features = self.reduction(x)
        with torch.autocast(x.device.type, enabled=False):
            root = self._root(features.flatten(2).to(self.dtype))
        rows, columns = torch.triu_indices(*root.shape[1:], device=root.device)
        return root[:, rows, columns].to(features.dtype)

    def _root(self, x: Tensor) -> Tensor:
        """The root of the covariance. x: (batch, channels, pixels)."""
        D = (x - x.mean(2, keepdim=True)) / x.shape[2] ** 0.5
        if self.method == "eigh" and x.shape[2] < x.shape[1]:
            return D @ inv_sqrtm_psd(D.mT @ D) @ D.mT
        return sqrtm_psd(D @ D.mT, method=self.method, iterations=self.iterations)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"{self.channels}, out_features={self.out_features}, method={self.method!r}"


def _reduction(channels: int, pooled: int) -> nn.Module:
    convolution = nn.Conv2d(channels, pooled, 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(pooled), nn.ReLU())
