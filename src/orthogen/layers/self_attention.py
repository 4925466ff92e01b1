"""Self-attention over the pixels of a feature map."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.spectral_norm import SpectralConv2d

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    """Every pixel looks at all pixels of the same map, on keys and values pooled to a quarter of them.

        y = x + gamma o(beta g(x)),   beta = softmax over keys of theta(x)^T phi(x)

    theta, phi, g and o are 1x1 convolutions without biases, to C/8, C/8, C/2 and back to C channels (1 at least); phi
    and g are max-pooled by 2. gamma starts at 0, so the layer starts as the identity. The softmax is written out:
    torch's fused attention has no forward-mode derivative.

    Args:
        channels: C.
        spectral: whether the convolutions have spectral norm.

    Reference:
        H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-Attention Generative Adversarial Networks", ICML 2019,
        section 3; with the pooling of BigGAN (Brock et al., ICLR 2019).

    Example:
        >>> layer = SelfAttention(8)
        >>> x = torch.randn(2, 8, 4, 4)
        >>> bool((layer(x) == x).all()), [name for name, _ in layer.named_parameters()]
        (True, ['gamma', 'theta.weight', 'phi.weight', 'g.weight', 'o.weight'])
    """

    def __init__(self, channels: int, spectral: bool = True) -> None:
        super().__init__()
        conv = SpectralConv2d if spectral else nn.Conv2d
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.theta = conv(channels, narrow, 1, bias=False)
        self.phi = conv(channels, narrow, 1, bias=False)
        self.g = conv(channels, half, 1, bias=False)
        self.o = conv(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """``x`` and what its pixels saw."""
        queries = self.theta(x).flatten(2)  # (batch, c/8, pixels)
        keys = F.max_pool2d(self.phi(x), 2).flatten(2)
        values = F.max_pool2d(self.g(x), 2).flatten(2)
        beta = (queries.mT @ keys).softmax(dim=2)  # (batch, pixels, keys)
        seen = (values @ beta.mT).unflatten(2, x.shape[2:])
        return x + self.gamma * self.o(seen)
