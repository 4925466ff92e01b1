import numpy as np
import pytest
import torch

from orthogen.metrics import _mmd
from orthogen.metrics.kid import Kid


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=rng, dtype=torch.float64) + shift


def by_hand(x, y):
    """Loops over pairs."""

    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    def within(z):
        return np.mean([kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j])

    return within(x) + within(y) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_equals_the_formula():
    x, y = normal(12, 3), normal(12, 3, seed=1, shift=0.5)
    score = Kid()(x, y)
    assert score.value == pytest.approx(by_hand(x, y), rel=1e-12)
    assert score.name == "kernel distance"
    assert score.parts == {"subset_size": 12, "subsets_drawn": 0, "reference_n": 12}


@pytest.mark.filterwarnings("ignore")
def test_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = normal(300, 16).float(), normal(300, 16, seed=1, scale=1.2).float()
    settings = {"kid_subsets": 2, "kid_subset_size": 300, "verbose": False, "rng_seed": 0}
    expected = fidelity.kid_features_to_metric(y, x, **settings)["kernel_inception_distance_mean"]
    assert Kid()(x, y).value == pytest.approx(expected, rel=1e-4)
    settings = {"kid_subsets": 200, "kid_subset_size": 100, "verbose": False, "rng_seed": 0}
    theirs = fidelity.kid_features_to_metric(y, x, **settings)
    ours = Kid(subsets=200, size=100)(x, y)
    noise = theirs["kernel_inception_distance_std"] * (2 / 200) ** 0.5
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], abs=4 * noise)


def test_it_has_no_bias():
    values = np.array([Kid()(normal(50, 8, 2 * seed), normal(50, 8, 2 * seed + 1)).value for seed in range(100)])
    assert abs(values.mean()) < 3 * values.std() / 100**0.5
    assert (values < 0).any()


@pytest.mark.parametrize(
    ("n", "m", "shift", "scale", "size", "subsets", "highest"),
    [
        (1000, 100, 0.5, 1.2, 1000, 6, 1.25),
        (2000, 100, 0.5, 1.2, 1000, 6, 1.25),
        (100, 1000, 0.5, 1.2, 1000, 6, 1.25),
        (500, 500, 0.5, 1.2, 1000, 1, 1.25),
        (300, 300, 0.3, 0.8, 50, 2, 1.25),
        (300, 300, 0.0, 1.0, 1000, 1, 1.6),  # one distribution
    ],
)
def test_the_standard_error_is_the_spread_over_fresh_samples(n, m, shift, scale, size, subsets, highest):
    rng, metric = torch.Generator().manual_seed(0), Kid(subsets=subsets, size=size)
    pairs = ((normal(n, 8, 2 * seed), normal(m, 8, 2 * seed + 1, scale, shift)) for seed in range(100))
    found = [metric(x, y, rng=rng) for x, y in pairs]
    spread = np.std([score.value for score in found], ddof=1)
    assert 0.8 < np.mean([score.stderr for score in found]) / spread < highest


def test_the_variances_are_estimated_without_bias():
    """Of x uniform on {-1, 1} and y = 1, where k(x, x') is 8 or 0 and all five terms are known."""
    rng, found = torch.Generator().manual_seed(0), []
    for _ in range(400):
        x = torch.randint(0, 2, (6, 1), generator=rng).double() * 2 - 1
        found.append(_mmd.discrepancy(x, torch.ones(5, 1, dtype=torch.float64)))
    values = torch.stack(found)
    # E k(x, x') = 4 for any x, so h(x) = 4 - k(x, 1) is 4 or -4; pairs: k - 4 is 4 or -4; y never varies
    expected = torch.tensor([4 + 8 - 2 * 4, 16.0, 0.0, 16.0, 0.0, 0.0], dtype=torch.float64)
    assert ((values.mean(dim=0) - expected).abs() <= 4 * values.std(dim=0) / 400**0.5 + 1e-9).all()


def test_the_variance_of_the_value_is_that_of_its_terms():
    found = torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    assert _mmd.variance(found, 4, 5) == pytest.approx(4 / 4 + 8 / 5 + 6 / 12 + 8 / 20 + 20 / 20)
    found[1:3] = -100
    assert _mmd.variance(found, 4, 5) == pytest.approx(6 / 12 + 8 / 20 + 20 / 20)


def test_an_error_of_four_images():
    values = [Kid()(normal(4, 8, 2 * seed), normal(4, 8, 2 * seed + 1, 1.2, 0.5)) for seed in range(200)]
    assert all(score.stderr > 0 for score in values)
    spread = np.std([score.value for score in values], ddof=1)
    assert 0.7 < np.mean([score.stderr for score in values]) / spread < 1.3


def test_large_subsets_keep_the_bound_on_memory(monkeypatch):
    held, kernel = [], _mmd.cubic

    def watched(a, b):
        held.append(len(a) * len(b))
        return kernel(a, b)

    monkeypatch.setattr(_mmd, "ENTRIES", 5000)
    monkeypatch.setattr(_mmd, "cubic", watched)
    x, y = normal(900, 2), normal(700, 2, seed=1)
    Kid(subsets=2, size=600)(x, y)
    assert max(held) <= 5000


def test_far_from_the_origin_single_precision_is_enough():
    x, y = normal(300, 16, shift=3.0), normal(300, 16, seed=1, scale=1.2, shift=3.0)
    double, single = Kid()(x, y), Kid()(x.float(), y.float())
    assert single.value == pytest.approx(double.value, rel=1e-3)
    assert single.stderr == pytest.approx(double.stderr, rel=1e-3)


def test_how_subsets_are_held_does_not_matter(monkeypatch):
    x, y = normal(200, 8), normal(150, 8, seed=1, scale=1.2)
    one = Kid(subsets=7, size=20)(x, y, rng=torch.Generator().manual_seed(3))
    monkeypatch.setattr(_mmd, "ENTRIES", 3 * 20)
    other = Kid(subsets=7, size=20)(x, y, rng=torch.Generator().manual_seed(3))
    assert one.parts == {"subset_size": 20, "subsets_drawn": 7, "reference_n": 200}
    assert other.value == pytest.approx(one.value, rel=1e-12)
    assert other.stderr == pytest.approx(one.stderr, rel=1e-9)


def test_mistakes():
    x = normal(10, 3)
    with pytest.raises(
        ValueError, match=r"^Kid was given 10 real and 3 generated images; at least 4 of each are needed$"
    ):
        Kid()(x, x[:3])
    for subsets, size in ((0, 1000), (100, 3)):
        with pytest.raises(
            ValueError, match=rf"^Kid\(subsets={subsets}, size={size}\): at least 1 subset of 4 images is"
        ):
            Kid(subsets=subsets, size=size)
