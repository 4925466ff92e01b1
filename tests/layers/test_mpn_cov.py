"""Covariance pooling by five Newton-Schulz iterations, as in MPN-COV, against a plain transcription."""

import pytest
import torch
from torch import Tensor

from orthogen.layers.covariance_pooling import CovariancePooling


def transcription(x: Tensor, iterations: int) -> Tensor:
    """The covariance through a centering matrix, over its trace; the coupled iteration; times the trace's root."""
    n, m = x.shape[1], x.shape[2] * x.shape[3]
    X, eye = x.flatten(2), torch.eye(n, dtype=x.dtype)
    centering = torch.eye(m, dtype=x.dtype) / m - torch.ones(m, m, dtype=x.dtype) / m**2
    P = X @ centering @ X.mT
    trace = P.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    Y, Z = P / trace, eye.expand_as(P)
    for _ in range(iterations):
        T = (3 * eye - Z @ Y) / 2
        Y, Z = Y @ T, T @ Z
    rows, columns = torch.triu_indices(n, n)
    return (Y * trace.sqrt())[:, rows, columns]


def values_and_gradients(pool, x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    y = pool(x)
    return y, torch.autograd.grad((y * cotangent).sum(), x)[0]


@pytest.fixture
def maps(rng):
    """Two maps of 6 channels of unlike sizes, which vary together, and a cotangent."""
    mixing = torch.randn(6, 6, dtype=torch.float64, generator=rng) / 6**0.5 + torch.eye(6).double()
    x = torch.einsum("ij,bjhw->bihw", mixing, torch.randn(2, 6, 7, 7, dtype=torch.float64, generator=rng)) + 2
    return x.requires_grad_(), torch.randn(2, 21, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("iterations", [1, 3, 5, 10])
def test_value_and_gradient_are_those_of_the_iteration(maps, iterations):
    x, cotangent = maps
    pool = CovariancePooling(6, method="newton_schulz", iterations=iterations)
    found = values_and_gradients(pool, x, cotangent)
    expected = values_and_gradients(lambda x: transcription(x, iterations), x, cotangent)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_five_iterations_are_an_approximation_in_value_and_more_so_in_gradient(maps):
    x, cotangent = maps
    exact = values_and_gradients(CovariancePooling(6), x, cotangent)

    def off(iterations):
        found = values_and_gradients(CovariancePooling(6, method="newton_schulz", iterations=iterations), x, cotangent)
        return [((a - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]

    value, slope = off(5)
    assert 1e-3 < value < 0.05
    assert value < slope < 0.3
    assert max(off(15)) < 1e-6
