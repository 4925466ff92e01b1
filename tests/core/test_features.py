import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.core.features import Features, Gathering, Moments


def vectors(n=100, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 7


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 6), st.sampled_from([0.0, 1e4]))
@settings(max_examples=60)
def test_streamed_moments_are_those_in_memory_however_the_batches_fall(sizes, d, offset):
    x = vectors(sum(sizes) + 1, d) + offset
    gathering = Gathering({"moments"})
    for batch in x.split([*sizes, 1]):
        gathering.add(batch)
    found, expected = gathering.finish().moments, Moments.of(x)
    assert found.n == expected.n == len(x)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-9, atol=1e-9)


def test_moments_are_those_of_numpy():
    x = vectors().float()
    found = Moments.of(x)
    torch.testing.assert_close(found.mean, x.double().mean(dim=0))
    torch.testing.assert_close(found.covariance, x.double().T.cov())
    assert found.sample is x


def test_memory_does_not_grow_with_the_images_where_moments_alone_are_read():
    gathering, held = Gathering({"moments"}, sample=64), []
    for i in range(30):
        gathering.add(vectors(50, seed=i), torch.zeros(50, 3), torch.zeros(50, dtype=torch.int64))
        held.append(sum(tensor.numel() for tensors in gathering._lists.values() for tensor in tensors))
    assert held[2:] == [64 * 5] * 28
    found = gathering.finish()
    assert found.n == 1500
    assert len(found.moments.sample) == 64
    assert [found.has(part) for part in ("moments", "vectors", "logits", "labels")] == [True, False, False, False]


def test_a_kept_sample_is_not_a_view_of_the_batch():
    x = vectors(10).float()
    gathering = Gathering({"moments"}, sample=4)
    gathering.add(x)
    expected = x[:4].clone()
    x.zero_()
    assert torch.equal(gathering.finish().moments.sample, expected)


def test_what_was_asked_for_is_kept_in_order():
    x, logits, labels = vectors(), torch.randn(100, 3), torch.arange(100)
    gathering = Gathering({"vectors", "logits", "labels", "moments"})
    for start in range(0, 100, 30):
        rows = slice(start, start + 30)
        gathering.add(x[rows], logits[rows], labels[rows])
    found = gathering.finish()
    assert torch.equal(found.vectors, x)  # float64 stays what it is
    assert torch.equal(found.logits, logits)
    assert torch.equal(found.labels, labels)
    torch.testing.assert_close(found.need_moments("test").covariance, x.T.cov())
    half = Gathering({"vectors"})
    half.add(x.half())
    assert half.finish().vectors.dtype == torch.float32


def test_take_keeps_rows_together():
    all_of = Features(100, vectors(), torch.randn(100, 3), torch.arange(100))
    some = all_of.take(torch.tensor([5, 3]))
    assert some.n == 2
    assert some.labels.tolist() == [5, 3]
    assert torch.equal(some.vectors, all_of.vectors[[5, 3]])
    assert Features(100, labels=torch.arange(100)).take(torch.tensor([1])).vectors is None


def test_bare_tensors_and_features():
    x = vectors()
    assert Features.of(x).vectors is x
    assert Features.of(x, "logits").logits is x
    given_features = Features(100, x)
    assert Features.of(given_features) is given_features


@pytest.mark.usefixtures("unchecked")
def test_mistakes():
    x = vectors()
    spoiled = x.clone()
    spoiled[[3, 7], 0] = torch.nan
    with pytest.raises(
        ValueError, match=r"^features of shape \(100, 5, 1\) were given; \(images, features\) is needed$"
    ):
        Features.of(x[:, :, None])
    with pytest.raises(TypeError, match=r"^features were given as list; a tensor"):
        Features.of([1.0])
    with pytest.raises(ValueError, match=r"^2 of 100 rows of features are not finite; leave these images out$"):
        Features.of(spoiled)
    with pytest.raises(ValueError, match=r"2 of 100 rows of features are not finite"):
        Gathering({"moments"}).add(spoiled)
    with pytest.raises(ValueError, match=r"^1 feature vectors have no covariance; give at least 2$"):
        Moments.of(x[:1])
    with pytest.raises(ValueError, match=r"^there is nothing called pixels to gather; choose from"):
        Gathering({"vectors", "pixels"})
    with pytest.raises(ValueError, match=r"^0 images were gathered; at least 2 are needed"):
        Gathering({"vectors"}).finish()
    with pytest.raises(ValueError, match=r"^100 labels were given for 99 images; give one for each image$"):
        Features(99, labels=torch.arange(100))
    nothing = Features(100)
    with pytest.raises(ValueError, match=r"^Kid needs the feature vectors of both sets"):
        nothing.need_vectors("Kid")
    with pytest.raises(ValueError, match=r"^Fid needs the feature vectors of both sets"):
        nothing.need_moments("Fid")
    with pytest.raises(ValueError, match=r"^InceptionScore needs class logits; use an extractor that returns"):
        nothing.need_logits("InceptionScore")
    with pytest.raises(ValueError, match=r"^PerClass needs the class of each image"):
        nothing.need_labels("PerClass")
