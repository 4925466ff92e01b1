import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from code_tables import blurred, golden_table, grid
from orthogen.metrics import irs
from orthogen.metrics.irs import Irs
from vectors import GOLDEN

KINDS = ("identity", "rotated", "dead", "mixed")


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_golden_scores(kind):
    expected = json.loads((GOLDEN / "gt_codes.json").read_text())[kind]
    score = Irs()(*golden_table(kind))
    assert score.value == pytest.approx(expected["irs"], abs=1e-9)
    dead = [None] if kind == "dead" else []  # which the original drops from its lists
    assert score.parts["best_factor"] == expected["irs_parents"] + dead
    assert score.parts["robustness"][: len(expected["irs_codes"])] == pytest.approx(expected["irs_codes"], abs=1e-9)
    assert score.parts["varying_codes"] == len(expected["irs_codes"])  # the original gives the sum of the codes
    assert Irs(quantile=1.0)(*golden_table(kind)).value == pytest.approx(expected["irs_maximum"], abs=1e-9)


def plain(codes: np.ndarray, factors: np.ndarray, quantile: float) -> float:
    """The definition, level by level."""
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    within = np.zeros((codes.shape[1], factors.shape[1]))
    for i, factor in enumerate(factors.T):
        for value in np.unique(factor):
            rows = codes[factor == value]
            distance = np.abs(rows - rows.mean(axis=0))
            within[:, i] += np.percentile(distance, 100 * quantile, axis=0) / len(np.unique(factor))
    return float(np.average((1 - within / largest[:, None]).max(axis=1), weights=largest))


@settings(max_examples=20)
@example(seed=1, quantile=0.9, n=120)  # a tenth has six of a level's 26 samples, and takes its mean along
@given(seed=st.integers(0, 1000), quantile=st.sampled_from([0.3, 0.5, 0.9, 0.99, 1.0]), n=st.integers(30, 300))
def test_equals_the_definition_and_its_jackknife(seed, quantile, n):
    codes, factors = blurred(seed, n)
    score = Irs(quantile=quantile)(codes, factors, rng=torch.Generator().manual_seed(seed))
    a, b = codes.numpy(), factors.numpy()
    assert score.value == pytest.approx(plain(a, b, quantile), abs=1e-12)
    part = (torch.randperm(n, generator=torch.Generator().manual_seed(seed)) % 10).numpy()
    without = [plain(a[part != i], b[part != i], quantile) for i in range(10)]
    assert score.stderr == pytest.approx((9 * np.var(without)) ** 0.5, rel=1e-6, abs=1e-12)


def test_codes_in_portions_give_the_same(monkeypatch):
    whole = Irs()(*golden_table("identity"), rng=torch.Generator().manual_seed(0))
    monkeypatch.setattr(irs, "AT_ONCE", 1)
    assert Irs()(*golden_table("identity"), rng=torch.Generator().manual_seed(0)) == whole


def test_factors_of_many_values_are_cut_into_bins():
    factors = torch.arange(4000)[:, None] % 40
    codes = factors.double()
    assert Irs(bins=40)(codes, factors).value == 1.0
    # two values share a bin: half a step from its middle, of 19.5 at most
    assert Irs()(codes, factors).value == pytest.approx(1 - 0.5 / 19.5)


@pytest.mark.parametrize("ids", [[0, 1, 1000], [-7, 0, 1], [0, 1, 2**60]])
def test_only_the_order_of_factor_values_counts(ids, rng):
    factors = torch.randint(3, (2000, 1), generator=rng)
    assert Irs()(factors.double(), torch.tensor(ids)[factors]).value == 1.0


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), n=st.integers(2, 9), shift=st.sampled_from([-100.0, 3.0, 1e4]))
def test_few_samples_may_lie_anywhere(seed, n, shift):
    codes, factors = blurred(seed, n)
    factors[:2] = torch.tensor([[0, 0, 0], [1, 1, 1]])
    plain_score, moved = Irs()(codes, factors), Irs()(codes + shift, factors)
    assert plain_score.value == pytest.approx(plain(codes.numpy(), factors.numpy(), 0.99), abs=1e-12)
    assert moved.value == pytest.approx(plain_score.value, abs=1e-9)
    assert moved.stderr is None


def test_a_code_that_one_sample_alone_moves_has_an_error():
    factors = grid(2, 3).repeat(5, 1)
    codes = torch.zeros(30, 1)
    codes[7] = 1.0  # constant without its tenth
    score = Irs()(codes, factors)
    assert 0 < score.stderr < 3


def test_fixed_points(rng):
    factors = grid(3, 4, 5).repeat(5, 1)
    perfect = factors.double()
    score = Irs()(perfect, factors)
    assert (score.value, score.stderr, score.n, score.name) == (1.0, 0.0, 300, "IRS")
    assert score.parts["best_factor"] == [0, 1, 2]
    assert Irs()(torch.cat([perfect, perfect, 0 * perfect], dim=1), factors).value == 1.0
    constant = Irs()(torch.full((300, 2), 0.1), factors)
    assert (constant.value, constant.stderr) == (0.0, 0.0)
    assert constant.parts["robustness"] == [None, None]
    turn = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64)).Q
    assert Irs()(perfect @ turn, factors).value < 0.8
    noise = Irs(quantile=1.0)(torch.rand(300, 2, generator=rng), factors)
    assert abs(noise.value) < 0.1


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([-1.0, 0.5, 8.0]))
def test_indifferent_to_order_sign_and_common_scale(seed, scale):
    codes, factors = blurred(seed, 200)
    rng = torch.Generator().manual_seed(seed)
    rows, order = torch.randperm(200, generator=rng), torch.randperm(codes.shape[1], generator=rng)
    moved = Irs()(scale * codes[rows][:, order] + 3, factors[rows])
    assert moved.value == pytest.approx(Irs()(codes, factors).value, abs=1e-9)


def test_factors_that_never_vary_are_left_out_and_named():
    factors = torch.cat([torch.zeros(60, 1, dtype=torch.int64), grid(3, 4, 5)], dim=1)
    score = Irs()(factors.double()[:, 1:], factors)
    assert score.value == 1.0
    assert score.protocol["factors_not_varied"] == [0]
    assert score.parts["best_factor"] == [1, 2, 3]
    still = Irs()(factors.double(), factors * 0)
    assert (still.value, still.stderr) == (0.0, 0.0)


@pytest.mark.parametrize("n", [500, 4000])
def test_standard_error_is_the_spread_over_samples(n):
    scores = [Irs()(*blurred(seed, n), rng=torch.Generator().manual_seed(seed)) for seed in range(100)]
    spread = np.std([score.value for score in scores], ddof=1)
    error = math.sqrt(np.mean([score.stderr**2 for score in scores]))
    assert spread / 1.3 < error < spread * 1.5


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Irs(quantile=0.0), r"Irs\(quantile=0.0, bins=20, .*\): give a quantile in \(0, 1\], at least 2 bins"),
        (lambda: Irs(bins=1), r"Irs\(quantile=0.99, bins=1, "),
        (lambda: Irs(least_entropy=-1.0), "least_entropy=-1.0.*a least entropy of 0 or more"),
        (lambda: Irs()(torch.zeros(5, 2), torch.zeros(5, 0, dtype=torch.int64)), "0 factors; a score needs at least 1"),
        (lambda: Irs()(torch.full((5, 2), torch.nan), torch.zeros(5, 1, dtype=torch.int64)), "not finite"),
    ],
)
def test_mistakes(build, words):
    with pytest.raises(ValueError, match=words):
        build()
