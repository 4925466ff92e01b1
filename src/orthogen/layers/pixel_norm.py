"""Local normalization of feature vectors, pixel by pixel."""

from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["PixelNorm", "pixel_norm"]


def pixel_norm(x: Float[Tensor, "batch c ..."], eps: float = 1e-8) -> Float[Tensor, "batch c ..."]:
    """Every feature vector divided by its root mean square.

        y_c = x_c / sqrt(mean over c of x_c² + eps)

    Args:
        x: latents, or feature maps, whose vectors lie along the second dimension.
        eps: keeps a vector of zeros at zero.

    Reference:
        T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and
        Variation", ICLR 2018, section 4.2.

    Example:
        >>> import torch
        >>> pixel_norm(torch.tensor([[3.0, 4.0]])) * 12.5**0.5
        tensor([[3., 4.]])
    """
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


class PixelNorm(nn.Module):
    """`pixel_norm` as a layer, which can be probed; it has no parameters."""

    def forward(self, x: Float[Tensor, "batch c ..."]) -> Float[Tensor, "batch c ..."]:
        """``x`` with feature vectors of root mean square 1."""
        return pixel_norm(x)
