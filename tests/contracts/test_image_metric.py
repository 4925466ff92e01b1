"""What every score of generated against real features keeps."""

import dataclasses

import pytest
import torch

from contracts import scores
from contracts.examples import MeanGap
from contracts.members import members
from orthogen.core.features import PARTS, Features, Gathering
from orthogen.core.kinds import ImageMetric, ImageSet

MEMBERS = members(ImageMetric)
every = pytest.mark.parametrize("member", members(ImageMetric, example=MeanGap))
every_member = pytest.mark.parametrize("member", MEMBERS)


def features(dtype=torch.float64):
    """400 real and 300 generated images of two classes, with the logits of five; the fifth is never generated."""
    rng = torch.Generator().manual_seed(0)
    real, fake = torch.randn(400, 8, generator=rng), 1.5 * torch.randn(300, 8, generator=rng) + 0.3
    weight = torch.randn(8, 5, generator=rng)
    return tuple(
        Features(len(x), x.to(dtype), (x @ weight - shift).to(dtype), torch.arange(len(x)) % 2)
        for x, shift in ((real, torch.zeros(5)), (fake, torch.tensor([0.0, 0.0, 0.0, 0.0, 100.0])))
    )


class Stripes(ImageSet):
    """Ten images of two classes."""

    channels, resolution, classes = 1, 4, ("even", "odd")

    def __len__(self):
        return 10

    def images(self, index, *, rng=None):
        return (index % 2).to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)

    def labels(self, index):
        return index % 2


def alone(member):
    """Whether it looks at generated images alone."""
    return not member().needs_reference


def measure(member, real, fake, seed=1):
    return member()(real, fake, rng=torch.Generator().manual_seed(seed))


@every
def test_gives_a_score(member):
    score = measure(member, *features())
    scores.check(score)
    assert score.n == 300


@every
def test_a_seed_fixes_the_score_and_the_global_generator_is_not_touched(member):
    before = torch.get_rng_state()
    assert measure(member, *features()) == measure(member, *features())
    member()(*features())
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_the_order_of_the_images_does_not_matter(member):
    real, fake = features()
    plain, other = (measure(member, real, fake, seed) for seed in (1, 2))
    draws = plain.value != other.value  # subsets, which the order makes others
    close = pytest.approx(plain.value, rel=1e-6, abs=plain.stderr if draws else 0)
    assert measure(member, *(x.take(torch.arange(x.n).flip(0)) for x in (real, fake))).value == close


@every
def test_the_same_features_score_other_than_others(member):
    real, fake = features()
    assert measure(member, real, real).value != measure(member, real, fake).value


@every
def test_float32_and_float64_agree(member):
    single, double = (measure(member, *features(dtype)).value for dtype in (torch.float32, torch.float64))
    assert single == pytest.approx(double, rel=1e-3)


@every
def test_a_bare_tensor_stands_for_the_part_that_is_read(member):
    metric, (real, fake) = member(), features()
    if "labels" in metric.reads:
        pytest.skip("labels have no place in a bare tensor")
    bare = [x.logits if "logits" in metric.reads else x.vectors for x in (real, fake)]
    assert measure(member, *bare).value == measure(member, real, fake).value


@every
def test_reads_no_more_than_it_says(member):
    reads = member().reads
    assert reads
    assert reads <= set(PARTS)
    given = []
    for x in features():
        gathering = Gathering(reads)
        gathering.add(x.vectors, x.logits, x.labels)
        given.append(gathering.finish())
    assert measure(member, *given).value == pytest.approx(measure(member, *features()).value, rel=1e-9)


@every
def test_what_it_may_read_changes_no_more_than_parts(member):
    metric = member()
    assert metric.may_read <= set(PARTS) - metric.reads
    real, fake = features()
    bare = {"logits": None} if "logits" in metric.may_read else {}
    less = (dataclasses.replace(x, **bare) for x in (real, fake))
    assert measure(member, *less).value == measure(member, real, fake).value


@every
def test_a_metric_of_generated_images_alone_does_not_look_at_others(member):
    real, fake = features()
    if alone(member):
        assert measure(member, real.take(torch.arange(0)), fake) == measure(member, fake, fake)
    else:
        assert measure(member, real.take(torch.arange(200)), fake) != measure(member, real, fake)


@every
def test_takes_what_it_can_use_of_a_data_set(member):
    metric = member().with_data(Stripes())
    assert isinstance(metric, member)
    assert metric == member().with_data(Stripes())
    scores.check(metric(*features(), rng=torch.Generator().manual_seed(1)))


@every_member
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_half_precision_and_integers_are_computed_in_single_precision(member, dtype):
    coarse = [
        dataclasses.replace(x, vectors=(4 * x.vectors).to(dtype), logits=(4 * x.logits).clamp_min(-50).to(dtype))
        for x in features()
    ]
    single = [dataclasses.replace(x, vectors=x.vectors.float(), logits=x.logits.float()) for x in coarse]
    assert measure(member, *coarse).value == measure(member, *single).value


@every_member
def test_the_names_of_inceptions_scores_are_not_used_for_given_features(member):
    score = measure(member, *features())
    assert not {"FID", "KID", "IS"} & set(score.name.split())
    assert score.protocol["extractor"] == "none; features were given"


@every_member
@pytest.mark.usefixtures("unchecked")
def test_mistakes_take_one_line(member):
    real, fake = features()
    single = torch.zeros(fake.n, dtype=torch.int64)
    spoiled = torch.full_like(fake.vectors, torch.nan)
    mistakes = {
        "too few": (real.take(torch.arange(1)), fake.take(torch.arange(1))),
        "widths": (real, dataclasses.replace(fake, vectors=fake.vectors[:, :7], logits=fake.logits[:, :4])),
        "not finite": (real, dataclasses.replace(fake, vectors=spoiled, logits=spoiled[:, :5])),
        "nothing": (Features(400), Features(300)),
    }
    if "labels" in member().reads:
        mistakes["no labels"] = (real, dataclasses.replace(fake, labels=None))
        mistakes["one class"] = tuple(dataclasses.replace(x, labels=single[:1].expand(x.n)) for x in (real, fake))
    if alone(member):  # then the other set's width is nothing to it
        del mistakes["widths"]
    for what, given in mistakes.items():
        with pytest.raises(ValueError, match=member.__name__) as caught:
            measure(member, *given)
        assert "\n" not in str(caught.value), what
    with pytest.raises(TypeError, match="features were given as list"):
        measure(member, [1.0], [2.0])
