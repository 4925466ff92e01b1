"""Tensors out of pickles: storages filled with the file's bytes, and views of them that stay inside."""

import io
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints._pickle_machine import Source, run_pickle
from orthogen.checkpoints._pickle_parts import Budget, Name, Refused, Rules, shown

__all__ = ["STORAGES", "Storage", "load_from_bytes", "read_legacy", "storage_of", "tensor_rules"]

STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's format before zip


class Storage:
    """A flat tensor that views are made of; its numbers may arrive later."""

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat

    @property
    def nbytes(self) -> int:
        """Its size."""
        return self.flat.numel() * self.flat.element_size()

    def fill(self, content: bytes) -> None:
        """Put the numbers in.

        Raises:
            Refused: there are more or fewer than were announced.
        """
        if len(content) != self.nbytes:
            raise Refused(f"holds {len(content)} bytes for a storage of {self.nbytes}")
        if content:
            raw = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            self.flat.copy_(raw != 0 if self.flat.dtype == torch.bool else raw.view(self.flat.dtype))


def storage_of(
    identity: Any, known: dict[str, Storage], budget: Budget, content: Callable[[str], bytes] | None = None
) -> Storage:
    """The storage of a persistent id ``("storage", type, key, location, length, ...)``.

    Args:
        identity: the id.
        known: storages by key; a new one joins them.
        budget: pays for a new one.
        content: the bytes under a key; None where they come later in the file.

    Raises:
        Refused: it is no such id, the bytes do not fit, or the storage is longer than the file's size allows.
    """
    match identity:
        case ("storage", Name(kind), str(key), str(), int(length), *views) if kind in STORAGES and length >= 0:
            dtype = STORAGES[kind]
        case _:
            raise Refused(f"refers to something that is no storage: a {type(identity).__name__}")
    if views not in ([], [None]):
        raise Refused(f"has a storage {shown(key)} that is a part of another")
    if key not in known:
        budget.spend(length * dtype.itemsize, "a storage")
        known[key] = Storage(torch.empty(length, dtype=dtype))
        if content is not None:
            known[key].fill(content(key))
    flat = known[key].flat
    if (flat.dtype, flat.numel()) != (dtype, length):
        raise Refused(f"has a storage {shown(key)} of two types or lengths")
    return known[key]


def _sizes(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(n) is int and 0 <= n < 2**40 for n in value)


def tensor_rules(budget: Budget) -> Rules:
    """What makes tensors of storages, for all formats."""

    def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        # the rest (requires_grad, hooks, metadata) is of no use to a generator that is looked at
        if not isinstance(storage, Storage) or not _sizes((offset,)) or not _sizes(size) or not _sizes(stride):
            raise Refused("has a tensor whose storage, offset, shape or strides are of the wrong kind")
        flat, count = storage.flat, math.prod(size)
        end = offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=False)) if count else offset
        if len(size) != len(stride) or len(size) > 16 or end > flat.numel() or count > flat.numel():
            raise Refused(
                f"has a tensor of shape {size[:8]} and strides {stride[:8]} from {offset} on, which reaches "
                f"outside of its storage of {flat.numel()}"
            )
        # a view costs nothing yet, but whoever copies it pays
        budget.spend(count * flat.element_size(), "a tensor")
        return torch.as_strided(flat, size, stride, offset)

    return {
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        "torch._utils._rebuild_tensor": rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        **dict.fromkeys(STORAGES),
    }


def _rebuild_parameter(data: Any, *_: Any) -> Tensor:
    """The tensor in a parameter.

    Raises:
        Refused: there is none.
    """
    if not isinstance(data, Tensor):
        raise Refused(f"has a parameter that is a {type(data).__name__}")
    return data


def read_legacy(file: Source, rules: Rules, budget: Budget) -> Any:
    """What ``torch.save`` wrote before it wrote zip files, and still writes into pickles of tensors.

    Three small pickles, the object with its storages as persistent ids, their keys, and for each its length (int64)
    and its numbers.

    Raises:
        Refused: it is no such file, or damaged.
    """
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Any:
        match identity:
            case ("module", Name() as kind, *_):  # the class of a module, then its source code, which is dropped
                return kind
        return storage_of(identity, storages, budget)

    magic, protocol, system = (run_pickle(file, {}, budget) for _ in range(3))
    if type(magic) is not int or (magic, protocol) != (_MAGIC, _PROTOCOL) or not isinstance(system, dict):
        raise Refused("holds bytes that torch.save did not write")
    if system.get("little_endian") is not True:
        raise Refused("was written on a big-endian machine, which is not read here")
    found = run_pickle(file, rules, budget, persistent)
    keys = run_pickle(file, {}, budget)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages):
        raise Refused("announces other storages than its tensors have")
    for key in keys:
        storage = storages[key]
        length = int.from_bytes(file.read(8), "little")
        if length != storage.flat.numel():
            raise Refused(f"has a storage {shown(key)} of {length} numbers where {storage.flat.numel()} are announced")
        storage.fill(file.read(storage.nbytes))
    return found


def load_from_bytes(content: Any, budget: Budget) -> Storage:
    """The storage in the bytes of ``torch.save``, which plain pickles of tensors hold.

    Raises:
        Refused: they hold something else.
    """
    if not isinstance(content, bytes | bytearray):
        raise Refused(f"has a storage made of a {type(content).__name__}")
    found = read_legacy(io.BytesIO(content), dict.fromkeys(STORAGES), budget)
    if not isinstance(found, Storage):
        raise Refused(f"has a {type(found).__name__} where a storage belongs")
    return found
