"""Encoded images in an LMDB database, one to a record, in the order of their keys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import IO, Any
from weakref import WeakValueDictionary

from orthogen.data._sources import Source

__all__ = ["is_database", "lmdb_source"]

_OPENED: WeakValueDictionary[str, Any] = WeakValueDictionary()  # LMDB lets a process open a database only once
_OPENING = Lock()

SPARE = 64  # pages at the end that a whole database may count without having written them, because nothing is in them


def is_database(path: Path) -> bool:
    """Whether a folder is an LMDB database."""
    return (path / "data.mdb").is_file()


def _environment(path: Path, lmdb: Any) -> Any:
    key = os.path.realpath(path)
    with _OPENING:
        if (environment := _OPENED.get(key)) is None:
            # without a lock file, because data sets lie on disks that one may not write to
            environment = lmdb.open(key, readonly=True, create=False, lock=False, readahead=False, meminit=False)
            _OPENED[key] = environment
    page = environment.stat()["psize"]
    needed, there = (environment.info()["last_pgno"] + 1) * page, (path / "data.mdb").stat().st_size
    if there < needed - SPARE * page:  # to read beyond the end of a mapped file would end the process
        raise lmdb.Error(f"{there:,} of {needed:,} bytes are there")
    return environment


def lmdb_source(path: Path, owner: str, *, skip: int = 0, limit: int | None = None) -> Source:
    """The records behind the first ``skip``, ``limit`` of them at most.

    Raises:
        ModuleNotFoundError: the package lmdb is not installed.
        ValueError: it is no whole database.
    """
    try:
        import lmdb
    except ImportError:
        raise ModuleNotFoundError(f"{owner}: {path} needs the package lmdb; pip install 'orthogen[lsun]'") from None
    try:
        environment = _environment(path, lmdb)
        with environment.begin() as reading:
            keys = reading.cursor().iternext(keys=True, values=False)
            taken = islice(keys, skip, None if limit is None else skip + limit)
            names = tuple(key.decode("latin-1") for key in taken)
    except lmdb.Error as error:
        raise ValueError(f"{owner}: {path} is no whole LMDB database ({error}); unpack it again") from error

    @contextmanager
    def read(name: str) -> Iterator[IO[bytes]]:
        with environment.begin() as reading:
            data = reading.get(name.encode("latin-1"))
        yield BytesIO(data)

    return Source(str(path), names, read)
