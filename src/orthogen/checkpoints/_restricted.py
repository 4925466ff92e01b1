"""Other people's pickles, read without running anything in them.

`read_pickle` reads snapshots of StyleGAN2-ADA and StyleGAN3, `read_torch` what ``torch.save`` wrote. Only the names in
`_rules` may occur, each stands for a few lines of ours, and the source code that StyleGAN's snapshots carry is dropped
unread. A file is refused in one line that names what it wanted.
"""

import io
import mmap
import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orthogen.checkpoints._pickle_machine import run_pickle
from orthogen.checkpoints._pickle_parts import Budget, Built, Refused, Rules, shown
from orthogen.checkpoints._pickled_arrays import array_rules
from orthogen.checkpoints._pickled_tensors import Storage, load_from_bytes, read_legacy, storage_of, tensor_rules

__all__ = ["Persistent", "Refused", "read_pickle", "read_torch"]


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object of StyleGAN's ``torch_utils.persistence``: the name of its class and its attributes, and no code."""

    class_name: str
    state: dict[Any, Any]


class _Attributes(Built):
    """Settings of a command line, or a module among them; they are passed over."""

    def build(self, state: Any) -> None:
        """Nothing is kept."""


def _persistent(meta: Any) -> Persistent:
    if not isinstance(meta, dict):
        raise Refused("has a network without a description")
    name, state = meta.get("class_name"), meta.get("state")
    if meta.get("type") != "class" or not isinstance(name, str) or not isinstance(state, dict):
        raise Refused("has a network without class_name or state")
    return Persistent(name, state)


def _rules(budget: Budget) -> Rules:
    def dictionary(items: Any = ()) -> dict[Any, Any]:
        if items != ():
            raise Refused("makes a dictionary by calling it with its items, which no checkpoint does")
        return {}

    def listed(items: Any = ()) -> list[Any]:
        if not isinstance(items, list | tuple):
            raise Refused(f"makes a set of a {type(items).__name__}")
        budget.spend(8 * len(items), "a set")
        return list(items)

    def encoded(text: Any, encoding: Any) -> bytes:  # how bytes are written in protocols 0 to 2
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise Refused("has bytes in another encoding than latin1")
        budget.spend(len(text), "bytes")
        return text.encode("latin-1")

    return {
        "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
        "dnnlib.util.EasyDict": dictionary,
        "collections.OrderedDict": dictionary,
        "builtins.set": listed,
        "__builtin__.set": listed,
        "_codecs.encode": encoded,
        "argparse.Namespace": _Attributes,
        "torch.storage._load_from_bytes": partial(load_from_bytes, budget=budget),
        **tensor_rules(budget),
        **array_rules(budget),
    }


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Budget]]:
    """The file's bytes and what reading them may cost; errors begin with the path."""
    try:
        size = path.stat().st_size
        if size == 0:
            raise Refused("is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content, Budget(size)
    except Refused as error:
        raise Refused(f"{path} {error}") from error


def read_pickle(path: Path) -> Any:
    """What a snapshot of StyleGAN2-ADA or StyleGAN3 holds: dictionaries of `Persistent` objects, tensors and numbers.

    Raises:
        Refused: it is damaged, or names something else.
    """
    with _opened(path) as (content, budget):
        return run_pickle(content, _rules(budget), budget)


def read_torch(path: Path, *, passed_over: Collection[str] = ()) -> Any:
    """What a file of ``torch.save`` holds: dictionaries of tensors and numbers. Both its formats are read.

    Args:
        path: of the file.
        passed_over: classes of modules that may occur, of which nothing is kept.

    Raises:
        Refused: it is damaged, compressed, or names something else.
    """
    with _opened(path) as (content, budget):
        rules: Rules = {**_rules(budget), **dict.fromkeys(passed_over, _Attributes)}
        if content[:2] != b"PK":
            return read_legacy(content, rules, budget)
        try:
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive, rules, budget, len(content))
        except Refused:
            raise
        except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError, OSError, struct.error) as error:
            raise Refused(f"is a damaged zip file ({shown(str(error))})") from error


def _read_zip(archive: zipfile.ZipFile, rules: Rules, budget: Budget, size: int) -> Any:
    entries = {entry.filename: entry for entry in archive.infolist()}
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise Refused(f"holds {shown(entry.filename)} compressed, which torch.save does not do")
    if sum(entry.file_size for entry in archive.infolist()) > size:
        raise Refused("is a zip file whose entries overlap")
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("data.pkl")]
    if len(roots) != 1:
        raise Refused(f"is a zip file with {len(roots)} entries data.pkl; torch.save writes one")
    root = roots[0]
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise Refused("was written on a big-endian machine, which is not read here")
    storages: dict[str, Storage] = {}

    def content(key: str) -> bytes:
        if f"{root}data/{key}" not in entries:
            raise Refused(f"lacks the storage {shown(key)}")
        return archive.read(f"{root}data/{key}")

    def persistent(identity: Any) -> Storage:
        return storage_of(identity, storages, budget, content)

    with archive.open(f"{root}data.pkl") as file:
        return run_pickle(io.BytesIO(file.read()), rules, budget, persistent)
