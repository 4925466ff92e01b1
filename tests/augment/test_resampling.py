import math

import numpy as np
import pytest
import torch

from orthogen.augment._resampling import BEFORE, DELAY, SYM6, _between, _folded, resampled


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def affine(n, rng, spread=0.3):
    """Near the identity, and shifts of some pixels."""
    noise = torch.randn(n, 2, 2, generator=rng, dtype=torch.float64)
    return torch.eye(2, dtype=torch.float64) + spread * noise, 2 * torch.randn(n, 2, generator=rng, dtype=torch.float64)


def places(height, width):
    """Of all pixels, from the center: (x, y) with shapes that broadcast to an image."""
    x, y = torch.arange(width, dtype=torch.float64), torch.arange(height, dtype=torch.float64)
    return x[None, :] - (width - 1) / 2, y[:, None] - (height - 1) / 2


def sources(matrix, shift, height, width):
    x, y = places(height, width)
    x, y = x - shift[:, 0, None, None], y - shift[:, 1, None, None]
    return tuple(matrix[:, i, 0, None, None] * x + matrix[:, i, 1, None, None] * y for i in range(2))


def test_the_filter_is_the_wavelet_with_six_vanishing_moments():
    h = np.array(SYM6)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-12)
    for shift in range(6):  # orthonormal to its shifts by two
        assert (h[: 12 - 2 * shift] * h[2 * shift :]).sum() == pytest.approx(float(shift == 0), abs=1e-11)
    k = np.arange(12.0)
    moments = [(h * (-1) ** k * (k - 5.5) ** power).sum() for power in range(7)]
    assert np.abs(moments[:6]).max() < 1e-9
    assert abs(moments[6]) > 1
    # the least asymmetric of those: a filter of even symmetry would lie 0.5 behind its first middle tap
    assert abs(DELAY) < 0.5


@pytest.mark.parametrize("side", [5, 8, 33])
def test_doubling_and_halving_are_convolutions(side, rng):
    line = _between(side, torch.float64, torch.device("cpu"))
    x = torch.rand(side, generator=rng, dtype=torch.float64).numpy()
    padded = np.pad(x, 12, mode="reflect") if side > 12 else x[_folded(torch.arange(-12, side + 12), side).numpy()]
    spaced = np.zeros(2 * len(padded))
    spaced[::2] = padded
    full = np.convolve(spaced, math.sqrt(2) * np.array(SYM6))[BEFORE:]  # entry 24 is the first pixel's own
    assert line.doubling.numpy() @ x == pytest.approx(full[23 : 23 + 2 * side + 1])
    y = torch.rand(2 * side + 10, generator=rng, dtype=torch.float64).numpy()
    assert line.halving.numpy() @ y == pytest.approx(np.correlate(y, np.array(SYM6) / math.sqrt(2))[: 2 * side : 2])
    back = line.halving.numpy() @ full[24 - BEFORE : 24 - BEFORE + 2 * side + 10]
    assert back == pytest.approx(x)


def test_constants_stay_and_ramps_move_exactly(rng):
    matrix, shift = affine(20, rng, spread=0.2)
    flat = torch.full((20, 2, 13, 17), 0.7, dtype=torch.float64)
    torch.testing.assert_close(resampled(flat, matrix, shift), flat)
    x, y = places(48, 64)
    ramp = (2 * x - y).expand(20, 1, -1, -1)
    u, v = sources(matrix, shift, 48, 64)
    # where neither the pixel nor what the filters reach around it meets a reflection
    inside = (u.abs() < 20) & (v.abs() < 12)
    inside[:, :8], inside[:, -8:], inside[:, :, :8], inside[:, :, -8:] = False, False, False, False
    assert inside.sum() > 2000
    torch.testing.assert_close(resampled(ramp, matrix, shift)[:, 0][inside], (2 * u - v)[inside], rtol=0, atol=1e-9)


def test_waves_move_as_they_should(rng):
    """Of a wavelength of ten pixels and more, to a hundredth of their height."""
    matrix, shift = affine(20, rng, spread=0.1)
    x, y = places(48, 48)
    wave = torch.cos(0.4 * x + 0.3 * y).expand(20, 1, -1, -1)
    u, v = sources(matrix, shift, 48, 48)
    inside = (u.abs() < 16) & (v.abs() < 16)
    inside[:, :8], inside[:, -8:], inside[:, :, :8], inside[:, :, -8:] = False, False, False, False
    found, expected = resampled(wave, matrix, shift)[:, 0][inside], torch.cos(0.4 * u + 0.3 * v)[inside]
    assert (found - expected).abs().max() < 0.02
    assert (found - expected).square().mean().sqrt() < 0.01


def test_the_identity_gives_the_image_back_but_at_its_edges(rng):
    x = torch.rand(2, 3, 24, 24, generator=rng, dtype=torch.float64)
    same = resampled(x, torch.eye(2, dtype=torch.float64).expand(2, 2, 2), torch.zeros(2, 2, dtype=torch.float64))
    torch.testing.assert_close(same[:, :, 3:-3, 3:-3], x[:, :, 3:-3, 3:-3], rtol=0, atol=1e-11)


def test_minifying_does_not_alias():
    """A checkerboard, the finest there is, seen at half its size is gray, where single pixels are black or white."""
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    half = resampled(board.expand(1, 1, 32, 32), 2 * torch.eye(2)[None], torch.zeros(1, 2))
    assert half.abs().max() < 0.1


def test_outside_is_the_reflection(rng):
    """Seen from twice as far, the middle of the picture is the image and the rest are its reflections."""
    x = torch.rand(1, 1, 4, 4, generator=rng).repeat_interleave(8, 2).repeat_interleave(8, 3)
    x = torch.nn.functional.avg_pool2d(x, 7, 1, 3, count_include_pad=False)  # smooth
    far = resampled(x, 2 * torch.eye(2)[None], torch.tensor([[8.0, 0.0]]))[0, 0]
    gap = far[:, :16].flip(1) - far[:, 16:]
    assert gap.abs().max() < 0.2
    assert gap.square().mean() < 0.05 * far.var()
    place = torch.tensor([-5, -1, 0, 3, 4, 5, 6, 7, 12])
    assert _folded(place, 4).tolist() == [1, 1, 0, 3, 2, 1, 0, 1, 0]
    assert _folded(place, 1).tolist() == [0] * 9


@pytest.mark.parametrize("side", [1, 2, 5])
def test_tiny_images_have_a_reflection_too(side):
    x = torch.rand(3, 1, side, side, generator=seeded())
    matrix, shift = (each.float() for each in affine(3, seeded(1), spread=2.0))
    y = resampled(x, matrix, shift)
    assert y.shape == x.shape
    assert y.isfinite().all()


def test_gradients_of_three_orders():
    x = torch.rand(2, 1, 5, 4, generator=seeded(), dtype=torch.float64).requires_grad_()
    matrix, shift = affine(2, seeded(1))

    def call(x):
        return resampled(x, matrix, shift)

    assert torch.autograd.gradcheck(call, x)
    assert torch.autograd.gradgradcheck(lambda x: call(x).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: torch.autograd.grad(call(x).pow(3).sum(), x, create_graph=True)[0], x)
