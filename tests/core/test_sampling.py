"""Orders of an epoch: what is shown how often, and that generators alone decide."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core.record import from_json, to_json
from orthogen.core.sampling import ClassBalanced, EffectiveNumber, Shuffled, round_robin, weighted_order
from vectors import GOLDEN

EVERY = (Shuffled(), ClassBalanced(), EffectiveNumber(), EffectiveNumber(0.9))
TAIL = torch.arange(4).repeat_interleave(torch.tensor([500, 120, 30, 4]))
counts = st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampling", EVERY)
def test_the_generator_alone_decides(sampling):
    state = torch.get_rng_state()
    order = sampling.order(len(TAIL), TAIL, rng=seeded())
    assert torch.equal(order, sampling.order(len(TAIL), TAIL, rng=seeded()))
    assert not torch.equal(order, sampling.order(len(TAIL), TAIL, rng=seeded(1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert order.dtype == torch.int64
    assert order.shape == TAIL.shape
    assert order.min() >= 0
    assert order.max() < len(TAIL)


def test_a_shuffled_epoch_is_torch_s_permutation_and_needs_no_labels():
    assert torch.equal(Shuffled().order(100, rng=seeded()), torch.randperm(100, generator=seeded()))
    assert not Shuffled().needs_labels
    assert ClassBalanced().needs_labels


@given(sizes=counts, seed=st.integers(0, 3))
def test_balanced_classes_are_shown_alike_often_and_their_images_too(sizes, seed):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = ClassBalanced().order(len(labels), labels, rng=seeded(seed))
    shown = labels[order].bincount(minlength=len(sizes))
    share = len(labels) / sum(size > 0 for size in sizes)
    times = order.bincount(minlength=len(labels))
    for label, size in enumerate(sizes):
        if size:
            assert abs(shown[label].item() - share) < 1
            each = times[labels == label]
            assert each.max() - each.min() <= 2  # each is within one of its mean
            assert ((each - share / size).abs() < 1 + 1e-6).all()
        else:
            assert shown[label] == 0


@given(sizes=counts, beta=st.floats(0, 1))
def test_effective_numbers_give_each_class_its_share(sizes, beta):
    n = torch.tensor([size for size in sizes if size], dtype=torch.float64)
    labels = torch.arange(len(n)).repeat_interleave(n.long())
    shown = labels[EffectiveNumber(beta).order(len(labels), labels, rng=seeded())].bincount(minlength=len(n))
    effective = n if beta == 1 else torch.stack([(beta ** torch.arange(int(size))).sum() for size in n]).double()
    share = n / effective / (n / effective).sum() * len(labels)
    assert ((shown - share).abs() < 1 + 1e-3).all()


def test_effective_numbers_lie_between_shuffled_and_balanced():
    natural, middle, balanced = (
        TAIL[EffectiveNumber(beta).order(len(TAIL), TAIL, rng=seeded())].bincount() for beta in (0.0, 0.99, 1.0)
    )
    assert torch.equal(natural, TAIL.bincount())
    assert torch.equal(balanced, TAIL[ClassBalanced().order(len(TAIL), TAIL, rng=seeded())].bincount())
    assert natural[0] > middle[0] > balanced[0]
    assert natural[-1] < middle[-1] < balanced[-1]


def test_every_image_is_shown_as_often_as_it_should_be_on_average():
    labels = torch.tensor([0] * 9 + [1] * 3)
    times = sum(
        weighted_order(labels, torch.tensor([1.0, 2.0]), rng=seeded(seed)).bincount(minlength=12)
        for seed in range(2000)
    )
    torch.testing.assert_close(times / 2000, torch.tensor([0.8] * 9 + [1.6] * 3), rtol=0, atol=0.06)


def test_neighbors_in_the_order_are_of_independent_classes():
    labels = torch.arange(2).repeat_interleave(2000)
    shown = labels[ClassBalanced().order(4000, labels, rng=seeded())]
    assert (shown[1:] == shown[:-1]).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_round_robin_is_the_release_s():
    found = json.loads((GOLDEN / "long_tail.json").read_text())["round_robin"]
    assert round_robin(torch.tensor(found["labels"])).tolist() == found["order"]


def test_round_robin_passes_over_absent_classes():
    assert round_robin(torch.tensor([3, 3, 1, 3, 1])).tolist() == [2, 0, 4, 1]
    assert round_robin(torch.tensor([], dtype=torch.int64)).tolist() == []


@pytest.mark.parametrize("sampling", EVERY[1:])
def test_without_labels_there_are_no_classes_to_balance(sampling):
    message = rf"^{sampling.__class__.__name__}\(.*\) needs class labels, and this data has none; give labeled data, or"
    with pytest.raises(ValueError, match=message):
        sampling.order(5, None, rng=seeded())


def test_a_beta_that_is_none():
    with pytest.raises(ValueError, match=r"^beta=-1.0: give 0"):
        EffectiveNumber(beta=-1.0)


@pytest.mark.parametrize("sampling", EVERY)
def test_they_are_written_down_and_read_back(sampling):
    assert from_json(json.loads(json.dumps(to_json(sampling)))) == sampling
