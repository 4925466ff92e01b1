import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from code_tables import blurred, grid
from orthogen.metrics._codes import bins, checked, deviation, information, runs, spread_over_halves, varied
from orthogen.metrics._groups import Groups, error_of_share, scored

mutual_info_score = pytest.importorskip("sklearn.metrics").mutual_info_score


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), count=st.integers(2, 30))
def test_bins_are_those_of_a_histogram(seed, count):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(50, 2))
    for found, column in zip(bins(torch.tensor(values), count), values.T, strict=True):
        edges = np.histogram(column, count)[1]
        np.testing.assert_array_equal(found, np.digitize(column, edges[:-1]) - 1)


def test_a_left_edge_belongs_to_its_bin_and_the_maximum_to_the_last():
    assert bins(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]]), 4).tolist() == [[0, 1, 2, 3, 3]]
    assert len(bins(torch.full((3, 1), 0.1), 4).unique()) == 1


def test_information_equals_scikit_learn():
    codes, factors = blurred(0, 500)
    table, labels = checked("it", codes, factors)
    binned = bins(table, 20)
    mutual, entropy = information(binned, labels)
    oracle = [[mutual_info_score(label, code) for label in labels] for code in binned]
    np.testing.assert_allclose(mutual, oracle, rtol=0, atol=1e-12)
    np.testing.assert_allclose(entropy, [mutual_info_score(x, x) for x in labels], rtol=0, atol=1e-12)


def test_halves_show_the_error_of_a_mean():
    table = torch.randn(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, rng = torch.zeros(1, 400, dtype=torch.int64), torch.Generator().manual_seed(1)
    found = spread_over_halves(lambda codes, labels: codes.mean(dim=0), table, labels, 400, rng)
    np.testing.assert_allclose(found, table.std(dim=0) / 20, rtol=0.1)
    assert spread_over_halves(lambda codes, labels: codes.mean(dim=0), table, labels, 0, rng) is None
    assert spread_over_halves(lambda codes, labels: codes.mean(dim=0), table[:3], labels[:, :3], 20, rng) is None


def test_deviation_of_a_constant_is_zero_whatever_its_value():
    codes = torch.full((1000, 3), 0.1, dtype=torch.float64) * torch.tensor([1.0, 1 / 3, 1e6])
    assert deviation(codes).tolist() == [0, 0, 0]


def test_deviation_of_one_sample_is_zero():
    assert deviation(torch.randn(1, 2, generator=torch.Generator().manual_seed(0))).tolist() == [0, 0]


def test_runs_of_equal_values():
    first, last = runs(torch.tensor([[1, 1, 2, 3, 3, 3], [5, 5, 5, 5, 5, 5]]))
    assert first.tolist() == [[0, 0, 2, 3, 3, 3], [0] * 6]
    assert last.tolist() == [[1, 1, 2, 5, 5, 5], [5] * 6]
    assert runs(torch.zeros(1, 1))[1].tolist() == [[0]]


@pytest.mark.parametrize(
    ("codes", "factors", "words"),
    [
        (
            torch.zeros(5),
            torch.zeros(5, 1).long(),
            r"it was given codes of shape \(5,\) and factors of shape \(5, 1\); ",
        ),
        (torch.zeros(5, 2), torch.zeros(5).long(), r"factors of shape \(5,\); give tables of shape .*: x\[:, None\]"),
        (torch.zeros(5, 1, 2), torch.zeros(5, 1).long(), r"codes of shape \(5, 1, 2\)"),
        (torch.full((5, 2), -1e31), torch.zeros(5, 1).long(), r"codes beyond ±1e\+30; divide them by their deviation"),
    ],
)
def test_tables_that_are_none(codes, factors, words, unchecked):
    with pytest.raises(ValueError, match=words):
        checked("it", codes, factors)


def test_entropy_decides_what_varies():
    labels = torch.stack([torch.zeros(100).long(), (torch.arange(100) == 0).long(), torch.arange(100) % 2])
    rare = -(0.01 * math.log(0.01) + 0.99 * math.log(0.99))
    assert varied(labels, 0.0).tolist() == [False, True, True]
    assert varied(labels, rare + 1e-9).tolist() == [False, False, True]
    assert varied(labels, 0.7).tolist() == [False, False, False]


def lonely() -> torch.Tensor:
    """Two factors of ten rows: values of three, five and two rows; pairs, but for two rows that are alone."""
    return torch.tensor([[2, 0, 2, 0, 0, 2, 2, 2, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]])


def test_batches_share_a_value_and_are_drawn_evenly(rng):
    labels = lonely()
    factor, rows = Groups.of(labels).batches(4000, 6, rng)
    values = labels[factor[:, None], rows]
    assert (values == values[:, :1]).all()
    assert factor.double().mean() == pytest.approx(0.5, abs=0.03)
    for k, (label, shared) in enumerate(zip(labels, ([*range(10)], [*range(8)]), strict=True)):
        drawn = rows[factor == k]
        assert sorted(drawn.unique().tolist()) == shared
        share = label[drawn[:, 0]].bincount() / len(drawn)
        expected = label[shared].bincount() / len(shared)
        np.testing.assert_allclose(share, expected, atol=0.05)
        within = drawn[label[drawn[:, 0]] == label[0]].flatten().bincount(minlength=10)  # every row of a value alike
        present = within[label == label[0]].double()
        assert (present / present.mean() - 1).abs().max() < 0.1


def test_pairs_are_of_different_rows_that_share_a_value(rng):
    labels = lonely()
    factor, (one, other) = Groups.of(labels).pairs(4000, 6, rng)
    assert (labels[factor[:, None], one] == labels[factor[:, None], other]).all()
    assert (one != other).all()
    first = factor == 0
    for row in range(10):  # each of the others alike
        partners = other[first][one[first] == row].bincount(minlength=10).double()
        expected = (labels[0] == labels[0, row]).double()
        expected[row] = 0
        np.testing.assert_allclose(partners / partners.sum(), expected / expected.sum(), atol=0.06)


def test_groups_of_some_rows_hold_these_alone(rng):
    labels = grid(3, 4).repeat(20, 1).T
    some = torch.randperm(240, generator=rng)[:100]
    _, rows = Groups.of(labels, some).batches(500, 8, rng)
    _, pairs = Groups.of(labels, some).pairs(500, 8, rng)
    assert set(rows.unique().tolist()) | set(pairs.unique().tolist()) <= set(some.tolist())


def test_drawing_in_portions_gives_every_count(rng):
    groups = Groups.of(grid(3, 4).repeat(20, 1).T)
    for count in (1, 5, 300):
        factor, rows = scored(groups.batches, lambda rows: rows, count, 2000, rng)
        assert (len(factor), rows.shape) == (count, (count, 2000))


def test_error_of_a_share_of_coin_flips_is_binomial(rng):
    labels = grid(3, 4).repeat(100, 1).T
    found = [
        error_of_share(0.3, labels, lambda _, n: (torch.rand(n, generator=rng) < 0.3).double().mean(), 1000, rng)
        for _ in range(100)
    ]
    assert min(found) == pytest.approx((0.3 * 0.7 / 1000) ** 0.5)
    assert np.mean(found) == pytest.approx((0.3 * 0.7 / 1000) ** 0.5, rel=0.2)


def test_error_of_a_share_grows_with_what_the_tenths_differ_by(rng):
    labels = grid(3, 4).repeat(100, 1).T
    luck = iter(0.5 + 0.1 * torch.randn(10, generator=rng))
    found = error_of_share(0.5, labels, lambda *_: next(luck), 1000, rng)
    assert found == pytest.approx(0.1 / 10**0.5, rel=0.6)  # the binomial error alone is 0.016
    assert error_of_share(1.0, labels, lambda *_: torch.tensor(1.0), 1000, rng) == 0.0


def test_no_error_where_tenths_have_nothing_to_draw(rng):
    for labels in (lonely(), torch.zeros(2, 5, dtype=torch.int64)):
        assert error_of_share(1.0, labels, lambda *_: torch.tensor(1.0), 100, rng) is None
