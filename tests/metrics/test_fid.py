import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from orthogen.core.features import Features, Gathering, Moments
from orthogen.metrics import _frechet
from orthogen.metrics.fid import Fid
from vectors import vectors


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=rng, dtype=torch.float64) + shift


def correlated(n, d, seed=0):
    return normal(n, d, seed) @ normal(d, d, seed + 100) + normal(1, d, seed + 200)


def textbook(x, y):
    """The formula with scipy's root of a matrix."""
    (m1, s1), (m2, s2) = ((z.mean(0).numpy(), np.cov(z.numpy(), rowvar=False)) for z in (x, y))
    return float(((m1 - m2) ** 2).sum() + np.trace(s1 + s2) - 2 * np.trace(linalg.sqrtm(s1 @ s2)).real)


def by_singular_values(x, y):
    """The same through the vectors alone: the trace of the root is the nuclear norm of X^T Y, rank or no rank."""
    centered = [(z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y)]
    shared = torch.linalg.svdvals(centered[0] @ centered[1].T).sum()
    return ((x.mean(0) - y.mean(0)).square().sum() + sum(c.square().sum() for c in centered) - 2 * shared).item()


def test_equals_the_golden_values():
    golden = vectors("image_metrics")
    score = Fid()(torch.tensor(golden["real"]), torch.tensor(golden["fake"]))
    assert score.value == pytest.approx(golden["fid"].item(), rel=1e-6)
    assert score.name == "Frechet distance"
    assert score.n == 280
    assert score.protocol["reference_n"] == 300
    golden = vectors("fid_formula")
    found = Fid()(torch.tensor(golden["ref_feat"]), torch.tensor(golden["gen_feat"])).value
    assert found == pytest.approx(golden["fid"].item(), rel=1e-6)


def test_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = (correlated(500, 32, seed).float() for seed in (0, 1))
    statistics = [fidelity.fid_features_to_statistics(each) for each in (x, y)]
    expected = fidelity.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert Fid()(x, y).value == pytest.approx(expected, rel=1e-4)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(2, 30), st.integers(2, 30))
@settings(max_examples=60)
def test_any_rank(seed, d, n, m):
    x, y = normal(n, d, seed), correlated(m, d, seed + 1)
    expected = by_singular_values(x, y)
    assert Fid()(x, y).value == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert Fid()(y, x).value == pytest.approx(expected, rel=1e-7, abs=1e-7)
    moments = Moments.of(x), Moments.of(y)
    assert _frechet.distance(*moments) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_equals_scipys_root():
    x, y = correlated(400, 20), correlated(300, 20, seed=1)
    assert Fid()(x, y).value == pytest.approx(textbook(x, y), rel=1e-9)


def test_features_that_never_fire():
    x, y = correlated(300, 6), correlated(300, 6, seed=1)
    dead = [torch.cat([each, torch.zeros(300, 4, dtype=torch.float64)], dim=1) for each in (x, y)]
    assert Fid()(*dead).value == pytest.approx(Fid()(x, y).value, rel=1e-9)
    flat = torch.ones(10, 3)
    score = Fid()(flat, flat + 1)
    assert (score.value, score.stderr) == (3.0, 0.0)


def test_invariances():
    x, y = correlated(300, 6), correlated(250, 6, seed=1)
    plain = Fid()(x, y)
    turn = torch.linalg.qr(normal(6, 6, seed=5))[0]
    for a, b, factor in ((x @ turn, y @ turn, 1), (x + 3, y + 3, 1), (2 * x, 2 * y, 4), (y, x, 1)):
        assert Fid()(a, b).value == pytest.approx(factor * plain.value, rel=1e-9)
    assert Fid()(x @ turn, y @ turn).stderr == pytest.approx(plain.stderr, rel=1e-9)
    assert Fid()(2 * x, 2 * y).stderr == pytest.approx(4 * plain.stderr, rel=1e-9)
    assert Fid()(x, x).value == pytest.approx(0, abs=1e-9)
    assert plain.parts["means"] + plain.parts["covariances"] == pytest.approx(plain.value)


def test_streamed_moments_give_the_same():
    x, y = correlated(300, 6), correlated(250, 6, seed=1)
    streamed = []
    for each in (x, y):
        gathering = Gathering({"moments"})
        for batch in each.split(64):
            gathering.add(batch)
        streamed.append(gathering.finish())
    one, other = Fid()(x, y), Fid()(*streamed)
    assert other.value == pytest.approx(one.value, rel=1e-9)
    assert other.stderr == pytest.approx(one.stderr, rel=1e-5)  # the sample is kept in float32


def test_the_standard_error_is_the_derivative_by_the_weight_of_an_image():
    x, y = correlated(60, 4), correlated(40, 4, seed=1)

    def value(weights):
        w = weights / weights.sum()
        mean = w @ y
        covariance = ((y - mean).T * w) @ (y - mean)
        return _frechet.distance(Moments.of(x), Moments(40, mean, covariance, y))

    step, influence = 1e-5, []
    for i in range(40):
        ends = []
        for sign in (1, -1):
            weights = torch.full((40,), 1 / 40, dtype=torch.float64)
            weights *= 1 - sign * step
            weights[i] += sign * step
            ends.append(value(weights))
        influence.append((ends[0] - ends[1]) / (2 * step))
    reference, made = Moments.of(x), Moments.of(y)
    same = Moments(40, made.mean, made.covariance * 39 / 40, y)  # weights give the covariance divided by n
    found = _frechet.frechet(reference, same).stderr
    assert found == pytest.approx(np.std(influence, ddof=1) / math.sqrt(40), rel=1e-5)


@pytest.mark.parametrize(("d", "n", "shift", "scale"), [(8, 200, 0.5, 1.3), (16, 300, 0.2, 1.1), (32, 100, 0.5, 1.3)])
def test_the_standard_error_is_the_spread_over_fresh_samples(d, n, shift, scale):
    reference = Features(5000, normal(5000, d, seed=10**6))
    found = [Fid()(reference, normal(n, d, seed, scale, shift)) for seed in range(60)]
    spread = np.std([score.value for score in found], ddof=1)
    assert 1 / 1.4 < np.mean([score.stderr for score in found]) / spread < 1.4


def test_equal_distributions_are_22_apart_at_100_images_in_64_dimensions():
    found = [Fid()(normal(100, 64, 2 * seed), normal(100, 64, 2 * seed + 1)) for seed in range(10)]
    assert np.mean([score.value for score in found]) == pytest.approx(22, abs=1)
    assert all(score.parts["biased"] for score in found)


def test_the_estimated_bias_is_the_bias():
    reference = normal(20_000, 16, seed=10**6)
    found = [Fid()(reference, normal(400, 16, seed)) for seed in range(20)]
    mean = np.mean([score.value for score in found])  # of distributions that are equal
    assert np.mean([s.parts["bias"] + s.parts["reference_bias"] for s in found]) == pytest.approx(mean, rel=0.05)
    far, near = Fid()(reference, normal(4000, 16, 1, shift=2.0)), found[0]
    assert (far.parts["biased"], near.parts["biased"]) == (False, True)
    assert Fid(tolerance=2.0)(reference, normal(400, 16, 0)).parts["biased"] is False
    assert Fid()(reference, normal(15, 16, 0, shift=100.0)).parts["biased"] is True  # a singular covariance


@pytest.mark.usefixtures("unchecked")
def test_mistakes():
    x = normal(10, 3)
    with pytest.raises(
        ValueError, match=r"^Fid was given 10 real and 1 generated images; at least 2 of each are needed$"
    ):
        Fid()(x, x[:1])
    with pytest.raises(
        ValueError, match=r"^Fid: features of the real images are 3 wide, of the generated ones 2; take"
    ):
        Fid()(x, x[:, :2])
    with pytest.raises(ValueError, match=r"^Fid: features of the generated images are not all finite"):
        Fid()(x, Features(10, x * torch.inf))
    broken = Moments(10, x[0] * torch.nan, x[:3], x)
    with pytest.raises(ValueError, match=r"^Fid: features of the real images are not all finite"):
        Fid()(Features(10, moments=broken), x)


def test_the_hessian_penaltys_protocol_is_of_so_many_images():
    protocol = Fid.hessian_penalty()
    assert protocol.images == 50_000
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"Fid\(images=50000\) is of that many generated images, and there are 300"):
        protocol(x, x)
    assert Fid(images=300)(x, x + 1).value == Fid()(x, x + 1).value
    with pytest.raises(ValueError, match=r"Fid\(images=1\): give at least 2, or None for any number"):
        Fid(images=1)
