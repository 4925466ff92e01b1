import math

import numpy as np
import pytest
import torch

from orthogen.core.features import Features
from orthogen.metrics import _neighbors
from orthogen.metrics.intra_class_diversity import IntraClassDiversity, _spread


def images(n, d=5, seed=0, scale=(1.0, 1.0)):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(scale)
    vectors = torch.tensor(scale, dtype=torch.float64)[labels, None] * torch.randn(
        n, d, generator=rng, dtype=torch.float64
    )
    return Features(n, vectors + 100 * labels[:, None], labels=labels)


def test_equals_pairwise_distances():
    real, fake = images(60), images(50, seed=1, scale=(1.0, 0.3))
    score = IntraClassDiversity()(real, fake)
    for name, features in (("real", real), ("fake", fake)):
        for label in range(2):
            expected = torch.pdist(features.vectors[features.labels == label]).mean().item()
            assert score.parts[name][label] == pytest.approx(expected, rel=1e-9)
    assert score.parts["ratio"] == pytest.approx(np.array(score.parts["fake"]) / score.parts["real"])
    assert score.value == pytest.approx(np.mean(score.parts["ratio"]))
    assert score.name == "diversity within classes"
    assert "modes" not in score.parts


def test_fixed_points():
    real = images(200)
    assert IntraClassDiversity()(real, real).value == 1.0
    collapsed = Features(200, real.vectors[real.labels], labels=real.labels)  # one image per class, over and over
    score = IntraClassDiversity()(real, collapsed)
    assert (score.value, score.stderr) == (0.0, 0.0)
    normal = IntraClassDiversity()(images(4000, d=1), images(4000, d=1, seed=1, scale=(2.0, 0.5)))
    assert normal.parts["real"] == pytest.approx([2 / math.sqrt(math.pi)] * 2, rel=0.05)  # E|x - x'|
    assert normal.parts["ratio"] == pytest.approx([2.0, 0.5], rel=0.05)


def test_blocks_do_not_matter(monkeypatch):
    real, fake = images(60), images(50, seed=1)
    expected = IntraClassDiversity()(real, fake)
    monkeypatch.setattr(_neighbors, "ENTRIES", 100)
    assert IntraClassDiversity()(real, fake).value == pytest.approx(expected.value, rel=1e-12)


def test_the_standard_error_is_the_spread_over_fresh_samples():
    pairs = [(images(100, seed=2 * seed), images(100, seed=2 * seed + 1, scale=(0.5, 1.0))) for seed in range(80)]
    found = [IntraClassDiversity()(*pair) for pair in pairs]
    spread = np.std([score.value for score in found], ddof=1)
    assert np.mean([score.stderr for score in found]) == pytest.approx(spread, rel=0.25)
    first = np.std([score.parts["ratio"][0] for score in found], ddof=1)
    assert np.mean([score.parts["ratio_stderr"][0] for score in found]) == pytest.approx(first, rel=0.25)


@pytest.mark.parametrize("n", [8, 20])
def test_the_standard_error_of_small_classes(n):
    pairs = [(images(n, seed=2 * seed), images(n, seed=2 * seed + 1)) for seed in range(150)]
    found = [IntraClassDiversity()(*pair) for pair in pairs]
    spread = np.std([score.value for score in found], ddof=1)
    assert 0.8 < np.mean([score.stderr for score in found]) / spread < 1.4


def test_the_standard_error_of_a_mean_distance_is_the_jackknife():
    x = images(7, scale=(1.0,)).vectors
    value, error = _spread(x)
    leaving = [torch.pdist(torch.cat([x[:i], x[i + 1 :]])).mean().item() for i in range(7)]
    assert value == pytest.approx(torch.pdist(x).mean().item())
    assert error == pytest.approx(np.sqrt(6 / 7 * np.sum((np.array(leaving) - np.mean(leaving)) ** 2)))


@pytest.mark.parametrize("n", [2, 3])
def test_a_class_of_fewer_than_four_images_has_no_error(n):
    real, fake = images(40), images(40, seed=1)
    few = fake.take(torch.cat([torch.arange(0, 40, 2), torch.arange(1, 2 * n, 2)]))  # n of the second class
    for pair in ((real, few), (few, real)):
        score = IntraClassDiversity()(*pair)
        assert (score.stderr, score.parts["ratio_stderr"][1]) == (None, None)
        assert score.parts["ratio_stderr"][0] > 0


@pytest.mark.parametrize("apart", [100.0, 1000.0])
def test_a_nearly_collapsed_class_far_from_the_others_in_single_precision(apart):
    """Around the mean of all, squared norms of ``apart``^2 would have swallowed the distances of one class."""
    rng, labels = torch.Generator().manual_seed(0), torch.arange(200) % 2
    base, noise = (torch.randn(200, 512, generator=rng) for _ in range(2))
    center = apart * labels[:, None].float()
    narrow = torch.where(labels[:, None] == 1, 0.001 * apart**0.5, 1.0)
    real, fake = Features(200, base + center, labels=labels), Features(200, noise * narrow + center, labels=labels)
    double = [Features(200, each.vectors.double(), labels=labels) for each in (real, fake)]
    found, expected = IntraClassDiversity()(real, fake), IntraClassDiversity()(*double)
    direct = [torch.pdist(fake.vectors[labels == label].double()).mean().item() for label in range(2)]
    assert found.parts["fake"] == pytest.approx(direct, rel=1e-9)
    assert found.parts["ratio"] == pytest.approx(expected.parts["ratio"], rel=1e-9)
    assert found.parts["ratio"][1] < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapsed_class_has_no_diversity_at_all(dtype):
    labels = torch.arange(300) % 2
    center = 100 * torch.randn(2, 64, generator=torch.Generator().manual_seed(0), dtype=dtype)
    real = Features(300, center[labels] + torch.randn(300, 64, dtype=dtype), labels=labels)
    score = IntraClassDiversity()(real, Features(300, center[labels], labels=labels))
    assert (score.value, score.stderr) == (0.0, 0.0)
    with pytest.raises(ValueError, match=r"the real images of class 0 are all alike; there is no ratio$"):
        IntraClassDiversity()(Features(300, center[labels], labels=labels), real)


def test_modes_where_there_is_a_classifier():
    real, fake = images(40), images(40)
    kinds = torch.arange(40) // 2 % 3  # three kinds of each class, of which the generator makes two of the second
    made = torch.where((real.labels == 1) & (kinds == 2), 0, kinds)
    eye = torch.eye(4, dtype=torch.float64)
    parts = IntraClassDiversity()(
        Features(40, real.vectors, eye[kinds], real.labels), Features(40, fake.vectors, eye[made], fake.labels)
    ).parts
    assert IntraClassDiversity.may_read == {"logits"}
    assert parts["modes_real"] == [3, 3]
    assert parts["modes"] == [3, 2]


def test_mistakes():
    real, fake = images(40), images(40, seed=1)
    first = (real.labels == 0).nonzero()[:, 0]
    with pytest.raises(ValueError, match=r"^IntraClassDiversity needs the class of each image"):
        IntraClassDiversity()(real.vectors, fake.vectors)
    with pytest.raises(ValueError, match=r"^IntraClassDiversity found the single class 0; give images of at least 2$"):
        IntraClassDiversity()(real.take(first), fake.take(first))
    with pytest.raises(ValueError, match=r"^IntraClassDiversity found no class with 2 real and 2 generated images"):
        IntraClassDiversity()(real, fake.take(torch.arange(2)))
    with pytest.raises(ValueError, match=r"the real images of class 0 are all alike; there is no ratio$"):
        IntraClassDiversity()(Features(40, torch.zeros(40, 5), labels=real.labels), fake)
    some = IntraClassDiversity()(real, fake.take(torch.cat([first, torch.tensor([1])])))
    assert (some.parts["classes"], some.parts["missing"]) == ([0], [1])
