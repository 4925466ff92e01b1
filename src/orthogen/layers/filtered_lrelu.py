"""The nonlinearity of StyleGAN3, applied at a higher sampling rate so that the frequencies it makes can be removed."""

import torch.nn.functional as F
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["filtered_leaky_relu"]


def _upsample(x: Tensor, taps: Tensor, factor: int, crop: int) -> Tensor:
    """Zeros between the pixels, then the filter along both axes, times ``factor``² for the zeros."""
    kernel = (factor * taps).to(x.dtype).expand(x.shape[1], 1, 1, -1)
    x = F.conv_transpose2d(x, kernel, stride=(1, factor), padding=(0, crop), groups=x.shape[1])
    return F.conv_transpose2d(x, kernel.mT, stride=(factor, 1), padding=(crop, 0), groups=x.shape[1])


def _downsample(x: Tensor, taps: Tensor, factor: int) -> Tensor:
    """The filter, along both axes if it is one for an axis, then every ``factor``-th pixel."""
    kernel = taps.flip(list(range(taps.ndim))).to(x.dtype)  # torch correlates
    if kernel.ndim == 2:
        return F.conv2d(x, kernel.expand(x.shape[1], 1, -1, -1), stride=factor, groups=x.shape[1])
    kernel = kernel.expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(x, kernel, stride=(1, factor), groups=x.shape[1])
    return F.conv2d(x, kernel.mT, stride=(factor, 1), groups=x.shape[1])


def filtered_leaky_relu(
    x: Float[Tensor, "batch c side side"],
    up_filter: Float[Tensor, "k"],
    down_filter: Float[Tensor, "*k"],
    *,
    up: int,
    down: int,
    size: int,
    gain: float = 1.0,
    slope: float = 0.2,
    clamp: float | None = None,
) -> Float[Tensor, "batch c size size"]:
    """Upsample, apply gain LeakyReLU, downsample (Karras et al., NeurIPS 2021, section 2).

        f(x) = D(gain LeakyReLU(U(x)))

    A pointwise nonlinearity makes frequencies without bound. Applied to samples, it would fold them onto the low ones
    (aliasing), and the result would depend on where the pixels lie.

    Args:
        x: activations.
        up_filter: low-pass filter of U for one axis, with sum 1.
        down_filter: of D, for one axis or (radial filters) for both at once.
        up: by which factor U raises the sampling rate.
        down: by which factor D lowers it.
        size: side of the result; the center stays in the center. What lies outside of ``x`` is zero; the result ends
            before U's filter does, ``(size - 1) down + len(down_filter) <= (side - 1) up + len(up_filter)``.
        gain: of the nonlinearity.
        slope: of the LeakyReLU below zero.
        clamp: bound on what it returns, if any.

    Example:
        >>> import torch
        >>> flat = torch.tensor([0.5, 0.5])
        >>> filtered_leaky_relu(-torch.ones(1, 1, 2, 2), flat, flat, up=2, down=2, size=2)
        tensor([[[[-0.2000, -0.2000],
                  [-0.2000, -0.2000]]]])
    """
    crop = ((x.shape[-1] - 1) * up + len(up_filter) - (size - 1) * down - len(down_filter)) // 2
    x = gain * F.leaky_relu(_upsample(x, up_filter, up, crop), slope)
    return _downsample(x if clamp is None else x.clamp(-clamp, clamp), down_filter, down)
