"""Covariance pooling against published roots, scipy's, and a plain transcription."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from orthogen.core.linalg import sqrtm_psd
from orthogen.layers.covariance_pooling import CovariancePooling
from vectors import vectors


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def triangle(S):
    return torch.stack([S[:, i, j] for i in range(S.shape[1]) for j in range(i, S.shape[1])], dim=1)


def maps_of_covariance(M, pixels=36):
    """Feature maps with exactly this covariance, and the centered factor: x = L Q, with Q Q^T = pixels I, Q 1 = 0."""
    Q = torch.linalg.qr(torch.cat((torch.ones(pixels, 1).double(), random(pixels, M.shape[-1])), 1))[0][:, 1:].T
    return (torch.linalg.cholesky(M) @ Q * pixels**0.5).unflatten(2, (6, -1)) + 5


@pytest.mark.parametrize("method", ["eigh", "svd_original", "svd_trunc", "svd_pade"])
def test_exact_roots_and_gradients_equal_the_golden_ones(method):
    known = {key: torch.from_numpy(value) for key, value in vectors("mpa_lya").items()}
    x = maps_of_covariance(known["M"]).requires_grad_()
    y = CovariancePooling(12, method=method)(x)
    torch.testing.assert_close(y, triangle(known["exact_sqrt"]), rtol=1e-6, atol=1e-9)
    both = known["cot"] + known["cot"].mT - torch.diag_embed(known["cot"].diagonal(dim1=1, dim2=2))
    (y * triangle(both)).sum().backward()  # the golden cotangent is one of the whole matrix
    centered = (x - x.mean((2, 3), keepdim=True)).flatten(2)
    expected = 2 / 36 * known["exact_grad_sqrt_sym"] @ centered
    torch.testing.assert_close(x.grad.flatten(2), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("method", "name"), [("pade", "sqrt"), ("eigh", "exact_sqrt")])
def test_released_root_is_there_by_name(method, name):
    known = {key: torch.from_numpy(value) for key, value in vectors("mpa_lya").items()}
    y = CovariancePooling(12, method=method)(maps_of_covariance(known["M"]))
    torch.testing.assert_close(y, triangle(known[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "side"), [(4, 5), (5, 2), (9, 3), (10, 3), (3, 1)])
def test_equals_scipys_root_with_more_pixels_than_channels_or_fewer(channels, side):
    x = random(3, channels, side, side)
    covariances = [np.cov(image.flatten(1).numpy(), ddof=0) for image in x]
    roots = torch.stack(
        [torch.from_numpy(np.atleast_2d(sqrtm(S + 1e-15 * np.eye(channels))).real) for S in covariances]
    )
    torch.testing.assert_close(CovariancePooling(channels)(x), triangle(roots), rtol=0, atol=5e-7)


@pytest.mark.parametrize("channels", [5, 12])
def test_both_ways_to_the_exact_root_agree_in_gradients_too(channels):
    x = random(2, channels, 3, 3).requires_grad_()
    centered = (x - x.mean((2, 3), keepdim=True)).flatten(2)
    expected = triangle(sqrtm_psd(centered @ centered.mT / 9))
    y = CovariancePooling(channels)(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-7)
    cotangent = random(*y.shape, seed=1)
    found, known = (torch.autograd.grad(v, x, cotangent)[0] for v in (y, expected))
    torch.testing.assert_close(found, known, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 2, 4), (2, 6, 2, 2)])
def test_gradient_is_exact(shape):
    x = random(*shape).requires_grad_()
    assert torch.autograd.gradcheck(CovariancePooling(shape[1]), x, eps=1e-5, atol=1e-4)


def test_channels_without_correlation_have_their_deviations_on_the_diagonal():
    x = torch.tensor([[1.0, -1, 1, -1], [2, 2, -2, -2]]).view(1, 2, 2, 2)
    assert CovariancePooling(2)(x).tolist() == [[1.0, 0.0, 2.0]]
    assert CovariancePooling(2)(x + 100).tolist() == [[1.0, 0.0, 2.0]]
    torch.testing.assert_close(CovariancePooling(2)(3 * x), torch.tensor([[3.0, 0.0, 6.0]]))


def test_newton_schulz_of_five_iterations_is_an_approximation_and_of_more_exact():
    x = random(2, 4, 6, 6)
    exact = CovariancePooling(4)(x)
    gaps = [(CovariancePooling(4, method="newton_schulz", iterations=k)(x) - exact).norm() for k in (5, 20)]
    assert gaps[1] < 1e-9 < gaps[0] < 0.1 * exact.norm()


@pytest.mark.parametrize("side", [1, 4, 12])
def test_reduction_comes_first_and_learns(side):
    head = CovariancePooling(16, reduce_to=6)
    assert [type(layer) for layer in head.reduction] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert head.reduction[0].weight.shape == (6, 16, 1, 1)
    assert head.reduction[0].bias is None
    x = random(4, 16, side, side, dtype=torch.float32).requires_grad_()
    net = nn.Sequential(head, nn.Linear(head.out_features, 3))
    y = net(x)
    assert y.shape == (4, 3)
    y.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert x.grad.isfinite().all()
    with torch.no_grad():
        reduced = head.eval().reduction(x)
        torch.testing.assert_close(head(x), CovariancePooling(6)(reduced))


def test_type_of_the_images_stays_and_the_covariance_is_exact():
    x = random(2, 8, 5, 5)
    exact = CovariancePooling(8)(x)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        y = CovariancePooling(8)(x.to(dtype))
        assert y.dtype == dtype
        assert (y.double() - exact).norm() < tolerance * exact.norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(CovariancePooling(8)(x.float()), CovariancePooling(8)(x.float()))
        assert (CovariancePooling(8)(x.float()) - exact).norm() < 1e-6 * exact.norm()
    assert (CovariancePooling(8, dtype=torch.float32)(x.float()) - exact).norm() < 1e-4 * exact.norm()


def test_constant_maps_give_zeros_and_finite_gradients():
    for channels in (3, 20):
        x = torch.ones(2, channels, 4, 4, requires_grad=True)
        y = CovariancePooling(channels)(x)
        y.sum().backward()
        assert not y.any()
        assert not x.grad.any()


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"^CovariancePooling: 3 channels were given; 4 are accepted$"):
        CovariancePooling(4)(torch.zeros(1, 3, 2, 2))
