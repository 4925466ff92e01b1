import numpy as np
import pytest
import torch

from orthogen.metrics.fid import Fid
from orthogen.metrics.fid_infinity import FidInfinity


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=rng, dtype=torch.float64) + shift


REFERENCE = normal(20_000, 8, seed=10**6)


@pytest.mark.parametrize(("shift", "scale", "true"), [(0.0, 1.0, 0.0), (0.3, 1.2, 8 * (0.3**2 + 0.2**2))])
def test_the_bias_is_gone_and_the_standard_error_is_the_spread(shift, scale, true):
    rng, made = torch.Generator().manual_seed(0), [normal(300, 8, seed, scale, shift) for seed in range(40)]
    found = [FidInfinity()(REFERENCE, fake, rng=rng) for fake in made]
    values = np.array([score.value for score in found])
    spread = values.std(ddof=1)
    assert values.mean() == pytest.approx(true, abs=3 * spread / 40**0.5)
    at_n = np.mean([Fid()(REFERENCE, fake).value for fake in made])
    assert at_n - true > 6 * spread / 40**0.5  # which is biased
    assert 1 / 1.5 < np.mean([score.stderr for score in found]) / spread < 1.7


def test_parts():
    fake = normal(400, 8, scale=1.2)
    score = FidInfinity()(REFERENCE, fake, rng=torch.Generator().manual_seed(0))
    assert score.name == "Frechet distance, infinite samples"
    assert score.parts["sizes"] == [400, 200, 133, 100, 80]
    assert score.parts["distances"] == sorted(score.parts["distances"])
    assert score.parts["at_n"] == score.parts["distances"][0] == pytest.approx(Fid()(REFERENCE, fake).value)
    assert score.value == pytest.approx(score.parts["at_n"] - score.parts["slope"] / 400, rel=0.05)
    assert score.stderr > score.parts["at_n_stderr"]
    assert score.parts["curved"] is False
    assert "note" not in score.parts
    few = FidInfinity()(REFERENCE, normal(60, 8)).parts
    assert few["curved"] is True
    assert few["note"] == (
        "too low: the smallest parts have 12 images for 8 features, too few to follow the line; generate at least 80 "
        "images, or take Kid"
    )
    assert "note" not in FidInfinity()(REFERENCE, normal(80, 8)).parts


def test_the_line_is_the_least_squares_one():
    score = FidInfinity(cuts=4)(REFERENCE, normal(240, 8))
    slope, intercept = np.polyfit(1 / np.array(score.parts["sizes"]), score.parts["distances"], 1)
    assert score.value == pytest.approx(intercept)
    assert score.parts["slope"] == pytest.approx(slope)


def test_mistakes():
    with pytest.raises(ValueError, match=r"^FidInfinity\(cuts=2\): a line with an error needs at least 3 sizes$"):
        FidInfinity(cuts=2)
    with pytest.raises(ValueError, match=r"^FidInfinity was given 20000 real and 9 generated images; at least 10"):
        FidInfinity()(REFERENCE, normal(9, 8))
