"""LongTailed: a part of any labeled set, image by image."""

import json

import pytest
import torch

from contracts.examples import Stripes
from orthogen.core.kinds import FactorSet, ImageSet
from orthogen.core.long_tail import long_tail_counts, long_tail_indices
from orthogen.core.record import from_json, to_json
from orthogen.data.cifar import Cifar10
from orthogen.data.long_tailed import LongTailed
from orthogen.data.sprites import Sprites
from vectors import GOLDEN


class Given(ImageSet):
    """Images that spell their index; their labels are given."""

    channels, resolution = 1, 2

    def __init__(self, labels, classes):
        self._labels, self.classes = torch.tensor(labels), tuple(map(str, range(classes)))

    def __len__(self):
        return len(self._labels)

    def labels(self, index):
        return self._labels[index]

    def images(self, index, *, rng=None):
        said = index if rng is None else index + 100
        return torch.stack([said // 256, said % 256] * 2, dim=1).view(-1, 1, 2, 2).to(torch.uint8)


def indices(part, where=None, **given):
    """What the images of a part spell."""
    images = part.images(torch.arange(len(part)) if where is None else where, **given)
    return (256 * images[:, 0, 0, 0].long() + images[:, 0, 0, 1]).tolist()


class Opens(Stripes):
    """A description of those."""

    labels: tuple[int, ...] = ()
    names: int = 2

    def open(self):
        return Given(self.labels, self.names)


def described(labels, classes):
    return type("Described", (Opens,), {"labels": labels, "names": classes})()


def test_a_part_of_each_class_is_kept_in_order():
    whole, part = Stripes().open(), LongTailed(Stripes(), rho=10).open()
    kept = long_tail_indices(whole.labels(torch.arange(800)), 10)
    every = torch.arange(len(part))
    assert part.class_counts().tolist() == list(long_tail_counts(200, 4, 10)) == [200, 92, 43, 20]
    assert (part.classes, part.channels, part.resolution) == (whole.classes, 3, 32)
    assert torch.equal(part.images(every), whole.images(kept))
    assert torch.equal(part.labels(every), whole.labels(kept))
    assert repr(part).startswith("355 of ")


def test_random_choices_are_those_of_the_whole_set(rng):
    part = LongTailed(described([0, 1, 0, 1], 2), rho=1).open()
    assert indices(part, rng=rng) == [100, 101, 102, 103]


def test_the_settings_arrive():
    def kept(**settings):
        return indices(LongTailed(described([0, 1, 2, 3] * 40, 4), **{"rho": 4} | settings).open())

    usual = kept()
    assert len(usual) == sum(long_tail_counts(40, 4, 4))
    assert set(kept(rho=8.0)) < set(usual)
    assert kept(seed=1) != usual
    assert len(kept(kind="step")) == 100
    assert set(kept(largest=20)) < set(usual)
    assert len(kept(largest=20)) == sum(long_tail_counts(20, 4, 4))
    assert kept(compat="released_lsun")[:5] == [0, 4, 8, 12, 16]
    released = kept(compat="released")
    assert sorted(released) != released
    assert released == long_tail_indices([0, 1, 2, 3] * 40, 4, compat="released").tolist()


def test_cifar_is_cut_as_in_the_release():
    released = json.loads((GOLDEN / "long_tail.json").read_text())
    part = LongTailed(described([9, 3, 0, 1, 2, 4, 5, 6, 7, 8] * 5000, 10), compat="released").open()
    counts = released["counts"]["cifar10"]["100"]
    assert part.class_counts().tolist() == counts
    start = sum(counts[:3])
    ranks = [i // 10 for i in indices(part, torch.arange(start, start + 4))]
    assert ranks == released["ranks"]["first"][3]


def test_real_images_are_cut(shared_data):
    images = Cifar10(shared_data / "cifar10_jpeg_test.npz", split="test").open()
    part = LongTailed(type("Opened", (Opens,), {"open": lambda self: images})(), rho=50).open()
    assert part.class_counts().tolist() == list(long_tail_counts(1000, 10, 50))
    last = torch.tensor([len(part) - 1])
    trucks = (images.labels(torch.arange(len(images))) == 9).nonzero()[:, 0]
    assert (images.images(trucks) == part.images(last)).flatten(1).all(dim=1).sum() == 1


def test_classes_may_be_named_that_have_no_image():
    with pytest.raises(ValueError, match=r"^class 2 of 0 to 3 has no images \(nor have 1 others\); leave it out"):
        LongTailed(described([0, 0, 1, 1], 4), rho=2.0).open()


@pytest.mark.parametrize(
    ("labels", "classes", "settings", "message"),
    [
        ([0, 0], 1, {}, r"^LongTailed: .* has 1 classes; give images with 2 or more, such as an ImageFolder with"),
        ([0, 1, 2], 2, {"rho": 1.0}, r"^labels go from 0 to 2; 2 classes have labels 0 to 1$"),
        ([1, 1], 2, {"rho": 1.0}, r"^class 0 of 0 to 1 has no images; it is the head"),
        ([0, 1, 1], 2, {"rho": 1.0, "largest": 2}, r"^class 0 has 1 images and 2 are asked for"),
        ([0, 0, 1], 2, {"rho": 3.0}, r"^class 1 would keep none of its 1 images; take a smaller rho$"),
    ],
)
def test_sets_without_a_long_tail_in_them(labels, classes, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        LongTailed(described(labels, classes), **settings).open()
    assert "\n" not in str(error.value)


def test_a_set_without_classes():
    with pytest.raises(ValueError, match=r"^LongTailed: Sprites\(.*has 0 classes; give images with 2 or more"):
        LongTailed(Sprites(resolution=16)).open()


def test_it_is_no_grid_of_factors():
    assert not isinstance(LongTailed(Stripes()).open(), FactorSet)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": 0.01}, r"^LongTailed\(rho=0.01\): the imbalance ratio is"),
        ({"rho": float("inf")}, r"^LongTailed\(rho=inf\)"),
        ({"kind": "linear"}, r"^LongTailed\(kind='linear'\): 'exponential' or 'step' is accepted$"),
        ({"compat": "paper"}, r"^LongTailed\(compat='paper'\): None, 'released' or 'released_lsun' is accepted$"),
        ({"largest": 0}, r"^LongTailed\(largest=0\): give class 0 at least 1 image, or None for all$"),
    ],
)
def test_settings_that_are_none(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        LongTailed(Stripes(), **settings)


def test_names_of_sets(unchecked):
    with pytest.raises(FileNotFoundError, match=r"^CelebA: no path was given"):
        LongTailed("CelebA").open()
    with pytest.raises(TypeError, match=r"^LongTailed: nothing here is called 'Cifar11'.*; give a data set of images"):
        LongTailed("Cifar11").open()
    with pytest.raises(TypeError, match=r"^LongTailed was given 3; give a data set of images with class labels$"):
        LongTailed(3).open()


def test_it_is_written_down_with_what_it_is_made_of():
    tail = LongTailed(Sprites(), rho=20.0, kind="step", compat="released_lsun", largest=7)
    assert from_json(json.loads(json.dumps(to_json(tail)))) == tail
