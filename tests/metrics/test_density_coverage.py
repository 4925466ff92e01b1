import numpy as np
import pytest
import torch

from orthogen.metrics.density_coverage import DensityCoverage
from orthogen.metrics.precision_recall import PrecisionRecall
from vectors import vectors


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=rng, dtype=torch.float64) + shift


def test_equals_the_golden_values():
    golden = vectors("image_metrics")
    score = DensityCoverage()(torch.tensor(golden["real"]), torch.tensor(golden["fake"]))
    assert score.value == pytest.approx(golden["coverage"].item(), abs=1e-9)
    assert score.parts["density"] == pytest.approx(golden["density"].item(), abs=1e-9)
    assert (score.name, score.n, score.protocol["k"]) == ("coverage", 280, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fixed_points(dtype):
    x = normal(300, 6).to(dtype)
    same = DensityCoverage()(x, x.clone())
    assert (same.value, same.parts["density"]) == (1.0, 1.0)
    apart = DensityCoverage()(x, x + 1000)
    assert (apart.value, apart.parts["density"]) == (0.0, 0.0)
    packed = DensityCoverage()(x, 0.01 * x)  # where real images are densest
    assert packed.parts["density"] > 2
    assert packed.value < 0.8


def test_expected_values_where_both_distributions_are_one():
    """Density 1 and coverage 1 - (n - 1)...(n - k) / (2n - 1)...(2n - k), as derived in the paper."""
    n, k, rows = 200, 5, []
    for seed in range(40):
        score = DensityCoverage()(normal(n, 3, 2 * seed), normal(n, 3, 2 * seed + 1))
        rows.append((score.parts["density"], score.value))
    density, coverage = np.array(rows).mean(axis=0)
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert density == pytest.approx(1, abs=0.02)
    assert coverage == pytest.approx(expected, abs=0.005)


def test_an_outlier_fools_precision_and_not_density():
    real = torch.cat([normal(200, 2), torch.full((1, 2), 30.0, dtype=torch.float64)])
    fake = normal(200, 2, seed=1, scale=0.1, shift=20.0)
    assert PrecisionRecall()(real, fake).parts["precision"] == 1.0
    assert DensityCoverage()(real, fake).parts["density"] == pytest.approx(1 / 5)


def test_the_standard_error_is_the_spread_over_fresh_samples():
    rng, rows = torch.Generator().manual_seed(0), []
    for seed in range(50):
        score = DensityCoverage()(normal(300, 8, 2 * seed), normal(300, 8, 2 * seed + 1, 1.1, 0.3), rng=rng)
        rows.append([(score.value, score.stderr), (score.parts["density"], score.parts["density_stderr"])])
    values, errors = np.moveaxis(np.array(rows), 2, 0)
    ratio = errors.mean(axis=0) / values.std(axis=0, ddof=1)
    assert ((ratio > 1 / 1.5) & (ratio < 1.5)).all()


def test_the_standard_error_where_nearly_all_is_covered():
    """Parts of 25 real images are all covered, and of 100 not quite."""
    rng = torch.Generator().manual_seed(0)
    pairs = [(normal(100, 8, 2 * seed), normal(1000, 8, 2 * seed + 1, 1.2, 0.5)) for seed in range(60)]
    found = [DensityCoverage()(*pair, rng=rng) for pair in pairs]
    spread = np.std([score.value for score in found], ddof=1)
    assert 1 / 1.5 < np.mean([score.stderr for score in found]) / spread < 1.5


def test_errors_at_the_border():
    x = normal(100, 4)
    apart = DensityCoverage()(x, x + 1000)
    assert apart.stderr == pytest.approx((0.5 * 100.5 / 101**2 / 102) ** 0.5)
    assert apart.parts["density_stderr"] is None


def test_mistakes():
    x = normal(10, 3)
    with pytest.raises(ValueError, match=r"^DensityCoverage was given 10 real and 5 generated images; at least 6 of"):
        DensityCoverage()(x, x[:5])
    with pytest.raises(ValueError, match=r"^DensityCoverage\(k=0\): the nearest neighbor is k=1$"):
        DensityCoverage(k=0)
