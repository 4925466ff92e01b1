"""The framing of TFRecord files, against TensorBoard's writer, and what is said of damaged ones."""

import pickle
import re
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow as theirs

from orthogen.data._crc32c import crc32c, masked_crc32c
from orthogen.data._tfrecords import Records
from tfrecord_files import write_records

FEW = [b"one", b"", b"three" * 50]


@pytest.fixture
def file(tmp_path):
    return write_records(tmp_path / "few.tfrecords", FEW)


def all_of(path):
    records = Records(path)
    return [bytes(records[i]) for i in range(len(records))]


def refused(path):
    """The one line that reading all records gives."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        all_of(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


# ---------------------------------------------------------------------------------------------- checksums
@pytest.mark.parametrize(
    ("data", "crc"),
    [  # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_of_the_standard(data, crc):
    assert crc32c(data) == crc


@given(st.integers(0, 1500), st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_checksums_of_any_length_are_tensorboards(length, seed):
    data = bytes(seed * (i + 1) >> 7 & 255 for i in range(length))
    assert crc32c(data) == theirs.crc32c(data)
    assert masked_crc32c(memoryview(data)) == theirs.masked_crc32c(data)


# ---------------------------------------------------------------------------------------------- good files
@given(st.lists(st.binary(max_size=300), max_size=8))
@settings(max_examples=50)
def test_records_come_back_in_any_order(tmp_path_factory, written):
    path = write_records(tmp_path_factory.mktemp("records") / "a.tfrecords", written)
    records = Records(path)
    assert len(records) == len(written)
    for i in reversed(range(len(written))):
        assert bytes(records[i]) == written[i]


def test_numbers_that_are_not_there(file):
    records = Records(file)
    for i in (3, -1):
        with pytest.raises(IndexError, match=rf"few.tfrecords has 3 records and none of number {i}; they"):
            records[i]


def test_threads_share_the_records(file):
    records = Records(file)
    with ThreadPoolExecutor(8) as pool:
        assert all(bytes(data) == FEW[i % 3] for i, data in enumerate(pool.map(lambda i: records[i % 3], range(300))))


def test_another_process_maps_the_file_for_itself(file):
    sent = pickle.dumps(Records(file))
    assert len(sent) < 1000  # not the file
    code = "import pickle, sys; print(bytes(pickle.load(sys.stdin.buffer)[2]))"
    run = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert run.stdout.decode().strip() == str(FEW[2])


def test_a_file_that_has_grown_since_is_refused(file):
    sent = pickle.dumps(Records(file))
    with file.open("ab") as grown:
        grown.write(b"more")
    with pytest.raises(ValueError, match=r"few.tfrecords has another length than when it was opened; open it again$"):
        pickle.loads(sent)


def test_opening_reads_no_data(file):
    damaged = file.read_bytes().replace(b"three", b"THREE")
    file.write_bytes(damaged)
    records = Records(file)
    assert bytes(records[0]) == b"one"
    for _ in range(2):  # what was found damaged once is not taken for sound
        with pytest.raises(ValueError, match=r"record 2 of .* is damaged"):
            records[2]


# ---------------------------------------------------------------------------------------------- damaged files
def test_cut_at_each_byte(file):
    whole = file.read_bytes()
    ends = [0, 19, 35, len(whole)]  # of records: 16 bytes and the data
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        if length in ends:  # a file of fewer records
            assert all_of(file) == FEW[: ends.index(length)]
        else:
            number = sum(length > end for end in ends) - 1
            assert re.fullmatch(rf"record {number} of FILE is cut off after [^;]* bytes; copy it again", refused(file))


def test_the_line_says_how_much_is_there(file):
    file.write_bytes(file.read_bytes()[:100])
    assert refused(file) == "record 2 of FILE is cut off after 65 of 266 bytes; copy it again"


def test_any_byte_changed(file):
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        text = refused(file)
        number = sum(at >= end for end in (19, 35))
        first = "FILE is no TFRecord file, or its first record is damaged" if at < 12 else "record 0 of FILE is damaged"
        assert text.startswith(f"record {number} of FILE is damaged" if number else first)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40])
def test_a_huge_length_with_its_checksum(tmp_path, length):
    head = struct.pack("<Q", length)
    path = tmp_path / "a.tfrecords"
    path.write_bytes(head + struct.pack("<I", theirs.masked_crc32c(head)) + b"data")
    assert refused(path) == f"record 0 of FILE is cut off after 16 of {length + 16:,} bytes; copy it again"


def test_other_files(tmp_path):
    path = tmp_path / "a.tfrecords"
    path.write_bytes(b"<html>The page that you asked for is not here any more.</html>")
    what = "is damaged: its length does not match its checksum; copy it again"
    assert refused(path) == f"FILE is no TFRecord file, or its first record {what}"
    with pytest.raises(FileNotFoundError):
        Records(tmp_path / "none")
