"""What every score of codes against factors keeps."""

import pytest
import torch

from contracts import scores
from contracts.members import members
from orthogen.core.kinds import CodeMetric

every = pytest.mark.parametrize("member", members(CodeMetric))

SIZES = (3, 6, 8)

# What a definition gives a perfect code where that is not close to 1: a linear classifier on one axis cannot separate
# many levels, so the discrete SAP of one is 0.26 in the golden vectors.
PERFECT = {"Sap": 0.15}
# Definitions by which a turned code can be as good as a straight one: they ask what varies when a factor does not.
TURNED_IS_AS_GOOD = {"FactorVaeScore", "BetaVaeScore"}


def table(n=3000):
    """Random factor classes, and the code that has one component for each, scaled to [-1, 1]."""
    rng = torch.Generator().manual_seed(0)
    factors = torch.stack([torch.randint(size, (n,), generator=rng) for size in SIZES], dim=1)
    codes = 2 * factors.double() / (torch.tensor(SIZES) - 1) - 1
    return codes + 0.02 * torch.randn(codes.shape, generator=rng, dtype=torch.float64), factors


def smeared(codes):
    """Each component equal parts of all, with noise: tells some of everything and nothing in particular."""
    rng = torch.Generator().manual_seed(3)
    every_sign = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]], dtype=torch.float64)
    return codes @ every_sign / 3**0.5 + torch.randn(codes.shape, generator=rng, dtype=torch.float64)


def measure(member, codes, factors, seed=1):
    return member()(codes, factors, rng=torch.Generator().manual_seed(seed))


@every
def test_gives_a_score(member):
    scores.check(measure(member, *table()))


@every
def test_a_seed_fixes_the_score_and_the_global_generator_is_not_touched(member):
    before = torch.get_rng_state()
    assert measure(member, *table()) == measure(member, *table())
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_fixed_points(member):
    codes, factors = table()
    identity = measure(member, codes, factors).value
    least = PERFECT.get(member.__name__, 0.9)
    assert least < identity <= 1
    assert measure(member, smeared(codes), factors).value < identity - min(0.2, least)
    constant = measure(member, torch.ones_like(codes), factors)
    scores.check(constant)
    assert constant.value == 0


@every
def test_a_turned_code_is_worse(member):
    codes, factors = table()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    identity, turned = measure(member, codes, factors).value, measure(member, codes @ turn, factors).value
    if member.__name__ in TURNED_IS_AS_GOOD:
        assert turned <= identity
    else:
        assert turned < identity - min(0.15, PERFECT.get(member.__name__, 1) / 2)


@every
def test_dead_dimensions_and_still_factors_give_finite_scores(member):
    codes, factors = table()
    padded = torch.cat([codes, torch.full_like(codes[:, :2], 0.1)], dim=1)
    scores.check(measure(member, padded, factors))
    scores.check(measure(member, codes, torch.cat([factors, torch.ones_like(factors[:, :1])], dim=1)))
    nothing = measure(member, codes, torch.ones_like(factors))
    scores.check(nothing)
    assert nothing.value == 0


@every
def test_codes_that_are_not_finite_are_refused(member):
    codes, factors = table()
    codes[7, 1] = torch.nan
    with pytest.raises(ValueError, match=r"not finite"):
        measure(member, codes, factors)


@every
def test_order_of_samples_order_of_codes_and_scale_do_not_matter(member):
    codes, factors = table()
    plain = measure(member, codes, factors)
    rows = torch.randperm(len(codes), generator=torch.Generator().manual_seed(2))
    close = pytest.approx(plain.value, abs=max(1e-9, 0.1 * (plain.stderr or 0)))  # where samples are drawn
    assert measure(member, codes[rows], factors[rows]).value == close
    assert measure(member, codes[:, [2, 0, 1]], factors).value == close
    assert measure(member, 8 * codes, factors).value == close


@every
def test_factor_classes_are_labels(member):
    codes, factors = table()
    assert measure(member, codes, factors + 5).value == pytest.approx(measure(member, codes, factors).value, abs=1e-9)


@every
def test_float32_and_float64_agree(member):
    codes, factors = table()
    single = measure(member, codes.float(), factors).value
    assert single == pytest.approx(measure(member, codes, factors).value, abs=0.01)


@every
def test_codes_are_not_changed(member):
    codes, factors = table()
    before = codes.clone(), factors.clone()
    measure(member, codes, factors)
    assert torch.equal(codes, before[0])
    assert torch.equal(factors, before[1])
