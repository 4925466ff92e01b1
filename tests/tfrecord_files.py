"""TFRecord files of images, written by others: TensorBoard frames the records, protobuf encodes what is in them."""

from pathlib import Path

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboard.summary.writer.record_writer import RecordWriter

FIELD = descriptor_pb2.FieldDescriptorProto
MESSAGES = {  # name: (field, number, type, repeated, name of its message)
    "BytesList": [("value", 1, FIELD.TYPE_BYTES, True, None)],
    "FloatList": [("value", 1, FIELD.TYPE_FLOAT, True, None)],
    "Int64List": [("value", 1, FIELD.TYPE_INT64, True, None)],
    "Feature": [
        ("bytes_list", 1, FIELD.TYPE_MESSAGE, False, "BytesList"),
        ("float_list", 2, FIELD.TYPE_MESSAGE, False, "FloatList"),
        ("int64_list", 3, FIELD.TYPE_MESSAGE, False, "Int64List"),
    ],
    "Features": [("feature", 1, FIELD.TYPE_MESSAGE, True, "Features.FeatureEntry")],
    "Example": [("features", 1, FIELD.TYPE_MESSAGE, False, "Features")],
}
ENTRY = [("key", 1, FIELD.TYPE_STRING, False, None), ("value", 2, FIELD.TYPE_MESSAGE, False, "Feature")]


def _add(message, fields):
    for name, number, kind, repeated, of in fields:
        label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=kind, label=label, type_name=of and f".test.{of}")


def _example():
    """``tf.train.Example``, as its description is published."""
    file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="test", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        _add(message, fields)
        if name == "Features":
            entry = message.nested_type.add(name="FeatureEntry")
            _add(entry, ENTRY)
            entry.options.map_entry = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Example"))


Example = _example()


def example(pixels, shape=None):
    """The message of an image ``(channels, height, width)``, as the published files hold it."""
    made = Example()
    made.features.feature["shape"].int64_list.value.extend(pixels.shape if shape is None else shape)
    made.features.feature["data"].bytes_list.value.append(np.ascontiguousarray(pixels).tobytes())
    return made.SerializeToString()


def write_records(path, records):
    """A TFRecord file of those records."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
    return path


def noise(n, side, channels=3, seed=0):
    """Images ``(n, channels, side, side)``."""
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def write_images(path, images):
    """A TFRecord file of images."""
    return write_records(path, map(example, images))
