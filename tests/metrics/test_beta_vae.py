import json

import numpy as np
import pytest
import torch

from code_tables import blurred, golden_codes, golden_factors, golden_generator, golden_table, grid
from orthogen.metrics import _logistic
from orthogen.metrics.beta_vae import BetaVaeScore, differences
from vectors import GOLDEN

KINDS = ("identity", "rotated", "dead", "mixed")
few = BetaVaeScore(train=2000, test=1000)


def golden(kind: str) -> list[float]:
    return json.loads((GOLDEN / "gt_codes.json").read_text())[kind]["beta_vae"]


def golden_points(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The 1500 points and their factors, drawn as the original does."""
    rng = golden_generator()
    factors, ones, others = [], [], []
    for _ in range(1500):
        factors.append(rng.randint(4))
        one, other = golden_factors(rng, 64), golden_factors(rng, 64)
        other[:, factors[-1]] = one[:, factors[-1]]
        ones.append(one)
        others.append(other)
    codes = golden_codes(kind, np.concatenate([*ones, *others]))
    return differences(codes, torch.arange(len(codes)).view(2, 1500, 64)), torch.tensor(factors)


@pytest.mark.parametrize("kind", KINDS)
def test_accuracies_on_the_golden_draws(kind):
    x, factor = golden_points(kind)
    right = _logistic.fit(x[:1000], factor[:1000])(x).argmax(dim=1) == factor
    found = [right[:1000].double().mean().item(), right[1000:].double().mean().item()]
    assert found == pytest.approx(golden(kind), abs=0.01)  # which scikit-learn's own versions differ by


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_golden_score_from_a_table(kind, rng):
    expected = golden(kind)[1]
    score = BetaVaeScore()(*golden_table(kind), rng=rng)
    # the golden one was learned on 1000 points, and rests on 500
    assert score.value == pytest.approx(
        expected, abs=0.01 + 3 * (score.stderr**2 + expected * (1 - expected) / 500) ** 0.5
    )


def test_differences_are_means_over_pairs(rng):
    codes, pairs = torch.randn(50, 3, generator=rng), torch.randint(50, (2, 400, 200), generator=rng)
    expected = (codes[pairs[0]] - codes[pairs[1]]).abs().mean(dim=1)
    torch.testing.assert_close(differences(codes, pairs), expected)


def test_fixed_points(rng):
    factors = grid(3, 4, 5).repeat(10, 1)
    perfect = factors.double()
    score = few(perfect, factors, rng=rng)
    assert (score.value, score.stderr, score.n, score.name) == (1.0, 0.0, 600, "BetaVAE score")
    turn = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64)).Q
    assert few(perfect @ turn, factors, rng=rng).value > 0.9  # a rotation is no obstacle
    assert few(torch.cat([perfect, perfect], dim=1), factors, rng=rng).value == 1.0
    constant = few(torch.full((600, 3), 0.1), factors, rng=rng)
    assert (constant.value, constant.stderr, constant.parts["varying_codes"]) == (0.0, 0.0, 0)
    noise = few(torch.randn(600, 5, generator=rng), factors, rng=rng)
    assert noise.value == pytest.approx(1 / 3, abs=0.1)


def test_constant_codes_beside_others_do_not_matter():
    codes, factors = blurred(0, 500)
    padded = torch.cat([codes, torch.full((500, 2), 0.1)], dim=1)
    plain, more = (few(x, factors, rng=torch.Generator().manual_seed(1)) for x in (codes, padded))
    assert more.value == plain.value
    assert more.parts["varying_codes"] == 4


def test_shift_and_sign_do_not_matter():
    codes, factors = blurred(0, 500)
    moved = (codes + 1000) * torch.tensor([-1.0, 1.0, -1.0, 1.0])
    plain, other = (few(x, factors, rng=torch.Generator().manual_seed(1)) for x in (codes, moved))
    assert other.value == pytest.approx(plain.value, abs=2e-3)


def test_very_large_codes_are_as_good():
    codes, factors = blurred(0, 1000)
    scores = [few(scale * codes, factors, rng=torch.Generator().manual_seed(1)) for scale in (1e3, 1e8, 1e20)]
    assert [score.value for score in scores] == pytest.approx([scores[0].value] * 3, abs=0.005)
    assert scores[0].value > 0.95
    uneven = few(codes * torch.tensor([1.0, 1e3, 1e-3, 1e6]), factors, rng=torch.Generator().manual_seed(1))
    assert uneven.value > 0.9


def test_factors_that_never_vary_are_left_out_and_named(rng):
    factors = torch.cat([torch.zeros(600, 1, dtype=torch.int64), grid(3, 4, 5).repeat(10, 1)], dim=1)
    score = few(factors.double(), factors, rng=rng)
    assert score.value == 1.0
    assert score.protocol["factors_not_varied"] == [0]
    assert few(factors.double(), factors * torch.tensor([1, 1, 0, 0]), rng=rng).value == 0.0


def test_a_single_training_point_guesses_its_factor(rng):
    factors = grid(2, 2).repeat(50, 1)
    score = BetaVaeScore(train=1, test=2000)(factors.double(), factors, rng=rng)
    assert score.value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n", [500, 4000])
def test_standard_error_covers_the_spread_over_fresh_tables(n):
    metric = BetaVaeScore(train=2000, test=1000, batch=8)
    scores = [metric(*blurred(seed, n, noise=0.8), rng=torch.Generator().manual_seed(seed)) for seed in range(60)]
    spread = np.std([score.value for score in scores], ddof=1)
    error = np.sqrt(np.mean([score.stderr**2 for score in scores]))
    assert spread / 1.3 < error < spread * 1.5, (spread, error, scores[0])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: BetaVaeScore(strength=0.0), r"BetaVaeScore\(.*strength=0.0, .*\): give at least 1 point of each kind"),
        (lambda: BetaVaeScore(strength=float("inf")), "strength=inf"),
        (lambda: BetaVaeScore(least_entropy=-1.0), "least_entropy=-1.0.*a least entropy of 0 or more"),
        (lambda: few(torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.int64)), "1 factors; a score needs at least 2"),
        (lambda: few(torch.full((5, 2), torch.inf), torch.zeros(5, 2, dtype=torch.int64)), "not finite"),
        (
            lambda: few(torch.rand(5, 2), torch.arange(5)[:, None] // torch.tensor([2, 1])),
            "5 samples, no two of which have the same value of factor 1; give more samples, or join values",
        ),
    ],
)
def test_mistakes(build, words):
    with pytest.raises(ValueError, match=words):
        build()
