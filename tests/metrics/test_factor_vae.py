import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from code_tables import blurred, golden_codes, golden_factors, golden_generator, golden_table, grid
from orthogen.metrics.factor_vae import FactorVaeScore, moments, steadiest
from vectors import GOLDEN, vectors

KINDS = ("identity", "rotated", "dead", "mixed")
few = FactorVaeScore(train=2000, test=1000)


def golden_batches() -> tuple[np.ndarray, np.ndarray]:
    """Factors on which the variances were measured, and those of the 1500 batches of 64, drawn as the original does."""
    rng = golden_generator()
    whole, batches = golden_factors(rng, 2000), []
    for factor in vectors("gt_votes")["factor_index"]:
        assert rng.randint(4) == factor
        batch = golden_factors(rng, 64)
        batch[:, factor] = batch[0, factor]
        batches.append(batch)
    return whole, np.concatenate(batches)


@pytest.mark.parametrize("kind", KINDS)
def test_votes_and_accuracy_equal_the_golden_ones(kind):
    whole, batches = golden_batches()
    codes = torch.cat([golden_codes(kind, whole), golden_codes(kind, batches)])
    std = codes[:2000].std(dim=0)
    active = std >= 0.05
    # moments are taken of the whole table, the original's of its first rows: its shift does not matter, its scale does
    rows = 2000 + torch.arange(len(batches)).view(-1, 64)
    found = steadiest(moments(codes[:, active], std[active]), rows).numpy()
    golden = vectors("gt_votes")
    np.testing.assert_array_equal(found, golden[f"argmin_{kind}"])

    table = np.zeros((4, int(active.sum())))
    np.add.at(table, (golden["factor_index"][:1000], found[:1000]), 1)
    right = table.argmax(axis=0)[found[1000:]] == golden["factor_index"][1000:]
    expected = json.loads((GOLDEN / "gt_codes.json").read_text())[kind]["factor_vae"]
    assert [table.max(axis=0).sum() / 1000, right.mean()] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_golden_score_from_a_table(kind, rng):
    expected = json.loads((GOLDEN / "gt_codes.json").read_text())[kind]["factor_vae"][1]
    score = FactorVaeScore()(*golden_table(kind), rng=rng)
    # the golden one rests on 500 votes
    assert score.value == pytest.approx(expected, abs=3 * (score.stderr**2 + expected * (1 - expected) / 500) ** 0.5)


def test_fixed_points(rng):
    factors = grid(3, 4, 5).repeat(10, 1)
    perfect = factors.double()
    score = few(perfect, factors, rng=rng)
    assert (score.value, score.stderr, score.n, score.name) == (1.0, 0.0, 600, "FactorVAE score")
    assert np.argmax(score.parts["votes"], axis=0).tolist() == [0, 1, 2]
    assert few(torch.cat([perfect, perfect], dim=1), factors, rng=rng).value == 1.0  # repeated factors are allowed
    assert few(torch.full((600, 3), 0.1), factors, rng=rng).value == 0.0
    noise = few(torch.randn(600, 5, generator=rng), factors, rng=rng)
    assert noise.value == pytest.approx(1 / 3, abs=0.1)  # train and test votes share the table: above chance
    assert noise.parts["chance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("threshold", [0.05, 0.0])
def test_dead_codes_are_not_counted_and_do_not_matter(threshold, rng):
    codes, factors = golden_table("dead")  # two codes of deviation 0.007, one of 0
    score = FactorVaeScore(train=2000, test=1000, active_std=threshold)(codes, factors, rng=rng)
    assert score.value == 1.0
    assert score.parts["active_codes"] == ([0, 1, 2, 3] if threshold else [0, 1, 2, 3, 4, 5])
    assert score.parts["active"] == len(score.parts["active_codes"])
    assert score.parts["std"][6] == 0.0
    assert few(0.01 * codes, factors, rng=rng).value == 0.0  # none is active any more


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_indifferent_to_order_sign_and_scale_of_codes(seed):
    codes, factors = blurred(seed, 500)
    order = torch.randperm(codes.shape[1], generator=torch.Generator().manual_seed(seed))
    other = codes[:, order] * torch.tensor([-2.0, 1.0, 8.0, -1.0])
    plain, moved = (few(x, factors, rng=torch.Generator().manual_seed(1)).value for x in (codes, other))
    assert moved == pytest.approx(plain, abs=2e-3)  # but for ties and rounding, vote by vote


def test_factors_that_never_vary_are_left_out_and_named(rng):
    factors = torch.cat([torch.zeros(600, 1, dtype=torch.int64), grid(3, 4, 5).repeat(10, 1)], dim=1)
    score = few(factors.double(), factors, rng=rng)
    assert score.value == 1.0
    assert score.protocol["factors_not_varied"] == [0]
    assert score.parts["voted_factors"] == [1, 2, 3]
    assert few(factors.double(), factors * torch.tensor([1, 1, 0, 0]), rng=rng).value == 0.0  # one is no choice


@pytest.mark.parametrize("n", [500, 4000])
def test_standard_error_covers_the_spread_over_fresh_tables(n):
    metric = FactorVaeScore(train=2000, test=1000)
    scores = [metric(*blurred(seed, n, noise=0.8), rng=torch.Generator().manual_seed(seed)) for seed in range(60)]
    spread = np.std([score.value for score in scores], ddof=1)
    error = np.sqrt(np.mean([score.stderr**2 for score in scores]))
    assert spread / 1.3 < error < spread * 1.5, (spread, error, scores[0])


def test_a_small_table_has_a_score_without_an_error(rng):
    factors = grid(3, 4)
    score = few(factors.double(), factors, rng=rng)
    assert score.value == 1.0
    assert score.stderr is None


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FactorVaeScore(batch=1), r"FactorVaeScore\(train=10000, test=5000, batch=1, .*: give at least 1 vote"),
        (lambda: FactorVaeScore(active_std=-1.0), "active_std=-1.0, .*a standard deviation and a least entropy of 0"),
        (lambda: FactorVaeScore(active_std=float("nan")), "active_std=nan"),
        (lambda: FactorVaeScore(least_entropy=-1.0), "least_entropy=-1.0"),
        (lambda: few(torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.int64)), "1 factors; a score needs at least 2"),
        (lambda: few(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.int64)), "1 samples of 2 codes; a score needs"),
        (lambda: few(torch.full((5, 2), torch.nan), torch.zeros(5, 2, dtype=torch.int64)), "not finite"),
        (
            lambda: few(torch.rand(5, 2), torch.arange(5)[:, None] // torch.tensor([2, 1])),
            "5 samples, no two of which have the same value of factor 1; give more samples, or join values",
        ),
    ],
)
def test_mistakes(build, words):
    with pytest.raises(ValueError, match=words):
        build()
