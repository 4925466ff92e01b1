"""Files that try to run code, to take all memory, or that are broken: refused in one line, and nothing else happens."""

import builtins
import collections
import contextlib
import io
import os
import pickle
import pickletools
import struct
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import orthogen as og
from checkpoints.stylegan_pickles import Persistent, alias_free, pickled
from orthogen.checkpoints import _pickle_parts
from orthogen.checkpoints._restricted import Refused, read_pickle, read_torch
from orthogen.models.stylegan3 import StyleGan3

CANARY = "code_was_run"  # a file that none of these may make


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_pickle_parts, "_STEPS", 15_000)  # for the sake of time
    yield
    assert not (tmp_path / CANARY).exists()


class Call:
    """Pickled as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


class Stateful:
    """Pickled as a call, and a state for what it makes."""

    def __init__(self, made: Any, state: Any) -> None:
        self.parts = *made.__reduce__()[:2], state

    def __reduce__(self) -> Any:
        return self.parts


COMMAND = f"echo > {CANARY}"
TOUCH = f"open({CANARY!r}, 'w')"


def op(*parts: bytes | str) -> bytes:
    return b"".join(part.encode() if isinstance(part, str) else part for part in parts) + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def meta(**changes: Any) -> bytes:
    """A persistent object with a description of its own."""
    whole = dict(type="class", version=6, module_src=TOUCH, class_name="Generator", state={})
    persistent = Persistent("Generator", {})
    reconstruct = persistent.__reduce__()[0]
    return pickled(Call(reconstruct, {**whole, **changes}), 4)


def stylegan3(layers: tuple[str, ...] = (), **attributes: Any) -> bytes:
    """A snapshot of StyleGAN3 with other names of its layers, or other attributes of its synthesis network."""
    model = StyleGan3(resolution=8, dim_z=4, dim_w=4, channel_base=16, num_layers=2, num_critical=1)
    data = alias_free(model.build()["generator"], model)
    synthesis = data["G_ema"].state["_modules"]["synthesis"].state
    inner = list(synthesis["_modules"].values())
    synthesis["_modules"] = dict(zip(["input", *layers], inner, strict=True)) if layers else synthesis["_modules"]
    if "bandwidth" in attributes:
        inner[0].state["bandwidth"] = attributes.pop("bandwidth")
    synthesis.update(attributes)
    return pickled(data)


STORAGE = torch.arange(4.0).untyped_storage()


def storage_bytes(replace: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """What torch.save writes into a pickled tensor of 4 numbers, with bytes of it replaced."""
    buffer = io.BytesIO()
    typed = torch.storage.TypedStorage(wrap_storage=STORAGE, dtype=torch.float32, _internal=True)
    torch.save(typed, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    for old, new in replace:
        assert old in content
        content = content.replace(old, new)
    return content


def tensor(offset: Any = 0, size: Any = (4,), stride: Any = (1,), storage: Any = None) -> Call:
    content = storage_bytes() if storage is None else storage
    made = Call(torch.storage._load_from_bytes, content)
    return Call(torch._utils._rebuild_tensor_v2, made, offset, size, stride, False, collections.OrderedDict())


FLOATS = b"ctorch\nFloatStorage\n"
MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
DUMPS: Callable[..., bytes] = pickle.dumps

NAMED = r"names '%s', which is not among what such a file needs \(nothing in it was run\)"
CORPUS: dict[str, tuple[bytes, str]] = {
    # --- code
    "os.system by REDUCE": (DUMPS(Call(os.system, COMMAND)), NAMED % r"posix\.system"),
    "os.system, protocol 0": (DUMPS(Call(os.system, COMMAND), protocol=0), NAMED % r"posix\.system"),
    "os.system, protocol 5": (DUMPS(Call(os.system, COMMAND), protocol=5), NAMED % r"posix\.system"),
    "subprocess": (DUMPS(Call(subprocess.Popen, COMMAND)), NAMED % r"subprocess\.Popen"),
    "eval": (DUMPS(Call(builtins.eval, TOUCH)), NAMED % r"builtins\.eval"),
    "exec of Python 2": (op("c__builtin__\nexec\n", text(TOUCH), "\x85R"), NAMED % r"__builtin__\.exec"),
    "open": (DUMPS(Call(open, CANARY, "w")), NAMED % r"_?io\.open"),
    "chain of getattr": (DUMPS(Call(getattr, Call(getattr, 1, "real"), "imag")), NAMED % r"builtins\.getattr"),
    "dotted name": (
        op(b"\x80\x04", text("collections"), text("OrderedDict.__init__.__globals__"), b"\x93"),
        NAMED % r"collections\.OrderedDict\.__init__\.__globals__",
    ),
    "nested in the state": (meta(state={"w": Call(os.system, COMMAND)}), NAMED % r"posix\.system"),
    "in the state of BUILD": (
        DUMPS(Stateful(collections.OrderedDict(), {"w": Call(os.system, COMMAND)})),
        NAMED % r"posix\.system",
    ),
    "__setstate__ by BUILD": (op("]", "}", text("__setstate__"), "K\x01", "s", "b"), "sets the state of a list"),
    "INST": (op("(S'", COMMAND, "'\nios\nsystem\n"), NAMED % r"os\.system"),
    "INST of a known name": (op("(icollections\nOrderedDict\n"), "uses the opcode INST for 'collections OrderedDict'"),
    "OBJ": (op("(ccollections\nOrderedDict\no"), "uses the opcode OBJ, which no checkpoint needs"),
    "NEWOBJ": (op(b"\x80\x02", "cos\nsystem\n", text(COMMAND), b"\x85\x81"), NAMED % r"os\.system"),
    "NEWOBJ_EX": (op("ccollections\nOrderedDict\n", ")", "}", b"\x92"), "uses the opcode NEWOBJ_EX"),
    "extension registry": (op(b"\x80\x02\x82\x01"), "uses the opcode EXT1, which no checkpoint needs"),
    "large extension registry": (op(b"\x80\x02\x84\x01\x00\x00\x00"), "uses the opcode EXT4"),
    "buffers from outside": (op(b"\x80\x05\x97"), "uses the opcode NEXT_BUFFER"),
    "persistent id": (op(b"\x80\x02", text("key"), "Q"), "refers to an object outside of itself"),
    "persistent id, protocol 0": (op("Pkey\n"), "refers to an object outside of itself"),
    "torch.load": (DUMPS(Call(torch.load, CANARY)), NAMED % r"torch\.serialization\.load"),
    "a module": (DUMPS(torch.nn.ReLU()), NAMED % r"torch\.nn\.modules\.activation\.ReLU"),
    "calls a string": (op(text("os.system"), ")R"), "calls a str"),
    "calls a storage type": (op("ctorch\nFloatStorage\n", ")R"), r"calls torch\.FloatStorage as no checkpoint does"),
    "calls with a list": (op("ccollections\nOrderedDict\n", "]R"), "calls collections.OrderedDict as no checkpoint"),
    "a name with an escape": (op("cos\x1b[2J\nsystem\n"), NAMED % r"os\\x1b\[2J\.system"),
    # --- memory
    "huge bytes": (op(b"\x80\x04\x8e", struct.pack("<Q", 2**40)), "is damaged or cut short"),
    "huge text": (op(b"\x80\x04\x8d", struct.pack("<Q", 2**62)), "is damaged or cut short"),
    "huge bytearray": (op(b"\x80\x05\x96", struct.pack("<Q", 2**40)), "is damaged or cut short"),
    "huge frame": (op(b"\x80\x04\x95", struct.pack("<Q", 2**50), "K\x01"), "holds no network"),
    "huge number": (op(b"\x8b", struct.pack("<i", 2**31 - 1)), "is damaged or cut short"),
    "number of many digits": (op("L" + "9" * 5000 + "L\n"), "is damaged or cut short"),
    "huge memo index": (op("K\x01", b"r\xff\xff\xff\xff"), "holds no network"),
    "absent memo": (op("h\x07"), "is damaged or cut short"),
    "million laughs": (op("(lp0\n", *(f"(g{i}\n" + f"g{i}\n" * 9 + f"tp{i + 1}\n" for i in range(60))), "holds no net"),
    "copies of a list": (
        op(b"cbuiltins\nset\nq\x01", "(", "K\x01" * 5000, b"lq\x02", b"h\x01h\x02\x85R0" * 100),
        "asks for far more memory than its size: a set",
    ),
    "copies of a text": (
        op(
            *(b"c_codecs\nencode\nq\x01", text("a" * 500_000), b"q\x02", text("latin1"), b"q\x030"),
            b"h\x01h\x02h\x03\x86R" * 99,
        ),
        "asks for far more memory than its size: bytes",
    ),
    "too many opcodes": (op("N0" * 10_000), "has more than 15000 opcodes, which no checkpoint needs"),
    "storage of a terabyte": (
        DUMPS(tensor(storage=storage_bytes(replace=[(b"K\x04N", b"\x8a\x05\0\0\0\0\x10N")]))),
        "asks for far more memory than its size: a storage of 274877906944 bytes",
    ),
    "expanded tensor": (DUMPS(tensor(size=(2**39,), stride=(0,))), "reaches outside of its storage of 4"),
    # --- broken or wrong
    "empty": (b"", "is empty"),
    "text": (b"<html><body>404 Not Found</body></html>\n", "is damaged or cut short"),
    "zeros": (bytes(1000), "is damaged or cut short"),
    "nothing on the stack": (op(), "is damaged or cut short"),
    "no mark": (op("K\x01t"), "is damaged or cut short"),
    "protocol 9": (op(b"\x80\x09N"), "is a pickle of protocol 9; 0 to 5 are known"),
    "a plain dictionary": (DUMPS({"G_ema": 1, "step": 2}), "holds no network G_ema"),
    "a list": (DUMPS([1, 2.0, None, True, b"x", "y", (3,)]), "holds no network G_ema"),
    "a tuple as a key": (DUMPS({(1, 2): 3}), "has a tuple as a key"),
    "a key without a value": (op("(K\x01d"), "gives a dictionary a key without a value"),
    "items of a list": (op("]K\x01K\x02s"), "sets items of a list"),
    "appends to a dictionary": (op("}K\x01a"), "appends to a dict"),
    "no meta": (pickled(Call(Persistent("", {}).__reduce__()[0], 3)), "has a network without a description"),
    "no state": (meta(state=None), "has a network without class_name or state"),
    "offset outside": (DUMPS(tensor(offset=1)), "from 1 on, which reaches outside of its storage of 4"),
    "stride outside": (DUMPS(tensor(size=(2, 2), stride=(3, 1))), r"strides \(3, 1\) from 0 on, which reaches outside"),
    "negative stride": (DUMPS(tensor(stride=(-1,))), "storage, offset, shape or strides are of the wrong kind"),
    "negative offset": (DUMPS(tensor(offset=-4)), "storage, offset, shape or strides are of the wrong kind"),
    "shape of text": (DUMPS(tensor(size=("4",))), "storage, offset, shape or strides are of the wrong kind"),
    "shape without stride": (DUMPS(tensor(size=(2, 2))), "reaches outside of its storage"),
    "tensor of no storage": (DUMPS(Call(torch._utils._rebuild_tensor_v2, 1, 0, (1,), (1,))), "whose storage, offset"),
    "too few arguments": (
        DUMPS(Call(torch._utils._rebuild_tensor_v2, 1)),
        r"calls torch\._utils\._rebuild_tensor_v2 with other arguments than it takes",
    ),
    "parameter of a list": (
        DUMPS(Call(torch._utils._rebuild_parameter, [1], True, {})),
        "has a parameter that is a list",
    ),
    "storage from text": (DUMPS(Call(torch.storage._load_from_bytes, "a")), "has a storage made of a str"),
    "storage from other bytes": (DUMPS(tensor(storage=b"\x80\x02N.")), "is damaged or cut short"),
    "storage of another magic": (
        DUMPS(tensor(storage=storage_bytes(replace=[(MAGIC, b"K\x01.")]))),
        "holds bytes that torch.save did not write",
    ),
    "code inside a storage": (
        DUMPS(tensor(storage=storage_bytes(replace=[(FLOATS, b"cos\nsystem\n")]))),
        NAMED % r"os\.system",
    ),
    "storage in a storage": (
        DUMPS(tensor(storage=storage_bytes(replace=[(FLOATS, b"ctorch.storage\n_load_from_bytes\n")]))),
        NAMED % r"torch\.storage\._load_from_bytes",
    ),
    "unknown type of storage": (
        DUMPS(tensor(storage=storage_bytes(replace=[(FLOATS, b"ctorch\nQInt8Storage\n")]))),
        NAMED % r"torch\.QInt8Storage",
    ),
    "big-endian storage": (
        DUMPS(tensor(storage=storage_bytes(replace=[(b"little_endianq\x02\x88", b"little_endianq\x02\x89")]))),
        "was written on a big-endian machine",
    ),
    "storage cut short": (DUMPS(tensor(storage=storage_bytes()[:-1])), "holds 15 bytes for a storage of 16"),
    "storage of another length": (
        DUMPS(tensor(storage=storage_bytes(replace=[(b"\x04\0\0\0\0\0\0\0\0\0", b"\x05\0\0\0\0\0\0\0\0\0")]))),
        "of 5 numbers where 4 are announced",
    ),
    "array of objects": (
        DUMPS(np.array([Call(os.system, COMMAND)], dtype=object)),
        r"has numbers of the type 'O8'",
    ),
    "array of records": (DUMPS(np.zeros(2, dtype=[("a", "f8")])), r"has numbers of the type '\|?V8'"),
    "array of another shape": (
        DUMPS(np.arange(3.0), protocol=4).replace(b"K\x03\x85", b"K\x04\x85"),
        r"has an array of shape \(4,\) in 24 bytes",
    ),
    "bytes in another encoding": (
        op(b"c_codecs\nencode\n", text("a"), text("utf-16"), b"\x86R"),
        "has bytes in another encoding than latin1",
    ),
    # --- StyleGAN3
    "code in a StyleGAN3": (stylegan3(output_scale=Call(os.system, COMMAND)), NAMED % r"posix\.system"),
    "StyleGAN3 of images without end": (
        stylegan3(("L0_28_4", "L1_8_2", "L2_65536_3")),
        "asks for more than 8192 samples along a side",
    ),
    "StyleGAN3 of filters without end": (
        stylegan3(("L0_36_4", "L1_8192_2", "L2_8192_3"), channel_base=2**14, channel_max=4),
        r"has synthesis\.L1_8192_2\.up_filter of shape \(12,\); its StyleGan3 needs \(6144,\)",
    ),
    "StyleGAN3 of less than a sample": (
        stylegan3(first_stopband=2e-9, bandwidth=1e-9),
        r"has the weights of no StyleGAN3: .* and the first at 0\.5 at least",
    ),
    "StyleGAN3 of sizes beyond all numbers": (
        stylegan3(channel_base=2**31 - 1, channel_max=2**31 - 1, bandwidth=0.51, first_stopband=0.6),
        "asks for a StyleGan3 that cannot be built: ",
    ),
    "dictionary from items": (DUMPS(Call(collections.OrderedDict, [("a", 1)])), "makes a dictionary by calling it"),
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, message = CORPUS[name]
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            og.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert peak < 40 * len(content) + 2**23


# -------------------------------------------------------------------------------------------- cut short, or bits turned
WHOLE = {"a": torch.arange(4.0), "b": np.arange(3), "c": [np.float64(2.5), {"d": (1, "e", b"f")}, {1, 2}], "g": True}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_contents_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(WHOLE, protocol))
    found = read_pickle(path)
    assert found["a"].tolist() == [0, 1, 2, 3]
    assert found["b"].value.tolist() == [0, 1, 2]
    assert found["c"] == [2.5, {"d": (1, "e", b"f")}, [1, 2]]
    assert found["g"] is True


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, protocol: int) -> None:
    path, content = tmp_path / "file.pkl", pickle.dumps(WHOLE, protocol)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(Refused, match=r"is damaged or cut short|is empty"):
            read_pickle(path)


def test_turned_bits_are_refused_or_harmless(tmp_path: Path) -> None:
    path, content, draw = tmp_path / "file.pkl", pickle.dumps(WHOLE, 4), np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(content)
        for place in draw.integers(len(content), size=3):
            broken[place] ^= 1 << draw.integers(8)
        path.write_bytes(broken)
        with contextlib.suppress(Refused):
            read_pickle(path)


def test_noise_is_refused_or_harmless(tmp_path: Path) -> None:
    path, draw = tmp_path / "file.pkl", np.random.default_rng(0)
    opcodes = np.frombuffer("".join(code.code for code in pickletools.opcodes).encode("latin-1"), np.uint8)
    for _ in range(300):
        path.write_bytes(b"\x80\x04" + draw.choice(opcodes, size=200).tobytes() + b".")
        with contextlib.suppress(Refused):
            read_pickle(path)


@pytest.mark.parametrize("item", ["(", "]", "\x85", "}"])
def test_deep_nesting_ends_well(tmp_path: Path, item: str) -> None:
    n = 4000
    nested = {
        "(": "(" * n,
        "]": "]" * n + "a" * (n - 1),
        "\x85": b")" + b"\x85" * n,
        "}": "}K\x01" * (n // 2) + "}" + "s" * (n // 2),
    }[item]
    path = tmp_path / "file.pkl"
    path.write_bytes(op(b"\x80\x02", nested))
    with pytest.raises(ValueError, match=r"is damaged or cut short|holds no network G_ema"):
        og.load(path)


# ------------------------------------------------------------------------------------------------- files of torch.save
def saved(value: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], **how: Any) -> Path:
    """A zip file with other contents; None leaves an entry out."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in entries.items():
            new = change(name, content)
            if new is not None:
                archive.writestr(name, new)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_torch_save_come_back(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(12.0).view(3, 4)
    value = {
        "view": base.T[1:],
        "tied": base,
        "bool": torch.tensor([True, False]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "int": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    found = read_torch(saved(value, tmp_path / "a.pt", zipped))
    assert found.keys() == value.keys()
    for name, tensor in value.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def drop(end: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: None if name.endswith(end) else content


def put(end: str, new: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, content: new if name.endswith(end) else content


def same(name: str, content: bytes) -> bytes:
    return content


ZIPPED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zip bomb": (
        lambda path: rewritten(path, put("data/0", bytes(10**7)), compression=zipfile.ZIP_DEFLATED),
        "holds 'a/.*' compressed, which torch.save does not do",
    ),
    "compressed": (lambda path: rewritten(path, same, compression=zipfile.ZIP_LZMA), "compressed, which torch.save"),
    "no storage": (lambda path: rewritten(path, drop("data/0")), "lacks the storage '0'"),
    "no pickle": (lambda path: rewritten(path, drop("data.pkl")), "is a zip file with 0 entries data.pkl"),
    "two pickles": (
        lambda path: zipfile.ZipFile(path, "a").writestr("b/data.pkl", b"N."),
        "is a zip file with 2 entries data.pkl",
    ),
    "short storage": (lambda path: rewritten(path, put("data/0", b"1234")), "holds 4 bytes for a storage of 16"),
    "long storage": (lambda path: rewritten(path, put("data/0", bytes(99))), "holds 99 bytes for a storage of 16"),
    "code": (lambda path: rewritten(path, put("data.pkl", DUMPS(Call(os.system, COMMAND)))), NAMED % r"posix\.system"),
    "big-endian": (lambda path: rewritten(path, put("byteorder", b"big")), "was written on a big-endian machine"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is a damaged zip file"),
    "turned bits": (
        lambda path: path.write_bytes(path.read_bytes().replace(struct.pack("<f", 3.0), struct.pack("<f", 4.0))),
        "is a damaged zip file",
    ),
    "legacy, cut short": (
        lambda path: path.write_bytes(saved({"a": torch.arange(4.0)}, path, False).read_bytes()[:-3]),
        "holds 13 bytes for a storage of 16",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "header only": (lambda path: path.write_bytes(b"PK\x03\x04"), "is a damaged zip file"),
}


@pytest.mark.parametrize("name", ZIPPED)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_files_of_torch_save_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, message = ZIPPED[name]
    path = saved({"a": torch.arange(4.0)}, tmp_path / "a.pt")
    spoil(path)
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=message) as caught:
            read_torch(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert peak < 2**23
