import math

import numpy as np
import pytest
import torch
from scipy import stats

from orthogen.metrics.mode_coverage import ModeCoverage, _reaches


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
    assert parts["share_stderr"] == pytest.approx([0.03, 0.03, 0.007, 0.007], rel=0.02)
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
    assert one.value == 1.0
    assert 0.2 < one.stderr < 1  # seven images do not say that there are no others
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


@pytest.mark.parametrize(("n", "classes", "highest"), [(10, 10, 1.25), (30, 10, 1.5), (100, 100, 1.25), (500, 100, 3)])
def test_the_standard_error_where_classes_have_few_images(n, classes, highest):
    real, rng = seen([10] * classes), np.random.default_rng(0)
    counts = rng.multinomial(n, [1 / classes] * classes, size=4000)
    spread = (counts > 0).sum(axis=1).std(ddof=1)  # one image is enough at these sizes
    found = [ModeCoverage()(real, seen(row.tolist())).stderr for row in counts[:50]]
    assert 0.8 < np.mean(found) / spread < highest


def test_the_standard_error_where_all_classes_have_ten_images():
    """In 2 of 10,000 samples a class is missed; what a sample can say about that is not much."""
    real, rng = seen([10] * 10), np.random.default_rng(0)
    counts = rng.multinomial(100, [0.1] * 10, size=50)
    assert np.mean([ModeCoverage()(real, seen(row.tolist())).stderr for row in counts]) < 0.12


def test_the_chance_to_reach_a_threshold_is_the_binomial_tail():
    for threshold, n, p in ((1, 100, 0.01), (5, 500, 0.02), (40, 100, 0.5), (1, 50_000, 1e-6), (100, 100, 0.99)):
        chance, slope = _reaches(threshold, n, p)
        assert chance == pytest.approx(stats.binom.sf(threshold - 1, n, p), rel=1e-8)
        up, down = (stats.binom.sf(threshold - 1, n, p + step) for step in (1e-5 * p, -1e-5 * p))
        assert slope == pytest.approx((up - down) / (2e-5 * n * p), rel=1e-4)
    assert _reaches(101, 100, 0.99) == (0.0, 0.0)


def test_a_class_that_was_not_seen_adds_doubt():
    real = seen([50, 50])
    assert ModeCoverage(fraction=0.0)(real, seen([40, 0])).stderr > 0.3
    assert ModeCoverage()(real, seen([4000, 0])).stderr < 1e-5  # threshold 200


def test_a_threshold_is_met_exactly():
    """10 % of 10 % of 100 images is one image, however 0.1 * 0.1 * 100 is rounded."""
    assert ModeCoverage()(seen([10] * 10), seen([1] * 9 + [91])).value == 10.0


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
