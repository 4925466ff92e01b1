"""Low-pass filters by Kaiser's method: an ideal filter's response, cut off by his window."""

import math

import torch
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["kaiser_lowpass"]


def _beta(taps: int, width: float) -> float:
    """The window's shape for a transition band of ``width`` times half the sampling rate (Kaiser, ISCAS 1974)."""
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95  # in the stop band, in dB
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def kaiser_lowpass(
    taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False
) -> Float[Tensor, "*axes"]:
    """A filter ``(taps,)``, radial ``(taps, taps)``, that passes the frequencies below ``cutoff``; float32, sum 1.

        h(x) = sinc(2 f_c x) w_K(x),      or, alike in all directions,      h(x) = jinc(2 f_c |x|) w_K(x_0) w_K(x_1)

    with sinc(x) = sin(πx) / πx, jinc(x) = 2 J_1(πx) / πx and the window w_K. It is worked out in float64.

    Args:
        taps: how many samples it has along an axis.
        cutoff: f_c, where the response is one half.
        width: of the band over which the response falls, around ``cutoff``.
        rate: samples per unit; frequencies are in cycles per unit.
        radial: the jinc filter, for both axes at once, instead of the sinc filter for one.

    Reference:
        T. Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021, section 3 and appendix C.

    Example:
        >>> kaiser_lowpass(4, cutoff=1.0, width=1.0, rate=4.0)
        tensor([0.1250, 0.3750, 0.3750, 0.1250])
        >>> kaiser_lowpass(2, cutoff=1.0, width=1.0, rate=4.0, radial=True)
        tensor([[0.2500, 0.2500],
                [0.2500, 0.2500]])
    """
    x = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    window = torch.kaiser_window(taps, periodic=False, beta=_beta(taps, 2 * width / rate), dtype=torch.float64)
    if radial:
        r = (math.pi * 2 * cutoff * torch.hypot(x[:, None], x)).clamp(min=1e-9)  # jinc(0) = 1
        h = 2 * torch.special.bessel_j1(r) / r * torch.outer(window, window)
    else:
        h = torch.sinc(2 * cutoff * x) * window
    return (h / h.sum()).float()
