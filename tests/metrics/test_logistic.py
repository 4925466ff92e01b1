import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.metrics import _logistic

LogisticRegression = pytest.importorskip("sklearn.linear_model").LogisticRegression
roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score


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


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 5), levels=st.integers(1, 20))
def test_area_under_the_curve_with_ties_equals_scikit_learn(seed, classes, levels):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=40)])
    scores = rng.integers(levels, size=(len(labels), classes)) / levels
    found = _logistic.auc(torch.tensor(scores), torch.tensor(labels))
    oracle = roc_auc_score(np.eye(classes)[labels], scores, average=None)
    np.testing.assert_allclose(found, oracle, rtol=0, atol=1e-12)


def test_a_class_that_is_absent_has_no_area():
    found = _logistic.auc(torch.rand(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1]))
    assert found.isnan().tolist() == [False, False, True]
