"""What every score of codes against factors keeps."""

import pytest
import torch

from contracts import scores
from contracts.members import members
from orthogen.core.kinds import CodeMetric

every = pytest.mark.parametrize("member", members(CodeMetric))

SIZES = (3, 6, 8)


def table(n=3000):
    """Random factor classes, and the code that has one component for each, scaled to [-1, 1]."""
    rng = torch.Generator().manual_seed(0)
    factors = torch.stack([torch.randint(size, (n,), generator=rng) for size in SIZES], dim=1)
    codes = 2 * factors.double() / (torch.tensor(SIZES) - 1) - 1
    return codes + 0.02 * torch.randn(codes.shape, generator=rng, dtype=torch.float64), factors


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
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    identity, mixed = measure(member, codes, factors).value, measure(member, codes @ turn, factors).value
    constant = measure(member, torch.ones_like(codes), factors)
    scores.check(constant)
    assert identity > 0.9
    assert identity > mixed + 0.2
    assert constant.value == 0


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
