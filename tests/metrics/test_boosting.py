from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier

from orthogen.metrics import _splits
from orthogen.metrics._boosting import boost
from orthogen.metrics._splits import Sorted, best_split


def learn(codes, labels, test, rounds=30, depth=3):
    options = {"rounds": rounds, "depth": depth, "rate": 0.1, "with_parts": True, "what": "boosting"}
    return boost(Sorted(codes.T.contiguous()), labels, test.T.contiguous(), **options)


def noisy(n, classes, seed=0):
    """Classes, and two codes that tell them with noise beside two that do not."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng)
    codes = torch.randn(n, 4, generator=rng)
    codes[:, 0] += labels
    codes[:, 1] += labels % 2
    return codes, labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_equals_scikit_learn(classes):
    codes, labels = noisy(900, classes)
    train, test = slice(0, 600), slice(600, None)
    ours = learn(codes[train], labels[train], codes[test])
    theirs = GradientBoostingClassifier(n_estimators=30, random_state=0).fit(codes[train], labels[train])
    # small nodes can be split equally well by several codes, among which scikit-learn draws
    np.testing.assert_allclose(ours.gain / ours.gain.sum(), theirs.feature_importances_, rtol=0, atol=3e-3)
    assert np.mean(ours.fitted.numpy() == theirs.predict(codes[train])) > 0.997
    assert np.mean(ours.predicted.numpy() == theirs.predict(codes[test])) > 0.99


def test_absolute_gains_equal_scikit_learns():
    codes, labels = noisy(400, 3)
    trees = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(codes, labels).estimators_.flatten()
    expected = sum(400 * tree.tree_.compute_feature_importances(normalize=False) for tree in trees)
    np.testing.assert_allclose(learn(codes, labels, codes, rounds=5).gain, expected, rtol=1e-4)


def test_parts_of_the_samples_add_up_to_the_gain():
    codes, labels = noisy(500, 3)
    found = learn(codes, labels, codes, rounds=10, depth=2)
    torch.testing.assert_close(found.parts.sum(dim=1), found.gain, rtol=1e-3, atol=1e-2)


def test_equal_codes_share_the_gain():
    codes, labels = noisy(500, 3)
    alone = learn(codes, labels, codes, rounds=5)
    twice = learn(codes[:, [0, 1, 2, 3, 0]], labels, codes[:, [0, 1, 2, 3, 0]], rounds=5)
    torch.testing.assert_close(twice.gain[0], twice.gain[4])
    torch.testing.assert_close(twice.gain[0] + twice.gain[4], alone.gain[0], rtol=1e-4, atol=1e-3)
    assert torch.equal(twice.predicted, alone.predicted)


def exhaustive(codes, residual, inside):
    """The greatest gain of splitting a node, and every (code, threshold) that has it."""
    x, r = codes[:, inside], residual[inside].double()
    found = {}
    for c, values in enumerate(x):
        different = values.unique()
        for low, high in pairwise(different.tolist()):
            left = values <= low
            gap = r[left].mean() - r[~left].mean()
            found[c, (low + high) / 2] = (left.sum() * (~left).sum() / len(r) * gap**2).item()
    best = max(found.values(), default=0.0)
    return best, {split for split, gain in found.items() if gain >= best * (1 - 1e-4)}


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), bins=st.sampled_from([1, 2, 5, 256]))
def test_splits_are_the_best_of_all(seed, n, bins):
    rng = torch.Generator().manual_seed(seed)
    codes = torch.stack([torch.randn(n, generator=rng), torch.randint(4, (n,), generator=rng).float(), torch.ones(n)])
    residual = torch.randn(2, n, generator=rng)
    node = torch.randint(2, (2, n), generator=rng)
    member = torch.stack([node == 0, node == 1], dim=1).float()
    count = member.sum(dim=2)
    mean = (member * residual[:, None]).sum(dim=2) / count.clamp_min(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_splits, "BINS", bins)
        split = best_split(Sorted(codes), (residual[:, None] - mean[..., None]) * member, member, count)
    for t in range(2):
        for k in range(2):
            inside = node[t] == k
            best, splits = exhaustive(codes, residual[t], inside)
            assert split.gain[:, t, k].sum() == pytest.approx(best, rel=1e-3, abs=1e-5)
            if best > 1e-4:
                code, threshold = split.code[t, k].item(), split.threshold[t, k].item()
                assert any(code == c and threshold == pytest.approx(cut, abs=1e-5) for c, cut in splits)
                assert torch.equal(split.right[t, k] > 0, inside & (codes[code] > threshold))


def test_the_number_of_bins_changes_nothing(monkeypatch):
    codes, labels = noisy(700, 3)
    plain = learn(codes, labels, codes, rounds=10)
    monkeypatch.setattr(_splits, "BINS", 7)
    coarse = learn(codes, labels, codes, rounds=10)
    torch.testing.assert_close(coarse.gain, plain.gain, rtol=1e-4, atol=1e-3)
    assert torch.equal(coarse.fitted, plain.fitted)


def test_a_bin_holds_one_value_or_few_samples(monkeypatch):
    monkeypatch.setattr(_splits, "BINS", 10)
    few = torch.tensor([0.0] * 30 + [1.0] * 3 + [2.0] * 4 + [3.0] * 2 + [4.0] * 61)
    codes = Sorted(torch.stack([few, torch.arange(100.0)]))
    size, several = codes.edge.diff(dim=1), codes.several
    assert size.sum(dim=1).tolist() == [100, 100]
    assert (size[several] <= 10).all()
    assert size[0].max() == 61
    assert several[1].sum() == 10
