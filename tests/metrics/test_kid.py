import numpy as np
import pytest
import torch

from orthogen.metrics import kid as module
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
    ("d", "n", "m", "shift", "scale", "size"),
    [(4, 300, 300, 0.3, 0.8, 50), (4, 300, 300, 0.3, 0.8, 1000), (8, 200, 800, 0.3, 1.1, 150)],
)
def test_the_standard_error_is_the_spread_over_fresh_samples(d, n, m, shift, scale, size):
    rng, metric = torch.Generator().manual_seed(0), Kid(subsets=50, size=size)
    pairs = [(normal(n, d, 2 * seed), normal(m, d, 2 * seed + 1, scale, shift)) for seed in range(40)]
    found = [metric(x, y, rng=rng) for x, y in pairs]
    spread = np.std([score.value for score in found], ddof=1)
    assert 1 / 1.5 < np.mean([score.stderr for score in found]) / spread < 1.5


def test_how_subsets_are_held_does_not_matter(monkeypatch):
    x, y = normal(200, 8), normal(150, 8, seed=1, scale=1.2)
    one = Kid(subsets=7, size=20)(x, y, rng=torch.Generator().manual_seed(3))
    monkeypatch.setattr(module, "ENTRIES", 3 * 20 * 20)
    other = Kid(subsets=7, size=20)(x, y, rng=torch.Generator().manual_seed(3))
    assert one.parts == {"subset_size": 20, "subsets_drawn": 7, "reference_n": 200}
    assert other.value == pytest.approx(one.value, rel=1e-12)


def test_mistakes():
    x = normal(10, 3)
    with pytest.raises(
        ValueError, match=r"^Kid was given 10 real and 3 generated images; at least 4 of each are needed$"
    ):
        Kid()(x, x[:3])
    with pytest.raises(ValueError, match=r"^Kid\(subsets=1, size=1000\): at least 2 of each are needed$"):
        Kid(subsets=1)
