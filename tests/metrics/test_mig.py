import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from code_tables import golden_codes, grid
from orthogen.metrics import mig
from orthogen.metrics._codes import information
from orthogen.metrics.mig import Mig
from vectors import GOLDEN, vectors


@pytest.mark.parametrize("kind", ["identity", "rotated", "dead", "mixed"])
def test_equals_the_golden_scores(kind):
    expected = json.loads((GOLDEN / "gt_mig.json").read_text())[kind]
    factors = vectors("gt_factors")["factors"]
    score = Mig()(golden_codes(kind, factors), torch.tensor(factors, dtype=torch.int64))
    assert score.value == pytest.approx(expected["mig"], abs=1e-9)
    np.testing.assert_allclose(score.parts["mutual_information"], expected["mutual_information"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(score.parts["entropy"], expected["entropy"], rtol=0, atol=1e-9)


def test_fixed_points():
    factors = grid(3, 4, 5)
    perfect = factors.double()
    assert Mig()(perfect, factors).value == pytest.approx(1.0)
    assert Mig()(torch.zeros(60, 3), factors).value == 0.0
    twice = torch.cat([perfect, perfect], dim=1)  # each factor has two equal codes: no gap
    assert Mig()(twice, factors).value == pytest.approx(0.0, abs=1e-12)
    score = Mig()(perfect, factors)
    assert score.parts["best_code"] == [0, 1, 2]
    assert score.parts["entropy"] == pytest.approx([math.log(3), math.log(4), math.log(5)])
    assert score.n == 60
    assert score.name == "MIG"


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_indifferent_to_order_and_scale(seed, scale):
    rng = torch.Generator().manual_seed(seed)
    factors = torch.stack([torch.randint(size, (200,), generator=rng) for size in (2, 5)], dim=1)
    codes = torch.randn(200, 4, generator=rng, dtype=torch.float64) + factors[:, [0, 1, 0, 1]]
    shuffled = codes[:, torch.randperm(4, generator=rng)] * scale
    rows = torch.randperm(200, generator=rng)
    assert Mig()(shuffled[rows], factors[rows]).value == pytest.approx(Mig()(codes, factors).value, abs=1e-12)


def test_factor_values_are_labels():
    factors = grid(3, 4)
    assert Mig()(factors.double(), 7 * factors - 100).value == pytest.approx(1.0)


def test_factors_that_never_vary_are_left_out_and_named():
    factors = grid(3, 4)
    still = torch.cat([factors, torch.full((12, 1), 5)], dim=1)
    score = Mig()(factors.double(), still)
    assert score.value == pytest.approx(1.0)
    assert score.protocol["factors_not_varied"] == [2]
    assert score.parts["gap"][2] is None
    rare = still.clone()
    rare = rare.repeat(100, 1)
    rare[0, 2] = 6  # one misread image in 1200
    assert Mig()(factors.double().repeat(100, 1), rare).protocol["factors_not_varied"] == [2]
    nothing = Mig()(factors.double(), torch.zeros(12, 2, dtype=torch.int64))
    assert (nothing.value, nothing.stderr) == (0.0, 0.0)
    assert nothing.protocol["factors_not_varied"] == [0, 1]


def test_information_of_the_whole_table_is_measured_once(monkeypatch):
    calls = []
    monkeypatch.setattr(mig, "information", lambda *given: calls.append(1) or information(*given))
    Mig(halves=0)(grid(3, 4).double(), grid(3, 4))
    assert len(calls) == 1


def test_standard_error_is_the_spread_over_samples():
    values, errors = [], []
    for seed in range(150):
        rng = torch.Generator().manual_seed(seed)
        factors = torch.stack([torch.randint(size, (1000,), generator=rng) for size in (3, 6)], dim=1)
        codes = factors[:, [0, 1, 1]] + torch.tensor([0.5, 0.5, 2.0]) * torch.randn(1000, 3, generator=rng)
        score = Mig()(codes, factors)
        values.append(score.value)
        errors.append(score.stderr)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Mig(bins=1), r"Mig\(bins=1, least_entropy=0.05, halves=20\): give at least 2 bins, a least entropy"),
        (lambda: Mig(least_entropy=math.nan), "least_entropy=nan"),
        (lambda: Mig(halves=-3), r"halves=-3\): .* 0 or at least 2 halves"),
        (lambda: Mig(halves=1), r"halves=1\)"),
        (lambda: Mig()(torch.zeros(5, 1), torch.zeros(5, 1, dtype=torch.int64)), "5 samples of 1 codes; a gap needs"),
        (lambda: Mig()(torch.zeros(5, 2), torch.zeros(4, 1, dtype=torch.int64)), "5 codes and 4 rows of factors; give"),
        (lambda: Mig()(torch.zeros(5, 2), torch.zeros(5, 0, dtype=torch.int64)), "0 factors; a gap needs at least 1"),
        (lambda: Mig()(torch.full((5, 2), math.nan), torch.zeros(5, 1, dtype=torch.int64)), "not finite"),
    ],
)
def test_mistakes(build, words, unchecked):
    with pytest.raises(ValueError, match=words):
        build()
