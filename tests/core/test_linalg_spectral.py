from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.core.linalg import spectral_norm
from orthogen.core.rng import private


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def times(W, v):
    return (W @ v.unsqueeze(-1)).squeeze(-1)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2), st.integers(0, 1000))
def test_exact_value_is_the_largest_singular_value(m, n, batch, seed):
    W = random(*[3] * batch, m, n, seed=seed)
    sigma, u, v = spectral_norm(W)
    torch.testing.assert_close(sigma, torch.linalg.svdvals(W)[..., 0])
    torch.testing.assert_close(times(W, v), sigma.unsqueeze(-1) * u, rtol=0, atol=1e-7)
    torch.testing.assert_close(u.norm(dim=-1), torch.ones_like(sigma))
    torch.testing.assert_close(v.norm(dim=-1), torch.ones_like(sigma))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_float32_is_exact_at_any_size(scale):
    W = random(3, 40, 20, dtype=torch.float32) * scale
    expected = torch.linalg.svdvals(W.double())[..., 0].float()
    torch.testing.assert_close(spectral_norm(W).sigma, expected, rtol=1e-6, atol=0)
    found = spectral_norm(W, steps=200, rng=torch.Generator().manual_seed(0)).sigma
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_power_iteration_is_the_published_one():
    W, u = random(4, 5, 6), random(4, 5, seed=1)
    sigma, left, right = spectral_norm(W, u, steps=2)
    for i in range(4):
        x = u[i]
        for _ in range(2):
            y = torch.nn.functional.normalize(W[i].T @ x, dim=0)
            x = torch.nn.functional.normalize(W[i] @ y, dim=0)
        torch.testing.assert_close((left[i], right[i], sigma[i]), (x, y, x @ W[i] @ y))


def test_power_iteration_goes_on_where_it_left_off_and_comes_from_below():
    W, exact = random(7, 9), torch.linalg.matrix_norm(random(7, 9), 2)
    sigma, u, _ = spectral_norm(W, steps=1, rng=torch.Generator().manual_seed(3))
    errors = [exact - sigma]
    for _ in range(60):
        sigma, u, _ = spectral_norm(W, u, steps=1)
        errors.append(exact - sigma)
    assert errors[0] > 1e-2
    assert all(a >= b - 1e-12 for a, b in pairwise(errors))
    assert errors[-1].abs() < 1e-6
    at_once = spectral_norm(W, steps=61, rng=torch.Generator().manual_seed(3))
    torch.testing.assert_close(at_once.sigma, sigma)
    torch.testing.assert_close(at_once.u, u)


@pytest.mark.parametrize("options", [{}, {"steps": 20}])
def test_gradient_is_the_outer_product_of_the_vectors(options):
    W = (random(2, 3, 5) + 10).requires_grad_()  # far apart: the iteration converges
    rng = torch.Generator()

    def sigma(W):
        return spectral_norm(W, **options, rng=rng.manual_seed(0)).sigma

    assert torch.autograd.gradcheck(sigma, W)
    found = spectral_norm(W, **options)
    (slope,) = torch.autograd.grad(found.sigma.sum(), W)
    torch.testing.assert_close(slope, found.u.unsqueeze(-1) * found.v.unsqueeze(-2))
    assert not found.u.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_have_norm_zero_and_keep_the_start(dtype):
    W = torch.zeros(2, 3, 4, dtype=dtype)
    W[1] = random(3, 4)
    W.requires_grad_()
    start = torch.nn.functional.normalize(random(2, 3, dtype=dtype), dim=-1)
    for found in (spectral_norm(W), spectral_norm(W, start, steps=40)):
        (slope,) = torch.autograd.grad(found.sigma.sum(), W)
        assert found.sigma[0] == 0
        assert slope[0].abs().max() == 0
        torch.testing.assert_close(found.sigma[1], torch.linalg.matrix_norm(W[1], 2), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.u[0], start[0])


def test_a_row_a_column_and_no_matrix():
    row = torch.tensor([[3.0, -4.0]])
    for W in (row, row.T, row[None]):
        assert spectral_norm(W).sigma.squeeze().item() == pytest.approx(5)
        assert spectral_norm(W, steps=1).sigma.squeeze().item() == pytest.approx(5)
    assert spectral_norm(torch.zeros(0, 3, 4)).sigma.shape == (0,)
    assert spectral_norm(torch.zeros(0, 3, 4), steps=2).v.shape == (0, 4)


def test_a_matrix_that_is_not_finite_leaves_the_others_alone():
    W = random(3, 4, 5)
    W[1, 0, 0] = torch.nan
    for options in ({}, {"steps": 50}):
        sigma = spectral_norm(W, **options).sigma
        assert sigma[1].isnan()
        torch.testing.assert_close(sigma[[0, 2]], torch.linalg.svdvals(W[[0, 2]])[:, 0], rtol=1e-3, atol=0)


def test_start_comes_from_the_generator_and_never_from_the_global_one():
    W, before = random(4, 4), torch.random.get_rng_state()
    first = spectral_norm(W, steps=1, rng=torch.Generator().manual_seed(1))
    again = spectral_norm(W, steps=1, rng=torch.Generator().manual_seed(1))
    assert torch.equal(first.u, again.u)
    state = private().get_state()
    spectral_norm(W, steps=1)
    assert not torch.equal(private().get_state(), state)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("options", [{}, {"steps": 3}])
def test_autocast_does_not_reach_in(options):
    W, rng = random(20, 30, dtype=torch.float32), torch.Generator()
    expected = spectral_norm(W, **options, rng=rng.manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = spectral_norm(W, **options, rng=rng.manual_seed(0))
    assert torch.equal(found.sigma, expected.sigma)
    assert spectral_norm(W.bfloat16(), **options).sigma.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectral_norm(torch.eye(2), torch.ones(2)), "a start u is for power iteration: give steps, or no u"),
        (lambda: spectral_norm(torch.eye(2), steps=0), "steps=0: give 1 or more, or None for the exact value"),
    ],
)
def test_mistakes_are_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
