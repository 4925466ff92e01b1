"""Images in tf.train.Example, against protobuf's encoding, and what is said of other messages."""

import contextlib
import re

import numpy as np
import pytest
from hypothesis import example as such_as
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.data._example import Unreadable, image_of
from tfrecord_files import Example, example, noise


def refused(record):
    with pytest.raises(Unreadable) as caught:
        image_of(memoryview(record))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(st.sampled_from([1, 3]), st.integers(1, 40), st.integers(0, 9))
def test_images_come_back(channels, side, seed):
    pixels = noise(1, side, channels, seed)[0]
    image = image_of(memoryview(example(pixels)))
    assert image.dtype == np.uint8
    assert np.array_equal(image, pixels)


def test_other_features_are_passed_over():
    made = Example.FromString(example(noise(1, 4)[0]))
    made.features.feature["label"].int64_list.value.append(-3)
    made.features.feature["weights"].float_list.value.extend([1.0, 2.0])
    made.features.feature["name"].bytes_list.value.extend([b"a", b"b"])
    assert np.array_equal(image_of(memoryview(made.SerializeToString())), noise(1, 4)[0])


def field(number, data):
    """A field of bytes, shorter than 128 of them."""
    return bytes([number << 3 | 2, len(data)]) + data


def record(shape, data=b"\x0a\x06\x0a\x04abcd"):
    """A record whose features are those messages."""
    features = field(1, field(1, b"shape") + field(2, shape)) + field(1, field(1, b"data") + field(2, data))
    return field(1, features)


def test_integers_that_are_not_packed():
    assert image_of(memoryview(record(field(3, b"\x08\x01\x08\x02\x08\x02")))).tolist() == [[[97, 98], [99, 100]]]


def test_kinds_of_fields_that_are_passed_over():
    fixed = b"\x29" + bytes(8) + b"\x35" + bytes(4)  # 64 and 32 bits
    assert image_of(memoryview(fixed + record(field(3, b"\x0a\x03\x01\x02\x02")))).shape == (1, 2, 2)


@pytest.mark.parametrize(
    "shape", [(-1, 2, 2), (1, -2, -2), (3, 0, 0), (1, 2, 3), (2, 2, 2), (1, 2**40, 2**40), (1, 3, 3), (3, 2, 2)]
)
def test_shapes_that_are_none_of_an_image(shape):
    known = "(1 or 3, side, side) with a byte for each is read"
    text = f"has an image of shape {shape} in 4 bytes; {known}"
    assert refused(example(np.zeros(4, dtype=np.uint8), shape)) == text


@pytest.mark.parametrize("shape", [(), (4,), (1, 1, 2, 2), (1,) * 1000])
def test_shapes_of_other_lengths(shape):
    text = refused(example(np.zeros(4, dtype=np.uint8), shape))
    assert text == f"has a shape of {len(shape):,} numbers; channels, height and width are read"


def test_missing_features():
    for names in (("shape",), ("data",), ("shape", "data")):
        made = Example.FromString(example(noise(1, 4)[0]))
        for name in names:
            del made.features.feature[name]
        text = refused(made.SerializeToString())
        assert text == f"has no feature {' and no '.join(names)}; images with shape and data are read"
    assert refused(b"").startswith("has no feature shape and no data")


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        (b"\x0a\x05abc", "has a field of 5 bytes where 3 are left"),
        (b"\x0a" + b"\xff" * 8 + b"\x7f", "has a field of 9,223,372,036,854,775,807 bytes where 0 are left"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "has a field of 18,446,744,073,709,551,615 bytes where 0 are left"),
        (b"\x0a" + b"\xff" * 9 + b"\x02", "has a number of more than 64 bits"),
        (b"\xff" * 100, "has a number of more than 64 bits"),
        (b"\x08", "ends within a number"),
        (b"\x08\x80", "ends within a number"),
        (b"\x0b\x0c", "has a field of kind 3, which no tf.train.Example has"),
        (b"\x0d\x00", "has a field of 4 bytes where 1 are left"),
        (record(field(3, b"\x0a\x02\x01\xff")), "ends within a number"),
        (record(b"\x1a\x09"), "has a field of 9 bytes where 0 are left"),
    ],
)
def test_broken_messages(damaged, says):
    assert refused(damaged) == says


def test_cut_at_each_byte():
    whole = example(noise(1, 2)[0])
    for length in range(len(whole)):
        refused(whole[:length])


@given(st.binary(max_size=60))
@such_as(b"\x0a\x00")
@settings(max_examples=300)
def test_any_bytes_are_refused_in_words(data):
    assert re.match("has |ends ", refused(data))


@given(st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=200)
def test_any_byte_changed_is_refused_or_an_image(at, byte):
    whole = bytearray(example(noise(1, 6)[0]))
    whole[at % len(whole)] = byte
    with contextlib.suppress(Unreadable):
        assert image_of(memoryview(whole)).ndim == 3
