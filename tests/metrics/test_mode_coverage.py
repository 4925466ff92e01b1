import math

import numpy as np
import pytest
import torch

from orthogen.metrics.mode_coverage import ModeCoverage


def seen(counts):
    """Logits of images of which a classifier says so."""
    return torch.eye(len(counts), dtype=torch.float64).repeat_interleave(torch.tensor(counts), dim=0)


def test_shares_counts_and_divergence():
    score = ModeCoverage()(seen([50, 30, 20, 0]), seen([90, 10, 0, 0]))
    parts = score.parts
    assert score.value == 2.0
    assert (score.name, score.n, parts["modes"], parts["missed"]) == ("modes covered", 100, 3, [2])
    assert (parts["counts"], parts["counts_real"]) == ([90, 10, 0, 0], [50, 30, 20, 0])
    assert parts["share"] == [0.9, 0.1, 0.0, 0.0]
    assert parts["share_stderr"] == pytest.approx([0.03, 0.03, 0, 0])
    assert (parts["largest_class"], parts["largest"]) == (0, 0.9)
    assert parts["entropy"] == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert parts["divergence"] == pytest.approx(0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.3))


def test_fixed_points():
    x = seen([25] * 4)
    same = ModeCoverage()(x, x)
    assert (same.value, same.parts["divergence"]) == (4.0, 0.0)
    assert same.parts["entropy"] == pytest.approx(math.log(4))
    assert same.stderr == pytest.approx(0, abs=1e-3)
    one = ModeCoverage()(x, seen([0, 7, 0, 0]))
    assert (one.value, one.stderr) == (1.0, 0.0)
    assert one.parts["divergence"] == pytest.approx(math.log(4))


def test_a_class_that_no_real_image_has_is_no_mode():
    score = ModeCoverage()(seen([50, 50, 0]), seen([40, 40, 20]))
    assert (score.value, score.parts["modes"], score.parts["divergence"]) == (2.0, 2, None)


def test_the_fraction_decides():
    real, fake = seen([50, 50]), seen([95, 5])
    assert [ModeCoverage(fraction=f)(real, fake).value for f in (0.0, 0.1, 0.11, 1.0)] == [2.0, 2.0, 1.0, 1.0]
    assert ModeCoverage(fraction=0.0)(real, seen([100, 0])).value == 1.0  # from the first image on


def test_a_third_of_one_class_shows():
    """As of a generator of digits that makes too many ones."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(3000, [0.0741, 1 / 3, *[0.0741] * 8], size=20)
    for row in counts:
        parts = ModeCoverage()(seen([300] * 10), seen(row.tolist())).parts
        assert parts["largest_class"] == 1
        assert abs(parts["largest"] - 1 / 3) < 4 * parts["largest_stderr"]
        assert parts["entropy"] < parts["entropy_real"] - 0.1


def test_the_standard_error_is_the_spread_over_fresh_samples():
    real, rng = seen([100] * 10), np.random.default_rng(0)
    shares = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.06, 0.012, 0.011, 0.009, 0.008])
    found = [ModeCoverage()(real, seen(row.tolist())) for row in rng.multinomial(500, shares, size=200)]
    spread = np.std([score.value for score in found], ddof=1)
    assert 1 / 1.5 < np.mean([score.stderr for score in found]) / spread < 1.5


def test_mistakes():
    x = seen([5, 5])
    with pytest.raises(
        ValueError, match=r"^ModeCoverage\(fraction=-1.0\): give a share of the real images' share, as 0.1$"
    ):
        ModeCoverage(fraction=-1.0)
    with pytest.raises(
        ValueError, match=r"^ModeCoverage was given logits of a single class; a classifier of at least 2"
    ):
        ModeCoverage()(x[:, :1], x[:, :1])
    with pytest.raises(ValueError, match=r"^ModeCoverage was given 10 real and 1 generated images; at least 2"):
        ModeCoverage()(x, x[:1])
