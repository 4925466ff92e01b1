import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.core.features import Features
from orthogen.metrics.inception_score import InceptionScore
from vectors import vectors


def logits(n, k=10, seed=0, scale=2.0):
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_the_golden_values():
    golden = vectors("image_metrics")
    given_logits = torch.tensor(golden["probs"]).log()
    one = InceptionScore(splits=1)(given_logits, given_logits)
    assert one.value == pytest.approx(golden["is_1split"].item(), rel=1e-9)
    ten = InceptionScore()(given_logits, given_logits)
    assert ten.value == pytest.approx(golden["is_10split_mean"].item(), rel=1e-9)
    spread = golden["is_10split_std"].item() * (9 / 10) ** 0.5  # divided by the number of splits, as the paper's
    assert ten.parts["splits_std"] == pytest.approx(spread, rel=1e-9)
    assert (ten.name, ten.n, ten.protocol["splits"]) == ("class score", 400, 10)


def test_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_isc")
    x = logits(503).float()
    theirs = fidelity.isc_features_to_metric(x, splits=10, shuffle=False)
    ours = InceptionScore()(x, x)
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-4)
    assert ours.parts["splits_std"] == pytest.approx(theirs["inception_score_std"], rel=1e-4)


@given(st.integers(0, 1000), st.integers(2, 12))
@settings(max_examples=40)
def test_lies_between_one_and_the_number_of_classes(seed, k):
    x = logits(40, k, seed, scale=5.0)
    assert 1 - 1e-9 <= InceptionScore(splits=2)(x, x).value <= k + 1e-9


def test_fixed_points():
    sure = 1e4 * torch.eye(5, dtype=torch.float64).repeat(8, 1)
    assert InceptionScore(splits=1)(sure, sure).value == pytest.approx(5)
    assert InceptionScore(splits=1)(sure, sure[:1].repeat(40, 1)).value == pytest.approx(1)
    assert InceptionScore(splits=1)(sure, torch.zeros(40, 5)).value == pytest.approx(1)
    assert InceptionScore(splits=1)(sure, sure + 100).value == pytest.approx(5)  # logits are up to a constant


@pytest.mark.parametrize(("n", "splits"), [(500, 1), (500, 10), (40, 10)])
def test_the_standard_error_is_the_spread_over_fresh_samples(n, splits):
    found = [InceptionScore(splits=splits)(x, x) for x in (logits(n, seed=seed) for seed in range(80))]
    spread = np.std([score.value for score in found], ddof=1)
    assert np.mean([score.stderr for score in found]) == pytest.approx(spread, rel=0.25)


def test_the_standard_error_is_the_jackknife():
    x, leaving = logits(12), []
    for i in range(12):
        rest = torch.cat([x[:i], x[i + 1 :]])
        leaving.append(InceptionScore(splits=1)(rest, rest).value)
    expected = np.sqrt(11 / 12 * np.sum((np.array(leaving) - np.mean(leaving)) ** 2))
    assert InceptionScore(splits=1)(x, x).stderr == pytest.approx(expected, rel=1e-9)


def test_too_few_images_for_an_error():
    assert [InceptionScore(splits=1)(logits(n), logits(n)).stderr is None for n in (2, 3, 4)] == [True, True, False]
    assert InceptionScore()(logits(39), logits(39)).stderr is None


def test_the_real_images_do_not_matter():
    fake = logits(40, seed=1)
    assert InceptionScore()(logits(0), fake) == InceptionScore()(logits(500, scale=9.0), fake)
    assert InceptionScore.needs_reference is False


def test_mistakes():
    with pytest.raises(ValueError, match=r"^InceptionScore was given 19 generated images; at least 20 are needed$"):
        InceptionScore()(logits(30), logits(19))
    with pytest.raises(ValueError, match=r"^InceptionScore: logits of the generated images are not all finite"):
        InceptionScore()(logits(30), Features(30, logits=logits(30) * torch.nan))
    with pytest.raises(ValueError, match=r"^InceptionScore\(splits=0\): give at least 1$"):
        InceptionScore(splits=0)
