"""Files in which names, counts and sizes ask for more than the file holds: refused before anything is made of them."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import orthogen as og
from checkpoints.stylegan_pickles import Persistent, pickled, snapshot
from orthogen.core.record import to_json

HALF = torch.zeros(50_000, dtype=torch.float16)  # under many names, it is widened once for each
W, U, V = torch.ones(50_000, 1), torch.ones(50_000), torch.ones(1)
MANY = {f"k{i}": HALF for i in range(400)}
NORMS = {f"k{i}.weight_{part}": x for i in range(400) for part, x in (("orig", W), ("u", U), ("v", V))}
GENFORCE = {"synthesis.early_layer.const": HALF, **MANY}
ROSINALITY = {"convs.0.conv.modulation.weight": HALF, **MANY}
EVIL = "\x1b[2Jevil\nline"

FILES: dict[str, Any] = {
    "latest_netG.pth": MANY,
    "G_ema.pth": MANY,
    "pytorch_model.bin": NORMS,
    "model=G_ema-best-weights-step=1.pth": {"state_dict": NORMS},
    "genforce.pth": {"generator_smooth": GENFORCE},
    "rosinality.pt": {"g_ema": ROSINALITY},
}


def refused(path: Path, message: str, most: int = 2**24) -> None:
    """In one printable line, and for a few megabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            og.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert peak < most


@pytest.mark.parametrize("name", FILES)
def test_one_tensor_under_many_names_is_refused(tmp_path: Path, name: str) -> None:
    torch.save(FILES[name], tmp_path / name)
    refused(tmp_path / name, r"asks for far more memory than its size: \d+ tensors of \d+ bytes$")


@pytest.mark.parametrize("name", ["latest_netG.pth", "pytorch_model.bin", "model=G_ema-best-weights-step=1.pth"])
def test_names_are_shown_in_one_line(tmp_path: Path, name: str) -> None:
    state = {f"{EVIL}.weight_orig": W}
    torch.save({"state_dict": state} if name.startswith("model=") else state, tmp_path / name)
    refused(tmp_path / name, r"has '\\x1b\[2Jevil\\nline\.weight_orig', which .* does not have$")


def module(modules: Any = (), buffers: Any = ()) -> Persistent:
    return Persistent("X", {"_parameters": {}, "_buffers": dict(buffers), "_modules": dict(modules)})


def stylegan(**buffers: torch.Tensor) -> dict[str, Any]:
    model = og.StyleGan2(resolution=8, dim_z=4, dim_w=4, channel_base=16, mapping_layers=2)
    data = snapshot(model.build()["generator"])
    data["G_ema"].state["_buffers"] |= buffers
    return data


LEAF = module()
PICKLES: dict[str, tuple[Callable[[], Any], str]] = {
    "one tensor": (lambda: stylegan(**MANY), "asks for far more memory than its size"),
    "a long name": (
        lambda: {"G_ema": module({"a" * 100_000: module({f"c{i}": LEAF for i in range(900)})})},
        r"calls a module or tensor 'aaaa.*\.\.\.', which no snapshot does$",
    ),
    "an odd name": (lambda: {"G_ema": module({EVIL: LEAF})}, r"calls a module or tensor '\\x1b\[2Jevil\\nline', which"),
    "an odd name of a tensor": (lambda: {"G_ema": module((), {EVIL: 3})}, r"calls a module or tensor '\\x1b\[2Jevil"),
    "a number for a name": (lambda: {"G_ema": module({3: LEAF})}, "calls a module or tensor a int, which no snapshot"),
    "many modules": (
        lambda: {"G_ema": module({f"c{i}": module({f"d{j}": LEAF for j in range(200)}) for i in range(200)})},
        "holds modules inside modules without end",
    ),
    "many tensors": (
        lambda: {"G_ema": module(dict.fromkeys(map(str, range(300)), module((), {f"x{i}": None for i in range(300)})))},
        "holds more than 10000 tensors",
    ),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_snapshot_that_repeats_itself_is_refused(tmp_path: Path, name: str) -> None:
    make, message = PICKLES[name]
    (tmp_path / "file.pkl").write_bytes(pickled(make()))
    refused(tmp_path / "file.pkl", message)


def ours(path: Path, about: Any) -> Path:
    save_file({"x": torch.zeros(1)}, path, metadata={"orthogen.generator": json.dumps(about)})
    return path


def record(kind: str, **fields: Any) -> dict[str, Any]:
    return {"model": {"type": kind, **fields}}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ([], "is damaged or nothing that load knows"),
        (3, "is damaged or nothing that load knows"),
        ({}, "is damaged or nothing that load knows"),
        ({"model": 3}, "is damaged or nothing that load knows"),
        (record(5), "is damaged or nothing that load knows"),  # type: ignore[arg-type]
        (record(EVIL), "is damaged or nothing that load knows"),
        (record("orthogen.core.latent:Normal", dim=3), "names orthogen.core.latent:Normal as its model, which is none"),
        (record("orthogen.models.biggan:BigGan", width="a"), "records a orthogen.models.biggan:BigGan that cannot be"),
        (record("orthogen.models.biggan:BigGan", foo=1), r"cannot be built here: BigGan has no field foo"),
        (record("orthogen.models.sngan:Sngan", width="a"), "(records|asks for) a .*Sngan that cannot be built"),
        ({"model": to_json(og.BigGan(width=20_000))}, "do not fit BigGan"),
        ({"model": to_json(og.ProGan(resolution=2**20, channel_base=2**40, channel_max=2**20))}, "do not fit ProGan"),
        (
            record("orthogen.models.stylegan2:StyleGan2", mapping_layers=10**9),
            r"cannot be built here: .* give at most 100 layers",
        ),
        (record("orthogen.models.stylegan3:StyleGan3", num_layers=10**9), "give at most 100 layers"),
        (record("orthogen.models.biggan_deep:BigGanDeep", depth=10**9), "depth at most 100"),
    ],
)
def test_a_record_of_no_such_model_is_refused(tmp_path: Path, about: Any, message: str) -> None:
    refused(ours(tmp_path / "file.safetensors", about), message, 2**28)  # of networks of hundreds of parts
