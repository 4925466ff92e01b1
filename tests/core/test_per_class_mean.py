import pytest
import torch

from orthogen.core.per_class_mean import PerClassMean


def test_means_are_those_of_a_loop_over_classes(rng):
    found, sums, weights = PerClassMean(6, decay=0.9), torch.zeros(6), torch.zeros(6)
    for _ in range(20):
        logits, labels = torch.randn(8, 1, generator=rng), torch.randint(0, 5, (8,), generator=rng)
        found.update(logits, labels)
        for label in range(6):
            if (labels == label).any():
                sums[label] = 0.9 * sums[label] + 0.1 * logits[labels == label].mean()
                weights[label] = 0.9 * weights[label] + 0.1
    torch.testing.assert_close(found.mean()[:5], sums[:5] / weights[:5])
    assert found.mean()[5].isnan()  # never seen
    assert all(x.isfinite().all() for x in found.state_dict().values())  # as a checkpoint wants it


def test_constants_are_found_at_once_and_gradients_end_here():
    found, logits = PerClassMean(2), torch.full((4,), 3.0, requires_grad=True)
    for _ in range(3):
        found.update(logits, torch.zeros(4, dtype=torch.int64))
        assert found.mean()[0].item() == pytest.approx(3)
    assert not found.mean().requires_grad


def test_mistakes():
    with pytest.raises(ValueError, match=r"give 1 class or more, and a decay from 0 to below 1"):
        PerClassMean(0)
    with pytest.raises(ValueError, match=r"a decay from 0 to below 1"):
        PerClassMean(3, decay=1.0)
