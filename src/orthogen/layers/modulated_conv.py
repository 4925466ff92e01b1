"""The convolution of StyleGAN2: a style scales the weights, which are then normalized."""

import torch.nn.functional as F
from torch import Tensor

from orthogen.core.shapes import Float
from orthogen.layers.fir import filtered_up_conv2d

__all__ = ["modulated_conv2d"]


def modulated_conv2d(
    x: Float[Tensor, "batch inputs h w"],
    weight: Float[Tensor, "outputs inputs k k"],
    style: Float[Tensor, "batch inputs"],
    *,
    demodulate: bool = True,
    up: Float[Tensor, "taps taps"] | None = None,
    pad: int | None = None,
) -> Float[Tensor, "batch outputs _ _"]:
    """Convolve every sample with weights of its own (Karras et al., CVPR 2020, equations 1 to 3).

        w'_oij = s_i w_oij,      w''_oij = w'_oij / sqrt(sum_ij w'_oij² + 1e-8)

    The scales act on inputs and outputs here, not on the weights: by linearity the same result, from one convolution
    for the whole batch.

    Args:
        x: activations.
        weight: shared by all samples; k is 1 or 3.
        style: s, one scale per sample and input channel.
        demodulate: whether the weights are normalized (equation 3).
        up: the filter with which the resolution is doubled, by a transposed convolution of stride 2; None to leave it.
        pad: zeros around ``x``, where it is not upsampled; None for as many as keep its size.

    Example:
        >>> import torch
        >>> x, weight = torch.ones(1, 2, 1, 1), torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
        >>> modulated_conv2d(x, weight, torch.ones(1, 2)).flatten()  # (3 + 4) / 5
        tensor([1.4000])
    """
    y = x * style[:, :, None, None]
    if up is None:
        y = F.conv2d(y, weight, padding=weight.shape[-1] // 2 if pad is None else pad)
    else:
        y = filtered_up_conv2d(y, weight, up)
    if demodulate:
        norms = (style.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        y = y * norms[:, :, None, None]
    return y
