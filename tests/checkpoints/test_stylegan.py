"""Snapshots of StyleGAN2-ADA, built here at small width, loaded without their code."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import orthogen as og
from checkpoints.stylegan_pickles import Persistent, pickled, snapshot
from orthogen.models.stylegan2 import StyleGan2

MODEL = StyleGan2(resolution=16, dim_z=6, dim_w=8, mapping_layers=3, channel_base=96, channel_max=10, clamp=256.0)


def trained(model: StyleGan2 = MODEL) -> nn.Module:
    """A generator whose every number is its own."""
    torch.manual_seed(0)
    module = model.build()["generator"].eval()
    with torch.no_grad():
        for value in (*module.parameters(), module.mapping.w_avg):
            value.add_(0.1 * torch.randn_like(value))
    return module


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshots") / "network-snapshot-000000.pkl"
    path.write_bytes(pickled(snapshot(trained())))
    return path


def test_a_snapshot_loads_to_the_bit_without_its_modules(file: Path) -> None:
    G, module, z = og.load(file), trained(), torch.randn(3, 6)
    assert "torch_utils" not in sys.modules
    assert not G.module.training
    assert G.latent == og.Normal(6)
    assert torch.equal(G(z), module(z))
    assert G(z).shape == (3, 3, 16, 16)
    assert "synthesis.b8.conv0" in G.layers
    assert G.module.synthesis.b4.conv1.clamp == 256.0


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(pickled(snapshot(trained()), protocol))
    state = trained().state_dict()
    loaded = og.load(path).module.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_the_raw_weights_are_those_of_g(file: Path) -> None:
    raw = og.load(file, ema=False).module.synthesis.b4.const
    torch.testing.assert_close(raw, trained().synthesis.b4.const + 1)


def test_spaces_noise_and_truncation_are_settings(file: Path) -> None:
    plain, w_plus = og.load(file), og.load(file, space="w+")
    z = torch.randn(2, 6)
    w = plain.module.styles(z)
    assert w_plus.latent.dim == 6 * 8
    assert torch.equal(w_plus(w.repeat(1, 6)), plain(z))
    assert torch.equal(og.load(file, space="w")(w), plain(z))
    average = og.load(file, truncation=0.0, noise="none")(z)
    torch.testing.assert_close(average[0], average[1])
    assert not torch.equal(og.load(file, noise="none")(z), plain(z))


@pytest.mark.parametrize("changes", [{"channel_base": 48}, {"channel_base": 10_000}, {"resolution": 32, "channels": 1}])
def test_sizes_are_read_off_the_weights(tmp_path: Path, changes: dict[str, int]) -> None:
    module, path = trained(replace(MODEL, **changes)), tmp_path / "a.pkl"
    path.write_bytes(pickled(snapshot(module)))
    z = torch.randn(1, 6)
    assert torch.equal(og.load(path)(z), module(z))


def test_classes_are_taken_as_labels(tmp_path: Path) -> None:
    module, path = trained(replace(MODEL, classes=4)), tmp_path / "conditional.pkl"
    path.write_bytes(pickled(snapshot(module)))
    G, z = og.load(path), torch.randn(4, 6)
    images = G(z[:1].expand(4, -1), label=torch.arange(4))
    assert len(torch.unique(images.flatten(1), dim=0)) == 4
    assert torch.equal(G(z, label=torch.arange(4)), module(z, torch.arange(4)))
    with pytest.raises(ValueError, match="no label was given; this generator takes label=, one of 4 classes"):
        G(z)


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.pkl"
    path.write_bytes(pickled(snapshot(trained().half())))
    assert og.load(path).module.synthesis.b4.const.dtype == torch.float32


def test_a_snapshot_without_its_suffix_is_recognized(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "downloaded"
    path.write_bytes(file.read_bytes())
    assert og.load(path).latent.dim == 6


def test_loaded_generators_can_be_saved_as_our_own(file: Path, tmp_path: Path) -> None:
    G = og.load(file)
    og.checkpoints.save_generator(tmp_path / "ours.safetensors", MODEL, G.module)
    z = torch.randn(2, 6)
    assert torch.equal(og.load(tmp_path / "ours.safetensors")(z), G(z))


# ------------------------------------------------------------------------------------ networks that are none, or other
def at(value: Persistent, *names: str) -> Persistent:
    for name in names:
        value = value.state["_modules"][name]
    return value


def lacks_a_weight(data: dict[str, Any]) -> None:
    del at(data["G_ema"], "synthesis", "b8", "conv0").state["_parameters"]["weight"]


def wrong_shape(data: dict[str, Any]) -> None:
    at(data["G_ema"], "synthesis", "b8", "torgb").state["_parameters"]["bias"] = nn.Parameter(torch.zeros(7))


def too_much(data: dict[str, Any]) -> None:
    at(data["G_ema"], "synthesis", "b8").state["_buffers"]["skip"] = torch.zeros(2)


def huge_resolution(data: dict[str, Any]) -> None:
    modules = at(data["G_ema"], "synthesis").state["_modules"]
    modules["b65536"] = modules["b16"]


def large_resolution(data: dict[str, Any]) -> None:
    data["G_ema"] = snapshot(trained(replace(MODEL, channel_base=1000)))["G_ema"]
    modules = at(data["G_ema"], "synthesis").state["_modules"]
    modules["b8192"] = modules["b16"]


def not_a_tensor(data: dict[str, Any]) -> None:
    at(data["G_ema"], "mapping", "fc1").state["_parameters"]["weight"] = [1.0, 2.0]


def no_mean(data: dict[str, Any]) -> None:
    del at(data["G_ema"], "mapping").state["_buffers"]["w_avg"]


def alias_free(data: dict[str, Any]) -> None:
    at(data["G_ema"], "synthesis").state["_modules"]["input"] = at(data["G_ema"], "synthesis", "b4")


def cyclic(data: dict[str, Any]) -> None:
    at(data["G_ema"], "synthesis").state["_modules"]["again"] = at(data["G_ema"], "synthesis", "b4")
    at(data["G_ema"], "synthesis", "b4").state["_modules"]["again"] = at(data["G_ema"], "synthesis", "b4", "conv1")
    shared = at(data["G_ema"], "mapping", "fc0")
    for _ in range(14):  # modules that are shared: few objects, billions of paths
        shared = Persistent("Layer", {**shared.state, "_modules": {str(i): shared for i in range(10)}})
    data["G_ema"].state["_modules"]["bomb"] = shared


def no_module(data: dict[str, Any]) -> None:
    del at(data["G_ema"], "mapping", "fc1").state["_buffers"]


def scalar_weights(data: dict[str, Any]) -> None:
    at(data["G_ema"], "mapping", "fc0").state["_parameters"]["weight"] = nn.Parameter(torch.zeros(()))


def integer_weights(data: dict[str, Any]) -> None:
    bias = at(data["G_ema"], "mapping", "fc0").state["_parameters"]
    bias["bias"] = torch.zeros(8, dtype=torch.int64)


def tensor_for_a_module(data: dict[str, Any]) -> None:
    at(data["G_ema"], "mapping").state["_modules"]["fc0"] = torch.zeros(2)


REFUSALS = [
    (lacks_a_weight, r"lacks synthesis\.b8\.conv0\.weight, of shape \(10, 10, 3, 3\), which its StyleGan2 has"),
    (wrong_shape, r"has synthesis\.b8\.torgb\.bias of shape \(7,\); its StyleGan2 needs \(3,\)"),
    (too_much, r"has 'synthesis\.b8\.skip', which its StyleGan2 does not have"),
    (huge_resolution, r"has the weights of no StyleGAN2: .*the base is at least the resolution, 65536"),
    (large_resolution, r"lacks synthesis\.b32\.resample_filter, of shape \(4, 4\), which its StyleGan2 has"),
    (not_a_tensor, r"mapping\.fc1\.weight is a list, not a tensor"),
    (no_mean, r"lacks mapping\.w_avg"),
    (alias_free, r"has 0 layers synthesis\.L0_\.\.\., synthesis\.L1_\.\.\.; a StyleGAN3 generator has 2 or more"),
    (cyclic, "holds modules inside modules without end"),
    (no_module, r"mapping\.fc1 has no _buffers; it is no pickled module"),
    (scalar_weights, r"has mapping\.fc0\.weight of shape \(\); 2 dimensions are needed"),
    (integer_weights, r"has mapping\.fc0\.bias in torch\.int64; its StyleGan2 needs torch\.float32"),
    (tensor_for_a_module, r"mapping\.fc0 is a Tensor, not a module"),
    (lambda data: data.pop("G_ema"), "holds no network G_ema; that is no snapshot of StyleGAN2 or StyleGAN3"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_other_networks_are_refused_by_name(tmp_path: Path, change: Any, message: str) -> None:
    data, path = snapshot(trained()), tmp_path / "other.pkl"
    change(data)
    path.write_bytes(pickled(data))
    with pytest.raises(ValueError, match=message) as caught:
        og.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_what_is_no_setting_is_a_mistake(file: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a StyleGan2, which has no setting 'trunc'; nearest: truncation"):
        og.load(file, trunc=0.7)
    with pytest.raises(ValueError, match=r"says itself what network it holds; leave model=SimpleGan\(\.\.\.\) out"):
        og.load(file, model=og.SimpleGan())
