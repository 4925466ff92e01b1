"""What is said of a data set: counts, copies, labels that are wrong, memory."""

import pytest
import torch

from contracts.examples import Stripes
from orthogen.core.kinds import ImageSet
from orthogen.core.progress import shown
from orthogen.data.long_tailed import LongTailed
from orthogen.data.sprites import Sprites
from orthogen.evaluation.data_facts import group_of
from orthogen.evaluation.inspecting import look_into


class Set(ImageSet):
    """Gray images of one level each."""

    channels, resolution = 1, 4

    def __init__(self, levels, labels=None, classes=()):
        self._levels, self.classes = torch.tensor(levels, dtype=torch.uint8), classes
        self._labels = None if labels is None else torch.tensor(labels)

    def __len__(self):
        return len(self._levels)

    def labels(self, index):
        return None if self._labels is None else self._labels[index]

    def images(self, index, *, rng=None):
        return self._levels[index][:, None, None, None].expand(-1, 1, 4, 4)


def test_counts_groups_and_memory():
    facts = look_into(LongTailed(Stripes(each=600, classes=3), rho=50).open(), batch=16)
    assert facts.counts == (600, 84, 12)
    assert (facts.images, facts.channels, facts.resolution, facts.rho) == (696, 3, 32, 50)
    assert facts.decoded == 696 * 3 * 32 * 32
    assert facts.batch_bytes == 16 * 3 * 32 * 32 * 4
    assert facts.warnings == ()
    assert facts.summary == "696 images, 32 x 32 RGB, 3 classes, imbalance ratio 50"
    assert str(facts).splitlines() == [
        "696 images, 32 x 32 RGB, 3 classes, imbalance ratio 50",
        "",
        "class  name    images   share",
        "    0  2 wide     600  86.21%",
        "    1  4 wide      84  12.07%",
        "    2  6 wide      12   1.72%",
        "",
        "head    over 400 images       1 class,  600 images in all",
        "medium  101 to 400 images   0 classes,    0 images in all",
        "tail    at most 100 images  2 classes,   96 images in all",
        "",
        "decoded   2.0 MiB as uint8, in memory or on a GPU",
        "a batch   192.0 KiB for 16 images as float32; networks take more",
        "compared  696 images: no copies",
    ]


def test_the_bins_are_those_of_the_release():
    assert [group_of(count) for count in (0, 100, 101, 400, 401)] == ["tail", "tail", "medium", "medium", "head"]


def test_of_many_classes_the_most_and_least_frequent_are_listed():
    labels = [label for label in range(30) for _ in range(label + 1)]
    text = str(look_into(Set([0] * len(labels), labels, tuple(f"kind {i}" for i in range(30))), compare=0))
    lines = text.splitlines()[3:24]
    assert [line.split()[0] for line in lines] == [*map(str, range(29, 19, -1)), "...", *map(str, range(9, -1, -1))]
    assert lines[10] == "... 10 classes between"


def test_copies_are_found_and_those_with_two_labels_named():
    facts = look_into(Set([5, 6, 5, 7, 6, 5], [0, 0, 0, 1, 1, 1], ("a", "b")))
    assert facts.copies == ((2, 0), (4, 1), (5, 0))
    assert facts.warnings == (
        "3 copies of other images: 2 is 0, 4 is 1, 5 is 0",
        "2 of the copies have another label than the image they are like: 4 and 1, 5 and 0",
    )
    assert "compared  6 images: 3 copies" in str(facts)


def test_not_all_images_need_be_compared():
    levels = [*range(100), *range(100)]
    facts = look_into(Set(levels), compare=100)
    assert facts.compared == 100
    assert facts.copies == tuple((i + 100, i) for i in range(0, 100, 2))  # every second image
    assert "compared  100 images of 200, evenly spaced: 50 copies" in str(facts)
    assert "compared  nothing" in str(look_into(Set(levels), compare=0))


def test_classes_without_images_and_labels_without_classes():
    facts = look_into(Set(range(6), [0, 2, 2, 9, -1, 0], ("a", "b", "c", "d", "a")))
    assert facts.counts == (2, 0, 2, 0, 0)
    assert facts.warnings == (
        "labels -1, 9 are none of the 5 classes, which are 0 to 4",
        "3 of 5 classes without images: 1 (b), 3 (d), 4 (a); number the classes without them",
        "several classes have the same name: a",
    )


def test_sets_without_labels():
    said = "networks with classes and scores by class need them"
    assert look_into(Set([1, 2])).warnings == (f"it has no class labels; {said}",)
    assert look_into(Set([1, 2], None, ("a", "b"))).warnings == (
        f"it has no class labels although it names 2 classes; {said}",
    )
    assert look_into(Set([1, 2], [0, 0], ("only",))).warnings == (
        "there is a single class, only; it says nothing about an image",
    )


def test_factors_stand_for_labels():
    facts = look_into(Sprites(resolution=16).open(), compare=0)
    assert facts.warnings == ()
    assert facts.factors[0] == ("shape", 3)
    assert "shape 3, scale 6" in facts.summary
    assert facts.rho is None


def test_long_work_says_how_far_it_is():
    seen = []

    def show(items, what, total):
        seen.append((what, total))
        yield from items

    with shown(show):
        look_into(Set([1] * 600))
    assert seen == [("comparing images", 3)]


def test_what_cannot_be_looked_into():
    with pytest.raises(ValueError, match=r"^the data set is empty; give one with at least one image$"):
        look_into(Set([]))
    with pytest.raises(
        ValueError, match=r"^batch=0, compare=5: give a batch of at least 1 image, and 0 or more to com"
    ):
        look_into(Set([1]), batch=0, compare=5)
