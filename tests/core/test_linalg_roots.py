from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from orthogen.core.linalg import RootMethod, inv_sqrtm_psd, sqrtm_psd
from orthogen.core.linalg._series_root import P, Q, lyapunov, taylor_coefficients
from orthogen.core.linalg._svd_root import finite, inverse_gaps
from vectors import vectors

ROOTS = [sqrtm_psd, inv_sqrtm_psd]
METHODS = [m for m in get_args(RootMethod) if m != "svd_topn"]
QUOTIENTS = ["svd_original", "svd_trunc", "svd_taylor", "svd_pade"]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def golden(name):
    return {key: torch.from_numpy(value) for key, value in vectors(name).items()}


def with_spectrum(*values, seed=0):
    """A float64 matrix with these eigenvalues, and eigenvectors along nothing in particular."""
    s = torch.tensor(values, dtype=torch.float64)
    Q, _ = torch.linalg.qr(random(len(s), len(s), seed=seed))
    return (Q * s) @ Q.T


def gradient(root, A, cotangent, **options):
    A = A.clone().requires_grad_()
    value = root(A, **options)
    (slope,) = torch.autograd.grad((value * cotangent).sum(), A)
    return value.detach(), slope


def symmetric(G):
    return (G + G.mT) / 2


# ---------------------------------------------------------------------------------------------- exact
@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(0, 2), st.integers(0, 1000))
def test_root_squared_is_the_matrix_and_inverse_root_whitens_it(n, batch, seed):
    X = random(*[3] * batch, n, 3 * n, seed=seed)
    A = X @ X.mT
    S, R = sqrtm_psd(A), inv_sqrtm_psd(A)
    identity = torch.eye(n, dtype=A.dtype).expand_as(A)
    torch.testing.assert_close(S @ S, A, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(R @ A @ R, identity, rtol=0, atol=1e-8)
    torch.testing.assert_close(R @ S, identity, rtol=0, atol=1e-8)
    for root in (S, R):
        torch.testing.assert_close(root, root.mT, rtol=0, atol=1e-9)
        assert (torch.linalg.eigvalsh(root) > 0).all()


def test_root_equals_scipys():
    A = with_spectrum(5.0, 2.0, 1.0, 0.1, 1e-3)
    torch.testing.assert_close(sqrtm_psd(A), torch.from_numpy(sqrtm(A.numpy()).real), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("root", "name"), [(sqrtm_psd, "sqrt"), (inv_sqrtm_psd, "isqrt")])
@pytest.mark.parametrize("method", ["eigh", "svd_original", "svd_trunc", "svd_pade"])
def test_exact_methods_equal_the_golden_ones(root, name, method):
    known = golden("mpa_lya")
    value, slope = gradient(root, known["M"], known["cot"], method=method)
    for found, expected in ((value, known[f"exact_{name}"]), (slope, known[f"exact_grad_{name}_sym"])):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("spectrum", [(3.0, 1.0, 0.2), (2.0, 2.0, 2.0), (2.0, 2.0, 0.5, 0.5 + 1e-12), (1.0,)])
def test_gradient_is_exact_for_equal_eigenvalues_too(root, eps, spectrum):
    A = with_spectrum(*spectrum).requires_grad_()
    assert torch.autograd.gradcheck(lambda A: root(symmetric(A), eps=eps), A)
    assert torch.autograd.gradcheck(lambda A: root(A[None], eps=eps, method="newton_schulz", iterations=9), A)


@pytest.mark.parametrize("root", ROOTS)
def test_gradient_at_the_identity_is_known(root):
    cotangent = random(5, 5)
    _, slope = gradient(root, 4 * torch.eye(5, dtype=torch.float64), cotangent)
    expected = 1 / 4 if root is sqrtm_psd else -1 / 16  # of sqrt(l) and 1 / sqrt(l) at 4
    torch.testing.assert_close(slope, expected * symmetric(cotangent))


def test_gradient_through_a_product_without_full_rank_is_exact():
    X = random(5, 2).requires_grad_()
    for root in ROOTS:  # with a wide step: the root of an eigenvalue of rounding is 1e-8
        assert torch.autograd.gradcheck(lambda X, root=root: root(X @ X.T), X, eps=1e-3, atol=1e-4)


def test_gradient_of_the_whitened_data_is_exact():
    X = random(4, 30).requires_grad_()
    assert torch.autograd.gradcheck(lambda X: inv_sqrtm_psd(X @ X.T / 30, eps=1e-2) @ X, X)


@pytest.mark.parametrize("root", ROOTS)
def test_float32_is_as_good_as_its_input(root):
    A = with_spectrum(*torch.logspace(0, -4, 12).tolist())
    cotangent = random(12, 12)
    expected = gradient(root, A.float().double(), cotangent)
    for found, exact in zip(gradient(root, A.float(), cotangent.float()), expected, strict=True):
        assert found.dtype == torch.float32
        assert (found - exact).norm() < 2e-3 * exact.norm()  # 1e-7 of the largest eigenvalue is 1e-3 of the smallest
    assert root(A.bfloat16()).dtype == torch.bfloat16


def test_no_eigenvalue_is_below_the_ridge_whatever_rounding_says():
    X = random(40, 5, dtype=torch.float32) * 100
    A = X @ X.T  # 35 eigenvalues of rounding, half of them negative, far beyond the ridge
    assert (torch.linalg.eigvalsh(A) < -1e-3).any()
    largest = torch.linalg.eigvalsh(inv_sqrtm_psd(A, eps=1e-6).double()).max().item()
    assert largest < 1.001e3
    torch.testing.assert_close(
        inv_sqrtm_psd(torch.diag(torch.tensor([8.0, 0.0])), eps=1.0).diagonal().square(), torch.tensor([1 / 9, 1.0])
    )


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_symmetric(root, method):
    _, slope = gradient(root, with_spectrum(3.0, 1.0, 0.5), random(3, 3), method=method)
    torch.testing.assert_close(slope, slope.T)


# ---------------------------------------------------------------------------------------------- degenerate spectra
DEGENERATE = {
    "zeros": torch.zeros(4, 4),
    "identity": torch.eye(4),
    "rank one": torch.ones(4, 4),
    "ties": torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0])),
    "ties and zeros": torch.diag(torch.tensor([2.0, 2.0, 0.0, 0.0])),
    "rounding below zero": torch.diag(torch.tensor([1.0, 1.0, -1e-9, 1e-9])),
    "condition 1e12": torch.diag(torch.tensor([1.0, 1e-4, 1e-8, 1e-12])),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.0, 1e-3])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", DEGENERATE)
def test_values_and_gradients_are_finite_on_degenerate_spectra(name, root, method, eps, dtype):
    value, slope = gradient(root, DEGENERATE[name].to(dtype), random(4, 4, dtype=dtype), method=method, eps=eps)
    assert value.isfinite().all()
    assert slope.isfinite().all()


def test_zero_eigenvalues_have_root_zero_and_are_left_out_of_the_inverse():
    A = with_spectrum(4.0, 1.0, 0.0, 0.0)
    torch.testing.assert_close(sqrtm_psd(A), with_spectrum(2.0, 1.0, 0.0, 0.0), rtol=0, atol=1e-7)
    torch.testing.assert_close(inv_sqrtm_psd(A), with_spectrum(0.5, 1.0, 0.0, 0.0), rtol=0, atol=1e-7)
    for root in ROOTS:
        value, slope = gradient(root, torch.zeros(3, 3), torch.ones(3, 3))
        assert value.abs().max() == 0
        assert slope.abs().max() == 0


def test_condition_1e12_keeps_its_digits_in_float64():
    A = with_spectrum(1.0, 1e-3, 1e-12)
    values = torch.linalg.eigvalsh(inv_sqrtm_psd(A)).tolist()
    assert values == pytest.approx([1.0, 1e3**0.5, 1e6], rel=1e-3)
    _, slope = gradient(inv_sqrtm_psd, torch.diag(torch.tensor([1.0, 1e-12]).double()), torch.ones(2, 2).double())
    # -1 / (s_i s_j (s_i + s_j)) with s = 1 and 1e-6
    expected = torch.tensor([[-0.5, -1e6 / (1 + 1e-6)], [-1e6 / (1 + 1e-6), -5e17]], dtype=torch.float64)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=0)


def test_plain_autograd_is_not_finite_where_ours_is():
    A = torch.eye(3).requires_grad_()
    values, Q = torch.linalg.eigh(A)
    (plain,) = torch.autograd.grad(((Q * values.rsqrt()) @ Q.T * random(3, 3).float()).sum(), A)
    assert not plain.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_matrix_that_is_not_finite_gives_nan_and_leaves_the_others_alone(root, method, bad):
    A = torch.stack([with_spectrum(3.0, 1.0, 0.5, seed=i) for i in range(3)])
    cotangent = random(3, 3, 3)
    expected = gradient(root, A, cotangent, method=method)
    A[1, 0, 2] = bad
    for found, plain in zip(gradient(root, A, cotangent, method=method), expected, strict=True):
        assert found[1].isnan().all()
        torch.testing.assert_close(found[[0, 2]], plain[[0, 2]])


@pytest.mark.parametrize("method", METHODS)
def test_no_matrices_give_none(method):
    for root in ROOTS:
        assert root(torch.zeros(0, 4, 4), method=method).shape == (0, 4, 4)


# ---------------------------------------------------------------------------------------------- released methods
def test_pade_and_taylor_coefficients_are_the_golden_ones():
    known = golden("mpa_lya")
    assert known["pade_p"].tolist() == pytest.approx(list(P))
    assert known["pade_q"].tolist() == pytest.approx(list(Q))
    assert known["taylor_a"].tolist() == pytest.approx(taylor_coefficients(0.5))


def test_pade_root_and_gradient_equal_the_golden_ones():
    known = golden("mpa_lya")
    value, slope = gradient(sqrtm_psd, known["M"], known["cot"], method="pade")
    torch.testing.assert_close(value, known["sqrt"], rtol=1e-4, atol=1e-5)
    expected = symmetric(known["grad_sqrt"])
    assert (slope - expected).abs().max() < 1e-4 * expected.abs().max()


def test_pade_inverse_root_and_gradient_equal_the_golden_ones():
    known = golden("mpa_lya")
    value, slope = gradient(inv_sqrtm_psd, known["M"], known["cot"], method="pade")
    assert (value - known["isqrt"]).abs().max() < 1e-4 * value.abs().max()
    # released, the iteration starts from one norm for the batch: it has not converged, and the others' sizes show
    expected, inverse = known["grad_isqrt"], value @ value
    released = lyapunov(value / value.norm(), -inverse @ known["cot"] @ inverse / value.norm())
    assert (released - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (slope - symmetric(expected)).abs().max() < 4e-3 * expected.abs().max()
    alone = gradient(inv_sqrtm_psd, known["M"][:1], known["cot"][:1], method="pade")
    torch.testing.assert_close((value[:1], slope[:1]), alone)


def test_pade_root_has_a_floor_of_one_eleventh():
    known = golden("mpa_response")
    share = known["lam_over_fro"]
    A = torch.diag_embed(torch.stack([share, (1 - share**2).clamp_min(0).sqrt()], dim=-1))  # of norm 1
    found = sqrtm_psd(A, method="pade")[:, 0, 0]
    torch.testing.assert_close(found, known["mpa_sqrt"], rtol=1e-4, atol=0)
    assert found.min().item() == pytest.approx(1 / 11, rel=1e-4)
    assert inv_sqrtm_psd(A, method="pade")[:, 0, 0].max().item() == pytest.approx(11, rel=1e-4)
    torch.testing.assert_close(sqrtm_psd(A)[:, 0, 0], known["exact_sqrt"], rtol=1e-6, atol=1e-9)
    excess = found / known["exact_sqrt"] - 1
    at = (share.log() - torch.tensor(0.05).log()).abs().argmin()
    assert 0.005 < excess[at] < 0.03


def test_the_released_zca_layer_follows_from_its_root():
    known = golden("zca_mpa_g1")
    x, cotangent, eps = known["x"].clone().requires_grad_(), known["cot"], known["eps"].item()
    weight, bias = known["weight"].clone().requires_grad_(), known["bias"].clone().requires_grad_()
    X = x.transpose(0, 1).flatten(1)[None]
    X = X - X.mean(dim=-1, keepdim=True)
    whiten = torch.linalg.inv(sqrtm_psd(X @ X.mT / X.shape[-1], eps=eps, method="pade"))
    y = ((whiten @ X) * weight + bias)[0].unflatten(1, (len(x), *x.shape[2:])).transpose(0, 1)
    torch.testing.assert_close(y, known["y_train"], rtol=1e-4, atol=1e-5)
    running = 0.9 * torch.eye(x.shape[1]) + 0.1 * whiten
    torch.testing.assert_close(running, known["running_subspace"], rtol=1e-4, atol=1e-5)
    slopes = torch.autograd.grad((y * cotangent).sum(), (x, weight, bias))
    for found, name in zip(slopes, ("grad_x", "grad_weight", "grad_bias"), strict=True):
        assert (found - known[name]).abs().max() < 1e-4 * known[name].abs().max()


def test_series_come_close_to_well_conditioned_roots():
    A = with_spectrum(1.0, 0.9, 0.8)
    cotangent = symmetric(random(3, 3))
    for root in ROOTS:
        exact, exact_slope = gradient(root, A, cotangent)
        for method, most in (("pade", 1e-5), ("taylor", 1e-2)):
            value, slope = gradient(root, A, cotangent, method=method)
            assert (value - exact).norm() < most * exact.norm()
            assert (slope - exact_slope).norm() < 3 * most * exact_slope.norm()


@pytest.mark.parametrize("quotient", QUOTIENTS)
def test_quotients_equal_the_golden_ones(quotient):
    known = golden("svd_K_matrices")
    expected = known[quotient.replace("svd", "K")]
    found = inverse_gaps(known["s"], quotient)
    both = expected.isfinite()
    assert torch.equal(both, found.isfinite())
    torch.testing.assert_close(found[both], expected[both], rtol=1e-10, atol=0)
    replaced = finite(found)
    assert replaced.abs().max().item() == pytest.approx(expected[both].abs().max().item())


def test_topn_sets_the_smallest_fifty_to_rounding():
    values = torch.linspace(0.1, 5.2, 52, dtype=torch.float64)
    K = inverse_gaps(values, "svd_topn")
    tail = torch.full((50,), torch.finfo(torch.float64).eps, dtype=torch.float64)
    torch.testing.assert_close(K, inverse_gaps(torch.cat([tail, values[50:]]), "svd_original"))
    A = with_spectrum(*values.tolist())
    assert gradient(sqrtm_psd, A, random(52, 52), method="svd_topn")[1].isfinite().all()


def test_taylor_quotient_is_exact_for_separate_eigenvalues_and_bounded_at_ties():
    cotangent = random(3, 3)
    apart = with_spectrum(4.0, 1.0, 0.2)
    exact = gradient(sqrtm_psd, apart, cotangent)[1]
    torch.testing.assert_close(gradient(sqrtm_psd, apart, cotangent, method="svd_taylor")[1], exact)
    assert inverse_gaps(torch.tensor([0.5, 0.5]).double(), "svd_taylor").abs().max() == 202  # 101 / 0.5


def test_newton_schulz_takes_five_steps_as_released_and_converges_with_more():
    A = with_spectrum(1.0, 0.5, 0.2, 0.1)
    size = torch.trace(A)
    Y, Z = A / size, torch.eye(4, dtype=A.dtype)
    for _ in range(5):
        Y, Z = Y @ (3 * torch.eye(4) - Z @ Y) / 2, (3 * torch.eye(4) - Z @ Y) @ Z / 2
    torch.testing.assert_close(sqrtm_psd(A, method="newton_schulz"), Y * size.sqrt())
    torch.testing.assert_close(inv_sqrtm_psd(A, method="newton_schulz"), Z / size.sqrt())
    cotangent = symmetric(random(4, 4))
    for root in ROOTS:
        exact = gradient(root, A, cotangent)
        torch.testing.assert_close(gradient(root, A, cotangent, method="newton_schulz", iterations=12), exact)


# ---------------------------------------------------------------------------------------------- twice, autocast
@pytest.mark.parametrize("root", ROOTS)
def test_a_second_derivative_is_refused_or_exact(root):
    A = with_spectrum(2.0, 1.0, 0.5).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda A: root(A, method="newton_schulz", iterations=8), A)
    for method in ("eigh", "pade", "svd_original"):
        (slope,) = torch.autograd.grad(root(A, method=method).sum(), A, create_graph=True)
        with pytest.raises(RuntimeError, match="has a first derivative only") as error:
            slope.sum().backward()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("method", METHODS)
def test_autocast_does_not_reach_in(root, method):
    A, cotangent = with_spectrum(2.0, 1.0, 0.5).float(), random(3, 3).float()
    expected = gradient(root, A, cotangent, method=method)
    with torch.autocast("cpu", torch.bfloat16):
        if method == "newton_schulz":  # goes backward by autograd, which nobody should do in there
            found = root(A, method=method), expected[1]
        else:
            found = gradient(root, A, cotangent, method=method)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# ---------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -1.0}, "eps=-1.0: give a ridge of 0 or more"),
        ({"eps": float("nan")}, "eps=nan: give a ridge"),
        ({"method": "svd_pi"}, "method='svd_pi': eigh, newton_schulz, pade, taylor, svd_original, .* are accepted"),
        ({"iterations": 3}, "iterations=3 of eigh: give 1 or more, of newton_schulz only"),
        ({"method": "newton_schulz", "iterations": 0}, "iterations=0 of newton_schulz: give 1 or more"),
        ({"method": "svd_topn"}, "svd_topn drops the 50 smallest eigenvalues, and the matrix has 3; take another"),
    ],
)
def test_mistakes_are_named_in_one_line(unchecked, options, message):
    for root in ROOTS:
        with pytest.raises(ValueError, match=message) as error:
            root(torch.eye(3), **options)
        assert "\n" not in str(error.value)
