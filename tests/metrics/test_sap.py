import json
import math

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from code_tables import blurred, golden_table, grid
from orthogen.metrics import _linear_svm
from orthogen.metrics.sap import Sap
from vectors import GOLDEN

GOLD = json.loads((GOLDEN / "gt_dci_sap.json").read_text())
CONTINUOUS = Sap(form="continuous")
every_form = pytest.mark.parametrize("metric", [Sap(), CONTINUOUS], ids=["discrete", "continuous"])


@pytest.mark.parametrize("kind", ["identity", "rotated", "dead", "mixed"])
def test_discrete_form_equals_the_golden_scores(kind):
    score = Sap()(*golden_table(kind, with_test_rows=True))
    assert score.value == pytest.approx(GOLD[kind]["sap_discrete"], abs=1e-9)
    # codes 4 to 6 of the dead ones hardly vary: the golden classifiers had not converged to tell intercepts apart
    tolerance = np.where(np.arange(len(score.parts["matrix"])) < 4, 1e-9, 2.1e-3 if kind == "dead" else 1e-9)
    difference = np.abs(np.array(score.parts["matrix"]) - GOLD[kind]["sap_discrete_matrix"])
    assert (difference <= tolerance[:, None]).all()


@pytest.mark.parametrize("kind", ["identity", "rotated", "dead", "mixed"])
def test_continuous_form_equals_the_golden_scores(kind):
    score = CONTINUOUS(*golden_table(kind))
    assert score.value == pytest.approx(GOLD[kind]["sap_continuous"], abs=1e-9)
    np.testing.assert_allclose(score.parts["matrix"], GOLD[kind]["sap_continuous_matrix"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("strength", [0.01, 1.0])
@pytest.mark.parametrize("skewed", [False, True])
def test_classifiers_equal_liblinears(strength, skewed):
    rng = np.random.default_rng(0)
    factors = [rng.integers(size, size=500) for size in (2, 3, 7)]
    if skewed:
        factors = [np.minimum(factor, rng.integers(factor.max() + 1, size=500)) for factor in factors]
    codes = np.stack([*factors, 0.5 * np.ones(500), 3 + 0.01 * rng.normal(size=500)]) + 0.3 * rng.normal(size=(5, 500))
    codes[3] = 0.5
    machines = _linear_svm.fit(torch.tensor(codes), [torch.tensor(factor) for factor in factors], strength)
    for (w, b), factor in zip(machines, factors, strict=True):
        for i, code in enumerate(codes):
            exact = LinearSVC(C=strength, class_weight="balanced", dual=False, tol=1e-10, max_iter=10_000)
            exact.fit(code[:, None], factor)
            np.testing.assert_allclose(w[i], exact.coef_[:, 0], rtol=0, atol=1e-6)
            np.testing.assert_allclose(b[i], exact.intercept_, rtol=0, atol=1e-6)
        predicted = _linear_svm.predict(w, b, torch.tensor(codes))
        np.testing.assert_array_equal(predicted[-1], exact.predict(codes[-1][:, None]))


def shuffled(n=600, sizes=(3, 4)):
    rng = torch.Generator().manual_seed(0)
    factors = torch.stack([torch.randint(size, (n,), generator=rng) for size in sizes], dim=1)
    return factors.double(), factors


@every_form
def test_fixed_points(metric):
    perfect, factors = shuffled()
    score = metric(perfect, factors)
    assert score.value > (0.2 if metric.form == "discrete" else 0.98)
    assert score.parts["best_code"] == [0, 1]
    assert metric(torch.ones(600, 3), factors).value == 0
    assert metric(torch.cat([perfect, perfect], dim=1), factors).value == pytest.approx(0, abs=1e-12)
    turned = metric(perfect @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64), factors)
    assert turned.value < score.value / 2
    dead = metric(torch.cat([perfect, torch.zeros(600, 1, dtype=torch.float64)], dim=1), factors)
    assert dead.value == pytest.approx(score.value, abs=0.02)


def test_two_values_are_told_by_one_code():
    codes, factors = shuffled(sizes=(2, 2))
    score = Sap()(2 * codes - 1, factors)
    assert min(max(column) for column in zip(*score.parts["matrix"], strict=True)) == 1.0
    assert score.value > 0.4


@every_form
def test_the_name_and_the_protocol_say_which(metric):
    score = metric(*shuffled())
    assert score.name == f"SAP ({metric.form})"
    assert score.protocol["form"] == metric.form
    assert str(score).startswith(f"SAP ({metric.form}) ")
    assert Sap().form == "discrete"


@every_form
def test_indifferent_to_order(metric):
    codes, factors = blurred(1, 300)
    plain = metric(codes, factors).value
    assert metric(codes[:, [2, 0, 3, 1]], factors).value == pytest.approx(plain, abs=1e-12)
    assert metric(-codes, factors).value == pytest.approx(plain, abs=1e-9)
    rows = torch.cat([torch.randperm(200, generator=torch.Generator().manual_seed(0)), torch.arange(200, 300)])
    assert metric(codes[rows], factors[rows]).value == pytest.approx(plain, abs=1e-9)


def test_scale_matters_to_the_penalty_alone():
    codes, factors = blurred(1, 300)
    assert CONTINUOUS(8 * codes, factors).value == pytest.approx(CONTINUOUS(codes, factors).value)
    free = Sap(strength=1e6)
    assert free(8 * codes, factors).value == pytest.approx(free(codes, factors).value, abs=0.011)
    assert Sap()(0.01 * codes, factors).value != pytest.approx(Sap()(codes, factors).value, abs=0.02)


@every_form
def test_factors_that_never_vary_are_left_out_and_named(metric):
    codes, factors = shuffled()
    still = torch.cat([torch.full((600, 1), 5), factors], dim=1)
    score, plain = metric(codes, still), metric(codes, factors)
    assert score.value == plain.value
    assert score.protocol["factors_not_varied"] == [0]
    assert score.parts["lead"] == [None, *plain.parts["lead"]]
    nothing = metric(codes, still[:, :1])
    assert (nothing.value, nothing.stderr) == (0.0, 0.0)


def test_a_value_that_is_met_in_the_test_alone_counts_as_missed():
    codes, factors = shuffled()
    factors[400:, 0] += 10
    assert all(row[0] == 0 for row in Sap()(codes, factors).parts["matrix"])


@every_form
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_standard_error_is_the_spread_over_samples(metric, noise):
    scores = [metric(*blurred(seed, 600, noise=noise)) for seed in range(100)]
    spread = np.std([score.value for score in scores], ddof=1)
    assert np.mean([score.stderr for score in scores]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Sap(form="fuzzy"), r"Sap\(form='fuzzy'\): 'discrete' or 'continuous' is accepted"),
        (lambda: Sap(strength=0.0), "give a positive strength"),
        (lambda: Sap()(torch.zeros(5, 1), grid(5, 1)), "a lead needs at least 2 samples of 2 codes"),
        (lambda: Sap()(torch.full((5, 2), math.nan), grid(5, 1)), "not finite"),
    ],
)
def test_mistakes(unchecked, build, words):
    with pytest.raises(ValueError, match=words):
        build()
