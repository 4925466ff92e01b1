import json

import numpy as np
import pytest
import torch

from orthogen.core import record
from orthogen.core.features import Features
from orthogen.core.kinds import ImageSet
from orthogen.metrics.density_coverage import DensityCoverage
from orthogen.metrics.fid import Fid
from orthogen.metrics.inception_score import InceptionScore
from orthogen.metrics.kid import Kid
from orthogen.metrics.mode_coverage import ModeCoverage
from orthogen.metrics.per_class import PerClass
from orthogen.metrics.precision_recall import PrecisionRecall


def images(counts, d=4, seed=0, scale=1.0):
    """As many images of each class as ``counts`` says, in mixed order."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=rng)]
    vectors = scale * torch.randn(len(labels), d, generator=rng, dtype=torch.float64) + 3 * labels[:, None]
    return Features(len(labels), vectors, vectors * 2, labels)


def of_class(features, label):
    return features.take((features.labels == label).nonzero()[:, 0])


def test_each_class_gets_what_the_metric_says_of_it():
    real, fake = images([300, 300, 300]), images([250, 200, 150], seed=1, scale=1.2)
    score = PerClass(least=100)(real, fake)
    alone = [Fid()(of_class(real, label), of_class(fake, label)) for label in range(3)]
    assert score.parts["classes"] == [0, 1, 2]
    assert score.parts["real"] == [300, 300, 300]
    assert score.parts["fake"] == [250, 200, 150]
    assert score.parts["value"] == pytest.approx([each.value for each in alone])
    assert score.parts["stderr"] == pytest.approx([each.stderr for each in alone])
    assert score.parts["biased"] == [each.parts["biased"] for each in alone]
    assert score.value == pytest.approx(np.mean([each.value for each in alone]))
    assert score.stderr == pytest.approx(np.sqrt(sum(each.stderr**2 for each in alone)) / 3)
    low, high = np.array(score.parts["low"]), np.array(score.parts["high"])
    np.testing.assert_allclose((low + high) / 2, score.parts["value"])
    np.testing.assert_allclose(high - low, 2 * 1.96 * np.array(score.parts["stderr"]), rtol=1e-4)
    assert (score.name, score.n) == ("Frechet distance by class", 600)
    assert score.protocol["reference_per_class"] == [300, 300]
    assert (score.protocol["classes"], score.protocol["counts"], score.protocol["bins"]) == ([0, 1, 2], [], [40, 100])
    assert score.parts["balanced_reference"] is True
    assert not {"head", "refused_value"} & set(score.parts)
    json.dumps(score.parts, allow_nan=False)


@pytest.mark.parametrize("metric", [Kid(), PrecisionRecall(), DensityCoverage(), InceptionScore(splits=1), "Kid"])
def test_any_metric_of_images(metric):
    real, fake = images([40, 40]), images([30, 30], seed=1)
    score = PerClass(metric)(real, fake, rng=torch.Generator().manual_seed(0))
    assert None not in score.parts["value"]
    assert score.parts["refused"] == []
    assert score.name.endswith(" by class")


def test_reads_what_the_metrics_read_and_labels():
    assert PerClass().reads == {"vectors", "labels"}
    assert PerClass(InceptionScore()).reads == {"logits", "labels"}
    assert PerClass(instead=ModeCoverage()).reads == {"vectors", "logits", "labels"}


def test_may_read_what_the_metric_may_read(monkeypatch):
    assert PerClass(Kid()).may_read == set()
    monkeypatch.setattr(Kid, "may_read", frozenset({"logits"}))
    assert PerClass(Kid()).may_read == {"logits"}


def test_a_small_class_is_refused_the_frechet_distance_and_gets_the_kernel_distance():
    real, fake = images([200, 50, 200]), images([200, 200, 200], seed=1, scale=1.3)
    score = PerClass(least=100)(real, fake, rng=torch.Generator().manual_seed(0))
    parts = score.parts
    assert parts["refused"] == [1]
    assert [value is None for value in parts["value"]] == [False, True, False]
    assert [value is None for value in parts["instead_value"]] == [True, False, True]
    assert parts["instead_low"][1] < parts["instead_value"][1] < parts["instead_high"][1]
    assert score.value == pytest.approx((parts["value"][0] + parts["value"][2]) / 2)  # units do not mix
    assert parts["balanced_reference"] is False
    everyone = PerClass()(real, fake, rng=torch.Generator().manual_seed(0))
    assert everyone.parts["refused"] == [0, 1, 2]
    assert everyone.name == "kernel distance by class"
    assert everyone.value == pytest.approx(np.mean(everyone.parts["instead_value"]))
    assert everyone.stderr > 0


def test_groups_of_an_imbalanced_set():
    counts = [400, 101, 100, 41, 40, 8]
    real, fake = images(counts), images([60] * 6, seed=1)
    parts = PerClass("Kid")(real, fake, rng=torch.Generator().manual_seed(0)).parts
    assert [parts[f"{name}_classes"] for name in ("head", "medium", "tail")] == [[0, 1], [2, 3], [4, 5]]
    assert parts["head"] == pytest.approx(np.mean(parts["value"][:2]))
    assert parts["tail_stderr"] == pytest.approx(np.hypot(*parts["stderr"][4:]) / 2)
    balanced = images([60] * 6)
    of_training = PerClass("Kid", counts=(5000, 401, 400, 101, 100, 1), bins=(100, 400))(balanced, fake).parts
    names = ("head", "medium", "tail")
    assert [of_training[f"{name}_classes"] for name in names] == [[0, 1], [2, 3], [4, 5]]
    assert of_training["balanced_reference"] is True
    assert "head" not in PerClass("Kid")(balanced, fake).parts
    assert "head" not in PerClass("Kid", counts=(7,) * 6)(balanced, fake).parts


def test_how_many_images_were_generated_of_each_class_is_a_result():
    real, metric = images([60, 60]), PerClass("Kid")
    one, other = (metric(real, images(counts, seed=1)) for counts in ([40, 80], [70, 50]))
    assert one.protocol == other.protocol
    assert one.parts["fake"] != other.parts["fake"]


def test_means_over_other_classes_or_groups_have_another_protocol():
    real, fake = images([60, 60, 60]), images([60, 60, 60], seed=1)
    plain = PerClass("Kid")(real, fake).protocol
    fewer = PerClass("Kid")(real, fake.take((fake.labels < 2).nonzero()[:, 0])).protocol
    assert (plain["classes"], fewer["classes"]) == ([0, 1, 2], [0, 1])
    assert PerClass("Kid", bins=(100, 400))(real, fake).protocol != plain
    assert PerClass("Kid", counts=(9, 9, 9))(real, fake).protocol != plain


def test_many_classes_are_named_by_a_hash():
    real, fake = images([4] * 22), images([4] * 22, seed=1)
    some = [PerClass("Kid")(real, fake.take((fake.labels != c).nonzero()[:, 0])).protocol["classes"] for c in (3, 4)]
    assert [each["classes"] for each in some] == [21, 21]
    assert some[0]["hash"] != some[1]["hash"]


class Imbalanced(ImageSet):
    """Images of three classes, 30, 60 and 150 of them."""

    channels, resolution, classes = 1, 4, ("few", "some", "many")

    def __len__(self):
        return 240

    def images(self, index, *, rng=None):
        return torch.zeros(len(index), 1, 4, 4, dtype=torch.uint8)

    def labels(self, index):
        return (index >= 30).long() + (index >= 90)


def test_groups_follow_the_counts_of_the_data(monkeypatch):
    data, real, fake = Imbalanced(), images([30, 30, 30]), images([30, 30, 30], seed=1)
    metric = PerClass("Kid").with_data(data)
    assert metric.counts == (30, 60, 150)
    parts = metric(real, fake).parts
    assert [parts[f"{name}_classes"] for name in ("tail", "medium", "head")] == [[0], [1], [2]]
    assert parts["balanced_reference"] is True
    assert "tail" not in PerClass("Kid")(real, fake).parts
    assert PerClass("Kid", counts=(1, 2, 3)).with_data(data).counts == (1, 2, 3)
    monkeypatch.setattr(Imbalanced, "classes", ())
    assert PerClass("Kid").with_data(data).counts == ()
    monkeypatch.setattr(Imbalanced, "classes", ("few", "some"))
    with pytest.raises(
        ValueError, match=r"^the data has 2 classes and labels from 0 to 2; labels must be from 0 to 1$"
    ):
        PerClass("Kid").with_data(data)


def test_a_group_that_was_refused_has_no_mean():
    real, fake = images([300, 300, 20]), images([300, 300, 300], seed=1)
    parts = PerClass(least=100)(real, fake).parts
    assert parts["tail_classes"] == [2]
    assert "tail" not in parts
    assert parts["head"] == pytest.approx(np.mean(parts["value"][:2]))


def test_a_class_without_enough_images_is_missing():
    real, fake = images([60, 60, 60, 0]), images([60, 0, 2, 60], seed=1)
    parts = PerClass("Kid")(real, fake).parts
    assert parts["classes"] == [0, 1, 2, 3]
    assert parts["missing"] == [1, 2, 3]
    assert parts["value"][1:] == [None, None, None]
    assert parts["missing_because"][0].startswith("Kid was given 60 real and 0 generated images")


def test_it_is_a_value():
    metric = PerClass(PrecisionRecall(k=5), counts=(3, 2), bins=(1, 2))
    assert record.from_json(json.loads(json.dumps(record.to_json(metric)))) == metric


@pytest.mark.usefixtures("unchecked")
def test_mistakes():
    real, fake = images([20, 20]), images([20, 20], seed=1)
    with pytest.raises(ValueError, match=r"^PerClass needs the class of each image; give Features\(..., labels=...\)"):
        PerClass()(real.vectors, fake.vectors)
    with pytest.raises(ValueError, match=r"^PerClass found the single class 1; measure the metric itself instead$"):
        PerClass()(of_class(real, 1), of_class(fake, 1))
    with pytest.raises(
        ValueError, match=r"^PerClass: no class has enough images; the first of 2: Kid was given 20 real"
    ):
        PerClass()(real, fake.take(torch.arange(2)))
    with pytest.raises(ValueError, match=r"^PerClass has training counts of 1 classes, and there is a class 1$"):
        PerClass("Kid", counts=(5,))(real, fake)
    with pytest.raises(ValueError, match=r"^PerClass\(bins=\(100, 40\)\): the two numbers of images must ascend"):
        PerClass(bins=(100, 40))
    with pytest.raises(TypeError, match=r"^PerClass: nothing here is called 'Fidd'; nearest: Fid"):
        PerClass("Fidd")(real, fake)
    with pytest.raises(
        TypeError, match=r"^PerClass was given Mig\(.*\); it takes a metric of real and generated images"
    ):
        PerClass("Mig")(real, fake)
    with pytest.raises(TypeError, match=r"^PerClass was given PerClass"):
        PerClass(PerClass())(real, fake)
