"""An image in a ``tf.train.Example``, the message of protocol buffers that TFRecord files hold, without TensorFlow.

Its fields, of which others are passed over::

    Example   { Features features = 1; }
    Features  { map<string, Feature> feature = 1; }      an entry of a map is a message { key = 1; value = 2; }
    Feature   { BytesList bytes_list = 1; Int64List int64_list = 3; }
    BytesList { repeated bytes value = 1; }
    Int64List { repeated int64 value = 1; }              packed or not
"""

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

__all__ = ["Unreadable", "image_of"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is written: the low three bits of its tag


class Unreadable(ValueError):
    """The record holds no such image; the message completes "record 3 of FILE ..."."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of 7 bits to a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise Unreadable("ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    if byte > 127 or value >> 64:
        raise Unreadable("has a number of more than 64 bits")
    return value, at


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an integer, or bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        value: int | memoryview
        if kind == VARINT:
            value, at = _varint(message, at)
        else:
            if kind == BYTES:
                size, at = _varint(message, at)
            elif kind in (FIXED64, FIXED32):
                size = 8 if kind == FIXED64 else 4
            else:
                raise Unreadable(f"has a field of kind {kind}, which no tf.train.Example has")
            if size > len(message) - at:
                raise Unreadable(f"has a field of {size:,} bytes where {len(message) - at:,} are left")
            value, at = message[at : at + size], at + size
        yield number, value


def _inside(message: memoryview, number: int) -> Iterator[memoryview]:
    """What the fields of that number hold, of those that are messages, strings or bytes."""
    return (value for n, value in _fields(message) if n == number and isinstance(value, memoryview))


def _integers(feature: memoryview) -> list[int]:
    found = []
    for listed in _inside(feature, 3):
        for number, value in _fields(listed):
            if number == 1 and isinstance(value, int):
                found.append(value)
            elif number == 1 and isinstance(value, memoryview):
                at = 0
                while at < len(value):
                    one, at = _varint(value, at)
                    found.append(one)
    return [value - (value >> 63 << 64) for value in found]  # two's complement


def image_of(record: memoryview) -> NDArray[np.uint8]:
    """The image whose features are ``shape``, three integers (channels, height, width), and ``data``, its bytes.

    Raises:
        Unreadable: it is not there, or not square, or neither gray nor RGB; or the record is no such message.

    Example:
        >>> record = bytes.fromhex("0a240a100a046461746112080a060a04" + b"abcd".hex() +
        ...     "0a100a05" + b"shape".hex() + "12071a050a03010202")
        >>> image_of(memoryview(record)).tolist()
        [[[97, 98], [99, 100]]]
    """
    features = {}
    for part in _inside(record, 1):
        for entry in _inside(part, 1):
            key, value = (b"".join(_inside(entry, number)) for number in (1, 2))
            features[key] = memoryview(value)
    missing = [name for name in ("shape", "data") if name.encode() not in features]
    if missing:
        raise Unreadable(f"has no feature {' and no '.join(missing)}; images with shape and data are read")
    shape = tuple(_integers(features[b"shape"]))
    if len(shape) != 3:
        raise Unreadable(f"has a shape of {len(shape):,} numbers; channels, height and width are read")
    pixels = b"".join(each for listed in _inside(features[b"data"], 1) for each in _inside(listed, 1))
    if shape[0] not in (1, 3) or not shape[1] == shape[2] > 0 or prod(shape) != len(pixels):
        known = "(1 or 3, side, side) with a byte for each is read"
        raise Unreadable(f"has an image of shape {shape} in {len(pixels):,} bytes; {known}")
    return np.frombuffer(pixels, dtype=np.uint8).reshape(shape)
