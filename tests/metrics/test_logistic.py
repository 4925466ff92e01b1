import numpy as np
import pytest
import torch

from code_tables import grid
from orthogen.metrics import _logistic

LogisticRegression = pytest.importorskip("sklearn.linear_model").LogisticRegression


def problem(classes: int, n: int = 600, d: int = 5, noise: float = 1.0, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng)
    labels[:classes] = torch.arange(classes)
    centers = torch.randn(classes, d, generator=rng, dtype=torch.float64)
    return centers[labels] + noise * torch.randn(n, d, generator=rng, dtype=torch.float64), labels


@pytest.mark.parametrize("few", [10_000, 0], ids=["factored", "conjugate gradients"])
@pytest.mark.parametrize("strength", [1.0, 0.01, 100.0])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_equals_scikit_learn(classes, strength, few, monkeypatch):
    monkeypatch.setattr(_logistic, "FEW", few)
    x, labels = problem(classes)
    oracle = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(x.numpy(), labels.numpy())
    found = _logistic.fit(x, labels, strength)(x[:50])
    np.testing.assert_allclose(found, oracle.predict_proba(x[:50].numpy()), rtol=0, atol=2e-5)


def test_classes_that_a_line_separates_stay_finite():
    x, labels = problem(4, noise=1e-3)
    oracle = LogisticRegression(tol=1e-10, max_iter=10_000).fit(x.numpy(), labels.numpy())
    found = _logistic.fit(x, labels)(x)
    np.testing.assert_allclose(found, oracle.predict_proba(x.numpy()), rtol=0, atol=2e-5)
    assert torch.equal(found.argmax(dim=1), labels)


def test_features_that_say_nothing_give_the_classes_shares():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    for x in (torch.zeros(100, 3), torch.zeros(100, 0)):
        found = _logistic.fit(x, labels)(x[:1])
        np.testing.assert_allclose(found, [[0.6, 0.3, 0.1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_any_scale_of_features_converges(scale):
    x, labels = problem(3)
    found = _logistic.fit(scale * x, labels, strength=1 / scale**2)(scale * x)
    np.testing.assert_allclose(found, _logistic.fit(x, labels)(x), rtol=0, atol=1e-5)


def test_half_precision_features_and_few_samples():
    x, labels = problem(3, n=7)
    assert _logistic.fit(x.float(), labels)(x.float()).dtype == torch.float64


@pytest.mark.parametrize("few", [10_000, 0], ids=["factored", "conjugate gradients"])
@pytest.mark.parametrize("sizes", [(3, 6, 8, 8), (5, 16), (3, 6, 32)])
def test_rows_in_the_order_of_a_grid(sizes, few, monkeypatch, rng):
    monkeypatch.setattr(_logistic, "FEW", few)
    factors = grid(*sizes)  # every 16th row has the same value of the last factor
    x = factors + 0.3 * torch.randn(factors.shape, generator=rng, dtype=torch.float64)
    x = (x - x.mean(dim=0)) / x.std(dim=0)
    oracle = LogisticRegression(tol=1e-10, max_iter=10_000).fit(x.numpy(), factors[:, -1].numpy())
    found = _logistic.fit(x, factors[:, -1])(x)
    np.testing.assert_allclose(found, oracle.predict_proba(x.numpy()), rtol=0, atol=1e-4)


def test_a_class_of_one_sample_is_learned_too():
    x, labels = problem(3, n=2000)
    labels[1] = 3
    oracle = LogisticRegression(tol=1e-10, max_iter=10_000).fit(x.numpy(), labels.numpy())
    np.testing.assert_allclose(_logistic.fit(x, labels)(x), oracle.predict_proba(x.numpy()), rtol=0, atol=1e-3)


@pytest.mark.parametrize("few", [10_000, 0], ids=["factored", "conjugate gradients"])
@pytest.mark.parametrize("offset", [1e2, 1e3, 1e6])
def test_any_offset_of_features_converges(offset, few, monkeypatch):
    monkeypatch.setattr(_logistic, "FEW", few)
    x, labels = problem(4, n=2000)
    found = _logistic.fit(x + offset, labels)(x + offset)
    np.testing.assert_allclose(found, _logistic.fit(x, labels)(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("few", [10_000, 0], ids=["factored", "conjugate gradients"])
def test_features_of_very_different_scales(few, monkeypatch):
    monkeypatch.setattr(_logistic, "FEW", few)
    x, labels = problem(3)
    x *= torch.tensor([1e-3, 1.0, 1e2, 1.0, 1e4])
    oracle = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(x.numpy(), labels.numpy())
    np.testing.assert_allclose(_logistic.fit(x, labels)(x), oracle.predict_proba(x.numpy()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("few", [10_000, 0], ids=["factored", "conjugate gradients"])
@pytest.mark.parametrize("scale", [1.0, 1e8, 1e25])
def test_equal_features_share_what_one_does_alone(scale, few, monkeypatch):
    monkeypatch.setattr(_logistic, "FEW", few)
    x, labels = problem(3)
    one = _logistic.fit(scale * x, labels, 2 / scale**2)(scale * x)  # two weights of a half have half the penalty
    twice = scale * torch.cat([x, x], dim=1)  # from 1e8 on the penalty does not show in the Hessian, which is singular
    np.testing.assert_allclose(_logistic.fit(twice, labels, 1 / scale**2)(twice), one, rtol=0, atol=1e-4)
    unpenalized = _logistic.fit(twice, labels, 1e6)(twice)
    np.testing.assert_allclose(unpenalized, _logistic.fit(x, labels, 1e12)(x), rtol=0, atol=1e-3 if scale > 1 else 1e-2)
