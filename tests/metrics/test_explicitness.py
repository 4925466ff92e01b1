import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from code_tables import blurred, golden_table, grid
from orthogen.core.progress import shown
from orthogen.metrics._codes import checked
from orthogen.metrics._explicitness import auc, explicitness
from vectors import GOLDEN

roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score


def measured(codes: torch.Tensor, factors: torch.Tensor, cut: int) -> dict:
    """Explicitness learned on the first rows, in this order."""
    table, labels = checked("it", codes, factors)
    return explicitness(table, labels, labels.amax(dim=1) > 0, cut, strength=1.0)


@pytest.mark.parametrize("kind", ["identity", "rotated", "mixed"])
def test_equals_the_golden_scores(kind):
    parts = measured(*golden_table(kind, with_test_rows=True), 2000)
    expected = np.array(json.loads((GOLDEN / "gt_codes.json").read_text())[kind]["explicitness"])
    for name, column in zip(("train", "test"), expected.T, strict=True):
        np.testing.assert_allclose(parts[f"explicitness_{name}_by_factor"], column, rtol=0, atol=1e-4)
        assert parts[f"explicitness_{name}"] == pytest.approx(column.mean(), abs=1e-4)


def test_values_that_only_one_part_of_the_rows_has():
    factors = torch.stack([torch.arange(60) // 20, torch.arange(60) % 2], dim=1)  # the last third has one value, unseen
    parts = measured(factors.double() + 0.1, factors, 40)
    assert parts["explicitness_test_by_factor"] == [None, 1.0]
    assert parts["explicitness_test_by_factor_stderr"] == [None, 0.0]
    assert parts["explicitness_train_by_factor"] == [1.0, 1.0]
    first = torch.stack([(torch.arange(60) >= 40).long(), torch.arange(60) % 2], dim=1)
    assert measured(first.double(), first, 40)["explicitness_train_by_factor"] == [None, 1.0]
    nothing = measured(first.double(), 0 * first, 40)
    assert (nothing["explicitness_test"], nothing["explicitness_test_stderr"]) == (None, None)


def test_standard_error_is_the_spread_over_test_rows():
    codes, factors = blurred(0, 300 + 80 * 200, noise=0.8)
    learned = torch.arange(300)
    found = []
    for rows in torch.arange(300, len(codes)).split(200):  # the same classifiers, on other rows
        both = torch.cat([learned, rows])
        found.append(measured(codes[both], factors[both], 300))
    for name in ("explicitness_test", "explicitness_test_by_factor"):
        spread = np.std([parts[name] for parts in found], axis=0, ddof=1)
        np.testing.assert_allclose(np.mean([parts[f"{name}_stderr"] for parts in found], axis=0), spread, rtol=0.25)


def test_says_how_far_it_is():
    seen = []

    def show(items, what, total):
        for item in items:
            yield item
            seen.append((what, total))

    factors = grid(3, 4).repeat(5, 1)
    with shown(show):
        measured(factors.double(), factors, 40)
    assert seen == [("explicitness, factor by factor", 2)] * 2


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 5), levels=st.integers(1, 20))
def test_area_under_the_curve_with_ties_equals_scikit_learn(seed, classes, levels):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=40)])
    scores = rng.integers(levels, size=(len(labels), classes)) / levels
    found = auc(torch.tensor(scores), torch.tensor(labels))[0]
    oracle = roc_auc_score(np.eye(classes)[labels], scores, average=None)
    np.testing.assert_allclose(found, oracle, rtol=0, atol=1e-12)


def test_a_class_that_is_absent_has_no_area():
    found, _ = auc(torch.rand(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1]))
    assert found.isnan().tolist() == [False, False, True]


def test_the_parts_of_an_area_are_those_of_its_pairs(rng):
    scores, labels = (torch.rand(40, 3, generator=rng) * 6).round(), torch.randint(3, (40,), generator=rng)
    found, parts = auc(scores, labels)
    for k, column in enumerate(scores.T):
        own, others = column[labels == k].double(), column[labels != k].double()
        ahead = (own[:, None] > others).double() + (own[:, None] == others).double() / 2
        assert found[k] == pytest.approx(ahead.mean())
        a = (ahead.mean(dim=1) - found[k]) * 40 / len(own)
        b = (ahead.mean(dim=0) - found[k]) * 40 / len(others)
        torch.testing.assert_close(parts[labels == k, k], a)
        torch.testing.assert_close(parts[labels != k, k], b)
