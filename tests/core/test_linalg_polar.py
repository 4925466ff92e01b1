import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orthogen.core.linalg import GramEigh, PolarExpress, polar_factor, polar_factors
from vectors import vectors

METHODS = [GramEigh(), PolarExpress()]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_svd(G, cutoff=1e-9):
    """The oracle: singular values to 1, or to 0."""
    U, s, V = torch.linalg.svd(G.double(), full_matrices=False)
    return (U * (s > cutoff * s[..., :1]).unsqueeze(-2)) @ V


def conditioned(m, n, condition, seed=0, rank=None):
    """A matrix with singular values spread evenly in the logarithm, all above those of ``rank`` zero; float64."""
    r = min(m, n)
    U, _ = torch.linalg.qr(random(m, r, seed=seed))
    V, _ = torch.linalg.qr(random(n, r, seed=seed + 1))
    s = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), r, dtype=torch.float64)
    return (U * torch.where(torch.arange(r) < (rank or r), s, 0)) @ V.T


def relative(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


# ---------------------------------------------------------------------------------------------- values
def test_equals_the_golden_nearest_orthogonal_gradient():
    golden = vectors("dbn_nog_olr")
    found = polar_factor(torch.from_numpy(golden["L"]).flatten(2))
    torch.testing.assert_close(found, torch.from_numpy(golden["nog"]).flatten(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 27), (64, 576), (30, 16384), (6, 131072), (6, 524288)])
def test_float32_is_within_a_millionth_of_the_svd_in_float64(shape):
    G = random(*shape, dtype=torch.float32)
    torch.testing.assert_close(polar_factor(G).double(), by_svd(G), rtol=0, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2), st.integers(0, 1000))
def test_is_the_svds_factor_for_any_shape(m, n, batch, seed):
    G = random(*[3] * batch, m, n, seed=seed)
    s = torch.linalg.svdvals(G)
    assume((s[..., -1] > 1e-3 * s[..., 0]).all())
    P = polar_factor(G)
    torch.testing.assert_close(P, by_svd(G), rtol=0, atol=1e-7)
    short = P @ P.mT if m <= n else P.mT @ P
    torch.testing.assert_close(short, torch.eye(min(m, n), dtype=G.dtype).expand_as(short), rtol=0, atol=1e-8)
    torch.testing.assert_close((P * G).sum((-2, -1)), s.sum(-1), rtol=1e-8, atol=0)
    torch.testing.assert_close(polar_factor(P), P, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-38, 2.0**-60, 3.0, 1e37])
def test_size_does_not_matter(method, scale):
    G = random(5, 12, dtype=torch.float32)
    torch.testing.assert_close(polar_factor(G * scale, method), polar_factor(G, method), rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("power", [-980, -600, 1, 600, 1020])
def test_powers_of_two_change_no_bit(method, power):
    G = random(5, 12)
    assert torch.equal(polar_factor(torch.ldexp(G, torch.tensor(power)), method), polar_factor(G, method))


@pytest.mark.parametrize("method", METHODS)
def test_a_row_and_a_column_get_length_one(method):
    G = torch.tensor([[3.0, 0.0, -4.0]])
    expected = torch.tensor([[0.6, 0.0, -0.8]])
    torch.testing.assert_close(polar_factor(G, method), expected)
    torch.testing.assert_close(polar_factor(G.T, method), expected.T)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2e-3)])
@pytest.mark.parametrize("method", METHODS)
def test_type_and_layout_are_those_given(method, dtype, atol):
    for shape in ((4, 9), (9, 4), (2, 3, 9, 4)):
        G = random(*shape).to(dtype)
        P = polar_factor(G, method)
        assert P.dtype == dtype
        assert P.is_contiguous()
        torch.testing.assert_close(P.double(), by_svd(G), rtol=0, atol=atol)


@pytest.mark.parametrize("shape", [(2, 5, 30000), (30000, 7), (40, 3000)])
def test_a_long_matrix_is_taken_in_parts(shape):
    G = random(*shape, dtype=torch.float32)
    torch.testing.assert_close(polar_factor(G).double(), by_svd(G), rtol=0, atol=1e-6)
    torch.testing.assert_close(polar_factors([G, G])[1], polar_factor(G), rtol=0, atol=1e-7)
    weight, narrow = random(*shape, seed=1), G.double().requires_grad_()
    (slope,) = torch.autograd.grad((polar_factor(narrow) * weight).sum(), narrow)
    (plain,) = torch.autograd.grad((by_svd(narrow) * weight).sum(), narrow)
    torch.testing.assert_close(slope, plain, rtol=0, atol=1e-9)


def test_float32_keeps_its_digits_for_ill_conditioned_matrices():
    for condition in (1e2, 1e4, 1e5):
        G = conditioned(20, 50, condition).float()
        torch.testing.assert_close(polar_factor(G).double(), by_svd(G), rtol=0, atol=1e-6)


def test_matrices_of_one_short_side_share_an_eigh(monkeypatch):
    calls = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda A: calls.append(A.shape) or eigh(A))
    shapes = [(6, 40), (12, 6), (2, 3, 6, 9), (5, 7), (70, 80)]
    given = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    found = polar_factors(given)
    assert calls == [(1 + 1 + 6, 6, 6), (1, 5, 5)]  # the last is iterated
    for G, P in zip(given, found, strict=True):
        torch.testing.assert_close(P, by_svd(G), rtol=0, atol=1e-7)
    assert polar_factors([]) == []


# ---------------------------------------------------------------------------------------------- without full rank
@pytest.mark.parametrize("shape", [(10, 24), (24, 10), (12, 12)])
@pytest.mark.parametrize(("method", "atol"), [(GramEigh(), 1e-6), (PolarExpress(), 1e-3)])
def test_without_full_rank_it_is_the_partial_isometry(shape, method, atol):
    G = conditioned(*shape, 10.0, rank=4).float()
    expected = by_svd(G, cutoff=1e-5)
    P = polar_factor(G, method).double()
    torch.testing.assert_close(P, expected, rtol=0, atol=atol)
    assert (P**2).sum().item() == pytest.approx(4, abs=1e-3)


def test_cutoff_is_relative_to_the_largest_singular_value():
    G = torch.diag(torch.tensor([1.0, 1e-3, 1.1e-6, 0.9e-6], dtype=torch.float64)) * 1e-5
    assert polar_factor(G).diagonal().round(decimals=6).tolist() == [1, 1, 1, 0]
    assert polar_factor(G, GramEigh(cutoff=1e-2)).diagonal().round(decimals=9).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_zeros_give_zeros_and_no_matrix_gives_none(method):
    G = random(3, 4, 6)
    G[1] = 0
    P = polar_factor(G, method)
    assert P[1].abs().max() == 0
    torch.testing.assert_close(P[[0, 2]], by_svd(G[[0, 2]]), rtol=0, atol=1e-9)
    for shape in ((0, 4, 6), (2, 0, 6), (2, 4, 0)):
        assert polar_factor(torch.zeros(shape), method).shape == shape


# ---------------------------------------------------------------------------------------------- not finite
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("method", METHODS)
def test_matrices_that_are_not_finite_are_refused_kept_or_zero(method, bad):
    G = random(3, 5, 4)
    expected = by_svd(G)
    G[1, 2, 3] = bad
    kept, zero = polar_factor(G, method, nonfinite="keep"), polar_factor(G, method, nonfinite="zero")
    assert torch.equal(kept[1].nan_to_num(), G[1].nan_to_num())
    assert zero[1].abs().max() == 0
    for P in (kept, zero):
        torch.testing.assert_close(P[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-7)
    with pytest.raises(
        ValueError, match=r"a matrix of \(5, 4\) has entries that are not finite and no polar factor; non"
    ):
        polar_factors([G[:1], G], method)


# ---------------------------------------------------------------------------------------------- the iteration
@pytest.mark.parametrize(
    ("method", "condition", "most"),
    [
        (PolarExpress(steps=8), 100.0, 5e-6),
        (PolarExpress(), 100.0, 5e-6),
        (PolarExpress(), 1e3, 2e-5),
        (PolarExpress(steps=12), 1e4, 2e-4),
        (PolarExpress(dtype="bfloat16", steps=8), 100.0, 6e-2),
        (PolarExpress(dtype="bfloat16"), 100.0, 6e-2),
        (PolarExpress(dtype="bfloat16"), 1e3, 0.3),
    ],
)
def test_the_iteration_is_as_accurate_as_it_says(method, condition, most):
    for seed in range(3):
        G = conditioned(80, 200, condition, seed=seed).float()
        assert relative(polar_factor(G, method), by_svd(G)) < most


def test_in_float64_the_iteration_is_exact():
    G = conditioned(70, 90, 100.0)
    torch.testing.assert_close(polar_factor(G), by_svd(G), rtol=0, atol=1e-12)


def test_bfloat16_never_overflows_thanks_to_the_safety_factor():
    def worst(safety):
        method = PolarExpress(steps=20, safety=safety, dtype="bfloat16")
        factors = [polar_factor(random(64, n, seed=n, dtype=torch.float32), method) for n in (64, 66, 70, 80, 100, 128)]
        return max(P.norm().nan_to_num(torch.inf).item() for P in factors)

    assert worst(1.01) < 8.5  # sqrt(64) = 8
    assert worst(1.05) < 8.5


def test_default_is_eigenvalues_up_to_64_and_the_iteration_above():
    for side, expected in ((64, GramEigh()), (65, PolarExpress())):
        G = random(side, 90, dtype=torch.float32)
        assert torch.equal(polar_factor(G), polar_factor(G, expected))
        assert torch.equal(polar_factor(G.T), polar_factor(G.T, expected))


def test_autocast_does_not_reach_in():
    G = random(20, 30, dtype=torch.float32)
    for method in METHODS:
        with torch.autocast("cpu", torch.bfloat16):
            found = polar_factor(G, method)
        torch.testing.assert_close(found, polar_factor(G, method), rtol=0, atol=0)


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("method", [GramEigh(), PolarExpress(steps=12)])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (2, 2, 3)])
def test_gradient_is_exact(method, shape):
    G = random(*shape, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda G: polar_factor(G, method), G)


def test_gradient_takes_equal_singular_values_for_granted():
    G = (3 * torch.eye(4, 6, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(polar_factor, G)
    weight = random(4, 6)
    (slope,) = torch.autograd.grad((polar_factor(G) * weight).sum(), G)
    square = weight[:, :4]
    expected = torch.cat([(square - square.T) / 6, weight[:, 4:] / 3], dim=1)  # the tangent of the rotations
    torch.testing.assert_close(slope, expected)


def test_gradient_without_full_rank_is_that_among_matrices_of_the_rank():
    A, B = random(5, 2).requires_grad_(), random(2, 7, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda A, B: polar_factor(A @ B), (A, B))


def test_a_second_derivative_is_refused_or_exact():
    G = random(3, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda G: polar_factor(G, PolarExpress(steps=12)), G)
    (slope,) = torch.autograd.grad(polar_factor(G).sum(), G, create_graph=True)
    with pytest.raises(
        RuntimeError, match="has a first derivative only; where a gradient is differentiated again, take"
    ):
        slope.sum().backward()


# ---------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: polar_factor(torch.ones(2, 2), nonfinite="skip"), "nonfinite='skip': 'raise', 'keep' or 'zero' is"),
        (lambda: polar_factor(torch.ones(3)), r"a tensor of shape \(3,\) holds no matrix: give \(..., m, n\)"),
        (lambda: polar_factors([torch.ones(())]), r"a tensor of shape \(\) holds no matrix"),
        (lambda: GramEigh(cutoff=1e-8), "GramEigh.cutoff=1e-08.: give at least 1e-7 and less than 1"),
        (lambda: PolarExpress(steps=0), r"PolarExpress\(steps=0, safety=1.01\): give at least 1 step"),
        (lambda: PolarExpress(safety=0.9), "a safety factor from 1 to 1.1"),
        (lambda: PolarExpress(dtype="float16"), "PolarExpress.dtype='float16'.: 'float32' or 'bfloat16' is accepted"),
    ],
)
def test_mistakes_are_named_in_one_line(unchecked, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
