"""Counts, kept images and class weights of long tails, against the release and against what they promise."""

import hashlib
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core.long_tail import (
    effective_number_weights,
    effective_numbers,
    kept_images,
    long_tail_counts,
    long_tail_indices,
)
from vectors import GOLDEN

RELEASED = json.loads((GOLDEN / "long_tail.json").read_text())
CIFAR = np.repeat(np.arange(10), 5000)  # CIFAR-10's labels in some order
kinds = st.sampled_from(["exponential", "step"])


# ---------------------------------------------------------------------------------------------- weights
@pytest.mark.parametrize("config", RELEASED["weights"])
def test_weights_are_the_release_s(config):
    weights = effective_number_weights(config["counts"], config["beta"], config["weight"])
    assert weights.dtype == torch.float64
    torch.testing.assert_close(weights, torch.tensor(config["lam"], dtype=torch.float64), rtol=1e-12, atol=1e-15)


def test_all_released_weights(shared_golden):
    found = json.loads((shared_golden / "group-spectral" / "class_weights.json").read_text())
    for config in found.values():
        numbers = effective_numbers(config["counts"], config["beta"])
        weights = effective_number_weights(torch.tensor(config["counts"]), config["beta"], config["weight"])
        assert numbers.tolist() == pytest.approx(config["effective_number"], rel=1e-12)
        assert weights.tolist() == pytest.approx(config["lam"], rel=1e-12)


@given(
    counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=50),
    beta=st.floats(0, 1),
    weight=st.floats(0.01, 100),
)
def test_weights_have_their_mean_and_grow_as_counts_shrink(counts, beta, weight):
    weights = effective_number_weights(sorted(counts), beta, weight)
    assert weights.mean().item() == pytest.approx(weight, rel=1e-12)
    assert (weights.diff() <= 1e-12 * weight).all()


@given(n=st.integers(1, 10**5), beta=st.floats(0.5, 0.9999999))
def test_effective_numbers_are_the_formula_s(n, beta):
    exact = sum(beta**i for i in range(n)) if n < 200 else (1 - beta**n) / (1 - beta)
    assert effective_numbers([n], beta).item() == pytest.approx(exact, rel=1e-8)


def test_the_two_ends_of_beta():
    assert effective_numbers([7, 500], 0).tolist() == [1, 1]
    assert effective_numbers([7, 500], 1).tolist() == [7, 500]
    assert effective_numbers([7, 500], 1 - 1e-12).tolist() == pytest.approx([7, 500], rel=1e-4)


@pytest.mark.parametrize(
    ("counts", "beta", "message"),
    [
        ([3, 0, 5], 0.9, r"^class 1 of 0 to 2 has no images; give counts of 1 or more$"),
        ([0, 4, 0, 0], 0.9, r"^class 0 of 0 to 3 has no images \(nor have 2 others\); give counts of 1 or more$"),
        ([], 0.9, r"^no classes were given; give counts of 1 or more$"),
        ([1], 1.5, r"^beta=1.5: give 0 \(all classes alike\) to 1 \(inversely to their counts\), such as 0.999$"),
        ([1], float("nan"), r"^beta=nan: give 0"),
    ],
)
def test_bad_counts_and_betas(counts, beta, message):
    with pytest.raises(ValueError, match=message):
        effective_number_weights(counts, beta)


# ---------------------------------------------------------------------------------------------- counts
@pytest.mark.parametrize("rho", RELEASED["counts"]["cifar10"])
def test_counts_are_the_release_s(rho):
    assert list(long_tail_counts(5000, 10, float(rho))) == RELEASED["counts"]["cifar10"][rho]
    lsun = long_tail_counts(50000, 5, float(rho), compat="released_lsun")
    assert list(lsun) == RELEASED["counts"]["lsun5"][rho]
    assert sum(long_tail_counts(500, 100, float(rho))) == RELEASED["cifar100_totals"][rho]


def test_all_released_counts(shared_golden):
    found = json.loads((shared_golden / "group-spectral" / "longtail_counts.json").read_text())
    for rho, expected in found["cifar100"].items():
        assert list(long_tail_counts(500, 100, float(rho))) == expected["counts"]
    assert list(long_tail_counts(5000, 10, 100, "step")) == found["step_cifar10_rho100"]


@given(
    largest=st.integers(1, 10**6),
    classes=st.integers(2, 200),
    rho=st.floats(1, 1000),
    more=st.floats(1, 10),
    kind=kinds,
)
def test_counts_fall_from_the_head_to_the_tail(largest, classes, rho, more, kind):
    counts = long_tail_counts(largest, classes, rho, kind)
    assert len(counts) == classes
    assert counts[0] == largest
    assert counts[-1] == int(largest / rho)
    assert all(a >= b for a, b in itertools.pairwise(counts))
    rarer = long_tail_counts(largest, classes, rho * more, kind)
    assert all(a >= b for a, b in zip(counts, rarer, strict=True))


def test_counts_that_are_whole_are_not_one_less():
    assert 49 * (1 / 49) < 1
    for kind in ("exponential", "step"):
        assert [long_tail_counts(n, 3, rho=49, kind=kind)[-1] for n in (49, 4900)] == [1, 100]
    assert len(long_tail_indices([0] * 49 + [1] * 49, rho=49)) == 50


def test_a_step_of_an_odd_number_of_classes_has_the_longer_tail():
    assert long_tail_counts(100, 5, 10, "step") == (100, 100, 10, 10, 10)


# ---------------------------------------------------------------------------------------------- which images
def test_kept_images_are_the_release_s():
    kept = long_tail_indices(CIFAR, rho=100, compat="released")
    ranks = kept.numpy() - 5000 * CIFAR[kept.numpy()]
    assert hashlib.sha256(ranks.astype("<i2").tobytes()).hexdigest() == RELEASED["ranks"]["sha256"]
    starts = np.cumsum([0, *RELEASED["counts"]["cifar10"]["100"]])[:-1]
    assert [ranks[start : start + 4].tolist() for start in starts] == RELEASED["ranks"]["first"]


def test_all_kept_images_whatever_the_order_of_labels(shared_golden):
    with np.load(shared_golden / "group-spectral" / "longtail_indices_cifar10_rho100.npz") as file:
        ranks, offsets = file["ranks"], file["offsets"]
    labels = np.random.default_rng(1).permutation(CIFAR)
    kept = long_tail_indices(labels, 100, compat="released").numpy()
    for label in range(10):
        part = slice(offsets[label], offsets[label + 1])
        assert np.array_equal(kept[part], np.where(labels == label)[0][ranks[part]])


def test_numpy_s_own_generator_is_left_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (it is the legacy generator that the release resets)
    long_tail_indices(CIFAR, rho=100, compat="released")
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_lsun_keeps_the_first_images_of_each_class():
    labels = [1, 0, 1, 0, 1, 0, 1, 0]
    assert long_tail_indices(labels, rho=2, compat="released_lsun").tolist() == [1, 3, 5, 7, 0, 2]


@given(
    each=st.integers(5, 60),
    classes=st.integers(2, 8),
    rho=st.floats(1, 5),
    more=st.floats(1, 20),
    kind=kinds,
    seed=st.integers(0, 5),
)
def test_a_larger_rho_keeps_a_part_of_what_a_smaller_one_keeps(each, classes, rho, more, kind, seed):
    labels = torch.arange(classes).repeat(each)
    kept = long_tail_indices(labels, rho, kind, seed)
    assert tuple(labels[kept].bincount(minlength=classes).tolist()) == long_tail_counts(each, classes, rho, kind)
    assert (kept.diff() > 0).all()  # in the set's order, none twice
    if each / (rho * more) >= 1.01:
        assert set(long_tail_indices(labels, rho * more, kind, seed).tolist()) <= set(kept.tolist())


def test_the_seed_decides_and_the_kind_of_labels_does_not():
    labels = [0, 1, 2] * 50
    kept = long_tail_indices(labels, 10, seed=3)
    for same in (np.array(labels, np.uint8), torch.tensor(labels, dtype=torch.int32), tuple(labels)):
        assert torch.equal(long_tail_indices(same, 10, seed=3), kept)
    assert not torch.equal(long_tail_indices(labels, 10, seed=4), kept)
    assert kept.dtype == torch.int64


def test_a_class_does_not_depend_on_others():
    alone = long_tail_indices([0] * 30 + [1] * 30, 10)
    beside = long_tail_indices([0] * 30 + [1] * 30 + [2] * 30, 10)
    assert set(alone.tolist()) < set(beside.tolist())  # three, then nine of class 1


def test_a_set_without_balance_keeps_all_of_its_first_class():
    labels = [0] * 40 + [1] * 100 + [2] * 7
    assert torch.tensor(labels)[long_tail_indices(labels, 8)].bincount().tolist() == [40, 14, 5]


@pytest.mark.parametrize(
    ("labels", "rho", "message"),
    [
        ([0, 1], 0.01, r"^long_tail_indices\(rho=0.01\): the imbalance ratio is .*; a factor such as imb_fac"),
        ([0, 1], float("nan"), r"^long_tail_indices\(rho=nan\)"),
        ([0, 0], 2, r"^the labels are of 1 class; give at least 2$"),
        ([0, 0, 2, 2], 2, r"^class 1 of 0 to 2 has no images; leave it out, or give it some$"),
        ([1, 1, 2, 2], 2, r"^class 0 of 0 to 2 has no images; it is the head, which has most$"),
        ([0] * 9 + [1] * 3, 1.5, r"^class 1 has 3 images and 6 are asked for; order the classes by "),
        ([0] * 9 + [1] * 9, 10, r"^class 1 would keep none of its 9 images; take a smaller rho$"),
        ([0, -1], 2, r"^2 labels go from -1 to 0; they are 0 to the number of classes - 1$"),
        ([0, 10**12], 2, r"^2 labels go from 0 to 1000000000000; they are 0 to"),
        ([], 2, r"^labels of type float64 and shape \(0,\) were given; one whole number per image is needed$"),
        ([0.0, 1.0], 2, r"^labels of type float64 and shape \(2,\) were given"),
        (["a", "b"], 2, r"^labels of type <U1 and shape \(2,\) were given"),
        ([[0, 1]], 2, r"^labels of type int64 and shape \(1, 2\) were given"),
    ],
)  # fmt: skip
def test_what_no_long_tail_can_be_made_of(labels, rho, message):
    with pytest.raises(ValueError, match=message) as error:
        long_tail_indices(labels, rho)
    assert "\n" not in str(error.value)


def test_other_refusals(unchecked):
    with pytest.raises(ValueError, match=r"kind='linear'\): 'exponential' or 'step' is accepted"):
        long_tail_indices([0, 1], 2, "linear")
    with pytest.raises(ValueError, match=r"compat='old'\): None, 'released' or 'released_lsun' is accepted"):
        long_tail_indices([0, 1], 2, compat="old")
    with pytest.raises(ValueError, match="a long tail of 1 class: it needs at least 2"):
        long_tail_counts(10, 1, 2)
    with pytest.raises(ValueError, match=r"largest=0\): give the first class at least 1 image"):
        long_tail_counts(0, 3, 2)
    with pytest.raises(ValueError, match="labels go from 0 to 2; 2 classes have labels 0 to 1"):
        kept_images(torch.tensor([0, 1, 2]), [1, 1])
