"""Filters and nonlinearity of StyleGAN3 against scipy's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, special
from torch import Tensor

from orthogen.layers.filtered_lrelu import filtered_leaky_relu
from orthogen.layers.kaiser import kaiser_lowpass


@given(taps=st.integers(2, 60), cutoff=st.floats(0.5, 7.5), width=st.floats(0.01, 8.0))
def test_filters_are_scipys_kaiser_design(taps: int, cutoff: float, width: float) -> None:
    wanted = signal.firwin(taps, cutoff, width=width, fs=16.0)
    np.testing.assert_allclose(kaiser_lowpass(taps, cutoff, width, 16.0), wanted, atol=2e-7, rtol=0)


@pytest.mark.parametrize("taps", [12, 13])
def test_radial_filters_are_windowed_jincs(taps: int) -> None:
    x = (np.arange(taps) - (taps - 1) / 2) / 32.0
    radius = np.maximum(np.hypot(x[:, None], x), 1e-12)
    window = signal.windows.kaiser(taps, signal.kaiser_beta(signal.kaiser_atten(taps, 8.0 / 16.0)))
    wanted = special.j1(2 * np.pi * 4.0 * radius) / radius * np.outer(window, window)
    found = kaiser_lowpass(taps, 4.0, 8.0, 32.0, radial=True)
    np.testing.assert_allclose(found, wanted / wanted.sum(), atol=2e-7, rtol=0)


def response(taps: Tensor, across: float, down: float) -> float:
    """How much of a wave of these frequencies a filter at 32 samples per unit lets pass."""
    x = (torch.arange(taps.shape[-1]).double() - (taps.shape[-1] - 1) / 2) / 32.0
    kernel = taps.double() if taps.ndim == 2 else torch.outer(taps.double(), taps.double())
    waves = torch.outer((2 * torch.pi * down * x).cos(), (2 * torch.pi * across * x).cos())
    return (kernel * waves).sum().item()


def test_filters_pass_what_is_below_the_cutoff_alone() -> None:
    taps = kaiser_lowpass(48, 4.0, 2.0, 32.0)
    assert response(taps, 0.0, 0.0) == pytest.approx(1.0)
    assert response(taps, 3.0, 0.0) == pytest.approx(1.0, abs=0.01)
    assert response(taps, 4.0, 0.0) == pytest.approx(0.5, abs=0.01)
    assert max(abs(response(taps, f, 0.0)) for f in np.arange(5.0, 16.0, 0.1)) < 0.01


def test_radial_filters_respond_alike_in_all_directions() -> None:
    def differs(radial: bool) -> float:
        taps = kaiser_lowpass(12, 4.0, 8.0, 32.0, radial=radial)
        return max(abs(response(taps, f, 0.0) - response(taps, f / 2**0.5, f / 2**0.5)) for f in (2.0, 4.0, 6.0, 8.0))

    assert differs(radial=True) < 0.01 < 0.05 < differs(radial=False)


def by_scipy(x: np.ndarray, up: np.ndarray, down: np.ndarray, factors: tuple[int, int], size: int) -> np.ndarray:
    """The same, for a channel: zeros inserted and around, filters by `scipy.signal.upfirdn`."""
    raised = x
    for axis in (0, 1):
        raised = factors[0] * signal.upfirdn(up, raised, up=factors[0], axis=axis)
    start = (raised.shape[0] - (size - 1) * factors[1] - len(down)) // 2
    raised = np.where(raised > 0, raised, 0.2 * raised).clip(-0.8, 0.8)
    if down.ndim == 2:
        lowered = signal.convolve2d(raised, down, mode="valid")
    else:
        lowered = signal.convolve2d(raised, np.outer(down, down), mode="valid")
    return lowered[start :: factors[1], start :: factors[1]][:size, :size]


@pytest.mark.parametrize(("up", "down", "size"), [(2, 2, 9), (4, 2, 14), (2, 2, 5), (4, 4, 7)])
@pytest.mark.parametrize("radial", [False, True])
def test_the_nonlinearity_is_scipys_resampling_around_it(up: int, down: int, size: int, radial: bool) -> None:
    draw = np.random.default_rng(0)
    x, taps = draw.standard_normal((2, 3, 9, 9)), draw.standard_normal(6 * up)
    lower = draw.standard_normal((6 * down, 6 * down) if radial else 6 * down)
    found = filtered_leaky_relu(*map(torch.from_numpy, (x, taps, lower)), up=up, down=down, size=size, clamp=0.8)
    wanted = [[by_scipy(channel, taps, lower, (up, down), size) for channel in sample] for sample in x]
    np.testing.assert_allclose(found, wanted)


def test_the_nonlinearity_leaves_low_frequencies_as_the_continuous_one_does() -> None:
    x = torch.arange(64).double() / 32
    wave = (2 * torch.pi * 3 * x).sin()
    taps = kaiser_lowpass(16 * 20, 8.5, 5.0, 32.0 * 16)
    found = filtered_leaky_relu(wave.expand(1, 1, 64, 64), taps, taps, up=16, down=16, size=64)[0, 0, 32]
    # 0.6 sin + 0.4 |sin| has a Fourier series; these are its terms below the cutoff, the next one is at 12
    wanted = 0.6 * wave + 0.8 / torch.pi * (1 - 2 / 3 * (2 * torch.pi * 6 * x).cos())
    inner = slice(24, 40)
    error, naive = ((y - wanted)[inner].abs().max() for y in (found, F.leaky_relu(wave, 0.2)))
    assert error < 0.005 < 0.05 < naive


def test_gradients_are_right(rng: torch.Generator) -> None:
    x = torch.randn(1, 2, 5, 5, generator=rng, dtype=torch.float64).requires_grad_()
    up, down = (kaiser_lowpass(12, 2.0, 4.0, 16.0).double() for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: filtered_leaky_relu(x, up, down, up=2, down=2, size=5), x)
