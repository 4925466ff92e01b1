"""What every data set keeps."""

import dataclasses
import re

import pytest
import torch

import orthogen as og
from contracts.examples import Stripes
from contracts.members import members
from orthogen.core.images import to_float
from orthogen.core.kinds import Data, FactorSet, ImageSet

MEMBERS = members(Data)
IN_FILES = [case for case in MEMBERS if "path" in {field.name for field in dataclasses.fields(case.values[0])}]
in_files = pytest.mark.parametrize("member", IN_FILES)
USERS = {"ImageFolder", "ImageArchive"}  # whose files are the user's own
published = pytest.mark.parametrize("member", [case for case in IN_FILES if case.values[0].__name__ not in USERS])
drawn = pytest.mark.parametrize("member", [case for case in MEMBERS if case not in IN_FILES])


# what is made of another set gets labeled stripes, or what it needs besides
MADE_OF = {"FactorClasses": og.Shapes3d(resolution=32)}


def opened_set(member: type[Data]) -> ImageSet:
    """The images, small where the size is a choice; a set that is made of another gets one of ours."""
    names = {field.name for field in dataclasses.fields(member)}
    if "data" in names:
        return member(data=MADE_OF.get(member.__name__, Stripes())).open()
    return (member(resolution=32) if "resolution" in names else member()).open()


def some(opened, n=7):
    return torch.randint(len(opened), (n,), generator=torch.Generator().manual_seed(0))


@in_files
def test_without_a_path_the_error_says_what_to_give(member):
    with pytest.raises((FileNotFoundError, ValueError), match=rf"^{member.__name__}\b.*\bgive\b") as error:
        member().open()
    assert "\n" not in str(error.value)


@in_files
def test_a_path_that_is_not_there_is_named(member):
    with pytest.raises(FileNotFoundError, match="no such place") as error:
        member(path="no such place").open()
    assert "\n" not in str(error.value)


@published
@pytest.mark.parametrize("path", ["", "no such place"])
def test_missing_files_are_said_where_to_get_and_where_to_put(member, path):
    name = member.__name__
    with pytest.raises(FileNotFoundError) as error:
        member(path=path).open()
    assert str(error.value).endswith(f", wherever it lies, as {name}(path=...), or {name}:PATH on the command line")
    assert name == "AnimeFace" or re.search(r" of (http://)?(\w+\.)+\w+/\S", str(error.value))  # which is several sets


@published
def test_an_empty_folder_is_said_what_belongs_there(member, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"^{member.__name__}: .*\b(give|get|unpack)\b") as error:
        member(path=tmp_path).open()
    assert "\n" not in str(error.value)


@drawn
def test_images_are_uint8_of_the_declared_shape(member):
    opened = opened_set(member)
    index = some(opened)
    images = opened.images(index)
    assert images.dtype == torch.uint8
    assert images.shape == (7, opened.channels, opened.resolution, opened.resolution)
    assert images.float().std() > 10  # something to see
    assert len({bytes(image.flatten().tolist()) for image in images}) == len(index.unique())


@drawn
def test_an_image_does_not_depend_on_its_batch(member):
    opened = opened_set(member)
    index = some(opened)
    before = torch.get_rng_state()
    images = opened.images(index)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(opened.images(index.flip(0)), images.flip(0))
    assert torch.equal(opened.images(index[:1]), images[:1])
    assert torch.equal(opened_set(member).images(index), images)


@drawn
def test_labels_are_class_numbers(member):
    opened = opened_set(member)
    labels = opened.labels(some(opened))
    assert (labels is None) == (opened.classes == ())
    if labels is not None:
        assert labels.dtype == torch.int64
        assert labels.min() >= 0
        assert labels.max() < len(opened.classes)


@drawn
def test_an_index_that_is_not_there_is_refused_in_one_line(member):
    opened = opened_set(member)
    with pytest.raises((ValueError, IndexError)) as error:
        opened.images(torch.tensor([len(opened)]))
    assert "\n" not in str(error.value)


@drawn
def test_factors_and_index_are_one_number(member):
    opened = opened_set(member)
    if not isinstance(opened, FactorSet):
        return
    index = torch.cat([some(opened, 500), torch.tensor([0, len(opened) - 1])])
    factors = opened.factors(index)
    assert factors.dtype == torch.int64
    assert len(opened.factor_names) == len(opened.factor_sizes) == factors.shape[1]
    assert torch.equal(opened.index(factors), index)
    assert (factors >= 0).all()
    assert (factors < torch.tensor(opened.factor_sizes)).all()
    assert factors[-1].tolist() == [size - 1 for size in opened.factor_sizes]


@drawn
def test_factors_are_read_back_with_a_confidence_for_each(member):
    opened = opened_set(member)
    if not isinstance(opened, FactorSet):
        return
    index = some(opened)
    values, confidence = opened.read_factors(to_float(opened.images(index)))
    assert values.shape == confidence.shape == (7, len(opened.factor_sizes))
    assert values.dtype == torch.int64
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    assert opened.same(values, opened.factors(index)).float().mean() > 0.9
