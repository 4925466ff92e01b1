import pytest
import torch
from scipy import stats

from orthogen.metrics._resampling import share, shuffled, split_error
from orthogen.metrics.fid_infinity import FidInfinity
from orthogen.metrics.kid import Kid
from orthogen.metrics.precision_recall import PrecisionRecall


def test_a_share_is_that_of_jeffreys_prior():
    for count, n in ((0, 10), (3, 10), (10, 10), (777, 1000)):
        smoothed, error = share(torch.tensor(count / n, dtype=torch.float64), n)
        expected = stats.beta(count + 0.5, n - count + 0.5)
        assert (smoothed.item(), error.item()) == pytest.approx((expected.mean(), expected.std()))


def test_the_error_of_a_mean():
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 3, generator=rng) for _ in range(2))
    found = split_error(lambda a, b: a.mean(dim=0) - b.mean(dim=0), x, y, least=2, rng=rng)
    assert found.mean().item() == pytest.approx((2 / 400) ** 0.5, rel=0.3)
    assert split_error(lambda a, b: a[0], x, y, least=201, rng=rng) is None


def test_orders_are_drawn_where_the_generator_is(monkeypatch):
    """A generator of a CUDA device draws on that device only."""
    rng, devices, draw = torch.Generator().manual_seed(0), [], torch.randperm

    def watched(n, *, generator, device=None):
        devices.append(device)
        return draw(n, generator=generator, device=device)

    monkeypatch.setattr(torch, "randperm", watched)
    assert shuffled(5, rng).sort().values.tolist() == list(range(5))
    x, y = (torch.randn(n, 2, generator=rng) for n in (80, 40))
    for metric in (FidInfinity(), Kid(), PrecisionRecall()):
        metric(x, y, rng=rng)
    assert len(devices) > 100
    assert set(devices) == {rng.device}
