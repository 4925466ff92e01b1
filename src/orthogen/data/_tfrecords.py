"""The records of a TFRecord file, without TensorFlow."""

import mmap
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthogen.data._crc32c import masked_crc32c

__all__ = ["Records"]

LENGTH = struct.Struct("<Q")
HEAD = struct.Struct("<QI")  # length, and its checksum
FOOT = struct.Struct("<I")  # checksum of the data


@lru_cache(maxsize=1024)  # the records of a file have few lengths
def _checksum(length: int) -> int:
    return masked_crc32c(LENGTH.pack(length))


class Records:
    """The records of a file by their numbers, which count from 0.

        uint64 length | uint32 masked CRC-32C of the length | data | uint32 masked CRC-32C of the data

    is a record, in little-endian. Opening goes from length to length and reads no data. A record is read where it lies
    in the file, which is mapped into memory, and its checksum is compared when it is first read. Threads may share the
    records, and other processes that are sent them map the file for themselves.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else, or is cut off; the message names the record.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.tfrecords"
        >>> head, foot = HEAD.pack(2, masked_crc32c(LENGTH.pack(2))), FOOT.pack(masked_crc32c(b"hi"))
        >>> _ = path.write_bytes(head + b"hi" + foot)
        >>> records = Records(path)
        >>> len(records), bytes(records[0])
        (1, b'hi')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = os.fspath(path)
        self._file = self._mapped()
        self._size = len(self._file)
        self._starts, self._ends = self._scanned()
        self._sound = np.zeros(len(self._starts), dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: int) -> memoryview:
        """The data of record ``i``.

        Raises:
            IndexError: there are fewer.
            ValueError: the data is damaged.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path} has {len(self):,} records and none of number {i}; they count from 0")
        end = int(self._ends[i])
        data = memoryview(self._file)[int(self._starts[i]) : end]
        if not self._sound[i]:
            if masked_crc32c(data) != FOOT.unpack_from(self._file, end)[0]:
                raise ValueError(f"{self.title(i)} is damaged: its data does not match the checksum; copy it again")
            self._sound[i] = True
        return data

    def title(self, i: int) -> str:
        """Record ``i`` in words."""
        return f"record {i} of {self.path}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._file = self._mapped()
        if len(self._file) != self._size:
            raise ValueError(f"{self.path} has another length than when it was opened; open it again")

    def _mapped(self) -> mmap.mmap | bytes:
        with open(self.path, "rb") as file:
            empty = not os.fstat(file.fileno()).st_size  # which cannot be mapped
            return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _scanned(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the data of each record starts and ends."""
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        while at < self._size:
            left = self._size - at
            if left < HEAD.size:
                raise ValueError(f"{self.title(len(starts))} is cut off after {left} bytes; copy it again")
            length, checksum = HEAD.unpack_from(self._file, at)
            if _checksum(length) != checksum:
                what = "its length does not match its checksum"
                which = self.title(len(starts)) if starts else f"{self.path} is no TFRecord file, or its first record"
                raise ValueError(f"{which} is damaged: {what}; copy it again")
            needed = HEAD.size + length + FOOT.size
            if left < needed:
                cut = f"is cut off after {left:,} of {needed:,} bytes"
                raise ValueError(f"{self.title(len(starts))} {cut}; copy it again")
            starts.append(at + HEAD.size)
            ends.append(at + HEAD.size + length)
            at += needed
        return np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)
