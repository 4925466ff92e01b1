"""Filters, modulated convolution and equalized layers against plain double-precision references."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.layers.equalized import EqualizedLinear
from orthogen.layers.fir import downsample2d, filter2d, fir, upsample2d
from orthogen.layers.modulated_conv import modulated_conv2d

UNEVEN = torch.arange(1.0, 17.0, dtype=torch.float64).view(4, 4) / 136  # tells a convolution from a correlation


def convolved(x: Tensor, kernel: Tensor, before: int, after: int) -> Tensor:
    """Pixel by pixel: y[i, j] = sum over p, q of kernel[p, q] x[i - p, j - q], with zeros outside."""
    x = F.pad(x, (before, after, before, after))
    size = len(kernel)
    height, width = x.shape[2] - size + 1, x.shape[3] - size + 1
    y = torch.zeros(*x.shape[:2], height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            for p in range(size):
                for q in range(size):
                    y[:, :, i, j] += kernel[p, q] * x[:, :, i + size - 1 - p, j + size - 1 - q]
    return y


def stuffed(x: Tensor) -> Tensor:
    """A zero behind every pixel, in both directions."""
    y = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype)
    y[:, :, ::2, ::2] = x
    return y


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_default_filter_is_binomial() -> None:
    assert (fir() * 64).round(decimals=5).tolist() == [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]


def test_filtering_is_a_convolution(x: Tensor) -> None:
    torch.testing.assert_close(filter2d(x, UNEVEN, pad=1), convolved(x, UNEVEN, 1, 1))
    torch.testing.assert_close(filter2d(x, UNEVEN, pad=2), convolved(x, UNEVEN, 2, 2))


def test_upsampling_stuffs_zeros_and_filters(x: Tensor) -> None:
    torch.testing.assert_close(upsample2d(x, UNEVEN), convolved(stuffed(x), 4 * UNEVEN, 2, 1))
    two = UNEVEN[:2, :2]
    torch.testing.assert_close(upsample2d(x, two), convolved(stuffed(x), 4 * two, 1, 0))


def test_downsampling_filters_and_takes_every_second_pixel(x: Tensor) -> None:
    x = x[:, :, :4]
    torch.testing.assert_close(downsample2d(x, UNEVEN), convolved(x, UNEVEN, 1, 1)[:, :, ::2, ::2])


def test_a_constant_image_keeps_its_value_inside() -> None:
    up = upsample2d(torch.ones(1, 1, 4, 4), fir())
    torch.testing.assert_close(up[:, :, 2:-2, 2:-2], torch.ones(1, 1, 4, 4))
    torch.testing.assert_close(downsample2d(torch.ones(1, 1, 8, 8), fir())[:, :, 1:-1, 1:-1], torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_modulated_convolution_is_a_convolution_per_sample(x: Tensor, size: int, demodulate: bool) -> None:
    rng = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 3, size, size, dtype=torch.float64, generator=rng)
    style = torch.randn(2, 3, dtype=torch.float64, generator=rng)
    for sample, found in enumerate(modulated_conv2d(x, weight, style, demodulate=demodulate)):
        own = weight * style[sample][None, :, None, None]
        if demodulate:
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        torch.testing.assert_close(found, F.conv2d(x[sample : sample + 1], own, padding=size // 2)[0])


def test_upsampling_convolution_per_sample(x: Tensor) -> None:
    rng = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 3, 3, 3, dtype=torch.float64, generator=rng)
    style = torch.randn(2, 3, dtype=torch.float64, generator=rng)
    for sample, found in enumerate(modulated_conv2d(x, weight, style, up=UNEVEN)):
        own = weight * style[sample][None, :, None, None]
        own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        # zeros between the pixels and the full convolution with the kernel as it is, then the filter, times 4
        wide = stuffed(x[sample : sample + 1])[:, :, :-1, :-1]
        full = F.conv2d(wide, own.flip(2, 3), padding=2)
        torch.testing.assert_close(found, convolved(full, 4 * UNEVEN, 1, 1)[0])
        assert found.shape[1:] == (10, 8)


def test_modulated_convolution_has_right_derivatives(x: Tensor) -> None:
    rng = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 3, 3, 3, dtype=torch.float64, generator=rng, requires_grad=True)
    style = torch.randn(2, 3, dtype=torch.float64, generator=rng, requires_grad=True)
    x = x[:, :, :2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: modulated_conv2d(*a, up=UNEVEN), (x, weight, style))
    assert torch.autograd.gradgradcheck(lambda *a: modulated_conv2d(*a), (x[:1], weight[:1], style[:1]))


def test_equalized_linear_scales_at_run_time() -> None:
    layer = EqualizedLinear(5, 3, lr_multiplier=0.01, bias=1.0).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    expected = x @ (layer.weight * 0.01 / math.sqrt(5)).T + 0.01 * layer.bias
    torch.testing.assert_close(layer(x), expected)
    assert layer.bias.tolist() == [1, 1, 1]
    assert str(layer) == "EqualizedLinear(5, 3, lr_multiplier=0.01)"


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_equalized_linear_keeps_the_variance(multiplier: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer, x = EqualizedLinear(400, 300, multiplier), torch.randn(200, 400)
    assert layer.weight.std().item() == pytest.approx(1 / multiplier, rel=0.02)
    assert layer(x).std().item() == pytest.approx(1, rel=0.05)
