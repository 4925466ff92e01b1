import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from code_tables import blurred, golden_table, grid
from orthogen.metrics.modularity import Modularity
from vectors import GOLDEN

KINDS = ("identity", "rotated", "dead", "mixed")
quick = Modularity(explicitness=False)


def golden(kind: str) -> dict:
    return json.loads((GOLDEN / "gt_codes.json").read_text())[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_golden_scores(kind):
    assert quick(*golden_table(kind)).value == pytest.approx(golden(kind)["modularity"], abs=1e-9)


def test_explicitness_does_not_depend_on_the_order_of_rows():
    factors = grid(3, 6, 8, 8)
    codes = factors + 0.3 * torch.randn(factors.shape, generator=torch.Generator().manual_seed(0))
    rows = torch.randperm(len(codes), generator=torch.Generator().manual_seed(1))
    for order in (torch.arange(len(codes)), rows):  # the first two thirds of the first lack a value
        parts = Modularity(halves=0)(codes[order], factors[order], rng=torch.Generator().manual_seed(2)).parts
        assert min(parts["explicitness_test_by_factor"]) > 0.98


def test_explicitness_with_dead_codes_is_that_without():
    codes, factors = golden_table("dead", with_test_rows=True)  # the original divides by zero
    dead, plain = (
        Modularity(halves=0)(x, factors, rng=torch.Generator().manual_seed(0)).parts for x in (codes, codes[:, :6])
    )
    assert dead == plain | {key: dead[key] for key in ("modularity", "modularity_stderr")}
    assert dead["explicitness_test"] > 0.999


def test_explicitness_of_golden_codes_and_its_error():
    codes, factors = golden_table("mixed")
    score = Modularity()(codes, factors, rng=torch.Generator().manual_seed(0))
    expected = np.mean(golden("mixed")["explicitness"], axis=0)[1]  # learned on these rows, tested on others
    ((name, part),) = score.named_parts()
    assert name == "explicitness_test"
    assert 0 < part.stderr < 0.02
    assert part.value == pytest.approx(expected, abs=4 * part.stderr)


def test_explicitness_covers_the_spread_over_fresh_tables():
    scores = [
        Modularity(halves=0)(*blurred(seed, 600, noise=0.8), rng=torch.Generator().manual_seed(seed)).parts
        for seed in range(60)
    ]
    spread = np.std([parts["explicitness_test"] for parts in scores], ddof=1)
    assert spread / 1.3 < np.mean([parts["explicitness_test_stderr"] for parts in scores]) < spread * 1.3


def test_two_and_three_samples_have_a_score_without_an_error():
    factors = torch.tensor([[0, 1], [1, 0], [1, 1]])
    for n in (2, 3):
        score = Modularity()(factors[:n].double(), factors[:n])
        assert 0 <= score.value <= 1
        assert score.stderr is None


def test_fixed_points():
    factors = grid(3, 4, 5)
    perfect = factors.double()
    score = quick(perfect, factors)
    assert (score.value, score.n, score.name) == (1.0, 60, "Modularity")
    assert quick(torch.cat([perfect, perfect], dim=1), factors).value == 1.0  # repeating a factor is modular
    assert quick(torch.cat([perfect, perfect[:, :1] * 0], dim=1), factors).value == pytest.approx(0.75)  # 3 of 4 know
    constant = Modularity()(torch.full((60, 3), 0.1), factors)
    assert (constant.value, constant.stderr) == (0.0, 0.0)
    assert constant.parts["explicitness_train"] == 0.5
    for value in (0.1, 1.0, 7.3):  # rounding is no information
        assert quick(torch.full((3000, 2), value), blurred(0, 3000)[1]).value == 0.0


def test_a_code_that_knows_two_factors_alike_has_half_the_modularity_of_three():
    factors = grid(4, 4, 4)
    codes = (4.0 * factors[:, :1] + factors[:, 1:2]).double()  # 16 values: I = log 4 with two factors, 0 with the third
    assert quick(codes, factors).value == pytest.approx(0.5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_indifferent_to_order_and_scale(seed, scale):
    codes, factors = blurred(seed, 200)
    rng = torch.Generator().manual_seed(seed)
    rows, order = torch.randperm(200, generator=rng), torch.randperm(codes.shape[1], generator=rng)
    moved = quick(scale * codes[rows][:, order], factors[rows])
    assert moved.value == pytest.approx(quick(codes, factors).value, abs=1e-9)


def test_explicitness_does_not_depend_on_scale_and_shift_of_codes():
    codes, factors = blurred(0, 600)
    plain, moved = (
        Modularity()(x, factors, rng=torch.Generator().manual_seed(0)).parts["explicitness_test_by_factor"]
        for x in (codes, 5 - 7 * codes)
    )
    assert moved == pytest.approx(plain, abs=1e-6)


def test_factors_that_never_vary_are_left_out_and_named():
    factors = torch.cat([torch.zeros(60, 1, dtype=torch.int64), grid(3, 4, 5)], dim=1)
    score = Modularity()(factors.double()[:, 1:], factors)
    assert score.value == 1.0
    assert score.protocol["factors_not_varied"] == [0]
    assert score.parts["explicitness_test_by_factor"][0] is None
    alone = Modularity()(factors.double(), factors * torch.tensor([1, 1, 0, 0]))
    assert (alone.value, alone.stderr) == (0.0, 0.0)
    still = Modularity()(factors.double(), factors * 0)
    assert still.parts["explicitness_test"] is None


@pytest.mark.parametrize("used", [3, 4], ids=["codes that know", "and one of noise"])
@pytest.mark.parametrize(("n", "most"), [(500, 1.7), (4000, 1.25)])  # halves of few samples scatter more than halves do
def test_standard_error_is_the_spread_over_samples(n, used, most):
    tables = [blurred(seed, n) for seed in range(100)]
    scores = [quick(codes[:, :used], factors) for codes, factors in tables]
    spread = np.std([score.value for score in scores], ddof=1)
    assert 0.8 * spread < np.mean([score.stderr for score in scores]) < most * spread


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Modularity(bins=1), r"Modularity\(bins=1, .*: give at least 2 bins, a share between 0 and 1"),
        (lambda: Modularity(train_share=1.0), r"Modularity\(bins=20, train_share=1.0, "),
        (lambda: Modularity(strength=float("inf")), "strength=inf, .*give .* a positive strength"),
        (lambda: Modularity(least_entropy=-1.0), "least_entropy=-1.0, .*a least entropy of 0 or more"),
        (lambda: Modularity(halves=-3), r"halves=-3\): .* 0 or at least 2 halves"),
        (lambda: Modularity(halves=1), r"halves=1\)"),
        (lambda: quick(torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.int64)), "1 factors; a score needs at least 2"),
        (lambda: quick(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.int64)), "1 samples of 2 codes; a score needs"),
        (lambda: quick(torch.full((5, 2), torch.nan), torch.zeros(5, 2, dtype=torch.int64)), "not finite"),
    ],
)
def test_mistakes(build, words):
    with pytest.raises(ValueError, match=words):
        build()
