"""What every score of generated against real features keeps."""

import pytest
import torch

from contracts import scores
from contracts.examples import MeanGap
from contracts.members import members
from orthogen.core.kinds import ImageMetric

every = pytest.mark.parametrize("member", members(ImageMetric, example=MeanGap))


def features(dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    real, fake = torch.randn(200, 8, generator=rng), 1.5 * torch.randn(150, 8, generator=rng) + 0.3
    return real.to(dtype), fake.to(dtype)


def measure(member, real, fake, seed=1):
    return member()(real, fake, rng=torch.Generator().manual_seed(seed))


@every
def test_gives_a_score(member):
    scores.check(measure(member, *features()))


@every
def test_a_seed_fixes_the_score_and_the_global_generator_is_not_touched(member):
    before = torch.get_rng_state()
    assert measure(member, *features()) == measure(member, *features())
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_the_order_of_the_images_does_not_matter(member):
    real, fake = features()
    plain = measure(member, real, fake)
    close = pytest.approx(plain.value, rel=1e-6, abs=0.1 * (plain.stderr or 0))  # where subsets are drawn
    assert measure(member, real.flip(0), fake.flip(0)).value == close


@every
def test_the_same_features_score_other_than_others(member):
    real, fake = features()
    assert measure(member, real, real).value != measure(member, real, fake).value


@every
def test_float32_and_float64_agree(member):
    single, double = (measure(member, *features(dtype)).value for dtype in (torch.float32, torch.float64))
    assert single == pytest.approx(double, rel=1e-3)
