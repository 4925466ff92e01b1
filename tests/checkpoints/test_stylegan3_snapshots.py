"""Snapshots of StyleGAN3, built here at small width in its pickles' layout, loaded without their code."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from checkpoints.stylegan_pickles import EasyDict, Persistent, alias_free, pickled
from orthogen.models.stylegan3 import StyleGan3

MODEL = StyleGan3(resolution=32, dim_z=6, dim_w=8, channel_base=96, channel_max=10)  # with all 14 layers
FEW = replace(MODEL, num_layers=3, num_critical=1)
CONFIGS = {"t": MODEL, "r": replace(MODEL, config="r"), "few": FEW, "few r": replace(FEW, config="r")}


def trained(model: StyleGan3 = FEW) -> nn.Module:
    """A generator whose every number is its own, buffers too; the same numbers every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval()
        with torch.no_grad():
            for value in (*module.parameters(), *module.buffers()):
                value.add_(0.1 * torch.randn_like(value))
            for name, value in module.named_buffers():
                if name.endswith("magnitude_ema"):
                    value.abs_()
    return module


def written(path: Path, model: StyleGan3 = FEW, **made_with: Any) -> nn.Module:
    """The generator whose snapshot is then in ``path``."""
    module = trained(model)
    path.write_bytes(pickled(alias_free(module, model, **made_with)))
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network-snapshot-000000.pkl"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_snapshot_loads_to_the_bit_without_its_modules(path: Path, config: str) -> None:
    model = CONFIGS[config]
    made_with = {} if model.num_layers == 14 else {"num_layers": 3, "num_critical": 1}
    module, z = written(path, model, **made_with), torch.randn(2, 6)
    G = og.load(path)
    assert "torch_utils" not in sys.modules
    assert not G.module.training
    assert G.latent == og.Normal(6)
    assert torch.equal(G(z), module(z))
    assert G(z).shape == (2, 3, 32, 32)
    state, loaded = module.state_dict(), G.module.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_the_raw_weights_are_those_of_g(path: Path) -> None:
    module = written(path)
    raw = og.load(path, ema=False).module.synthesis.input
    torch.testing.assert_close(raw.weight, module.synthesis.input.weight + 1)
    assert torch.equal(raw.freqs, module.synthesis.input.freqs)


def test_space_and_truncation_are_settings_and_there_is_no_noise(path: Path) -> None:
    module, z = written(path), torch.randn(2, 6)
    w = module.styles(z)
    assert torch.equal(og.load(path, space="w+")(w.repeat(1, 5)), module(z))
    assert torch.equal(og.load(path, space="w")(w), module(z))
    half = module.mapping.w_avg + 0.5 * (w - module.mapping.w_avg)
    torch.testing.assert_close(og.load(path, truncation=0.5)(z), module.draw(half))
    with pytest.raises(ValueError, match="holds a StyleGan3, which has no setting 'noise'"):
        og.load(path, noise="none")


def test_classes_are_taken_as_labels(path: Path) -> None:
    module, z, label = written(path, replace(FEW, classes=4)), torch.randn(4, 6), torch.arange(4)
    G = og.load(path)
    assert G.classes == 4
    assert torch.equal(G(z, label=label), module(z, label))
    assert torch.equal(G.of_class(2)(z), module(z, torch.full((4,), 2)))


CHANGES = [
    {"margin_size": 4},
    {"num_critical": 0},
    {"output_scale": 1.0},
    {"conv_clamp": None},
    {"conv_clamp": 0.125},
    {"first_cutoff": 3.0},
    {"first_stopband": 7.0, "last_stopband_rel": 1.5},
    {"resolution": 64, "channels": 1, "channel_base": 1000},
    {"lr_multiplier": 0.1, "mapping_layers": 3},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: ", ".join(changes))
def test_settings_are_read_off_weights_and_attributes(path: Path, changes: dict[str, Any]) -> None:
    model = replace(FEW, **changes)
    recorded = {name: changes[name] for name in ("first_stopband", "last_stopband_rel") if name in changes}
    module, z = written(path, model, **recorded), torch.randn(1, 6)
    assert torch.equal(og.load(path)(z), module(z))


@pytest.mark.parametrize("config", ["t", "r"])
def test_widths_need_no_record(path: Path, config: str) -> None:
    model = replace(MODEL, config=config)
    module, z = trained(model), torch.randn(1, 6)
    data = alias_free(module, model)
    for inner in (data["G_ema"], data["G_ema"].state["_modules"]["synthesis"]):
        inner.state["_init_kwargs"] = EasyDict()
    path.write_bytes(pickled(data))
    assert torch.equal(og.load(path)(z), module(z))


def test_half_precision_weights_become_float32(path: Path) -> None:
    path.write_bytes(pickled(alias_free(trained().half(), FEW)))
    state = og.load(path).module.state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_a_converted_file_draws_the_same(path: Path) -> None:
    module, z = written(path), torch.randn(2, 6)
    conversion = og.convert(path)
    assert conversion.equal
    assert conversion.format == "StyleGAN3"
    assert torch.equal(og.load(conversion.path)(z), module(z))


# ------------------------------------------------------------------------------------ networks that are none, or other
def at(data: dict[str, Any], *names: str) -> dict[str, Any]:
    value = data["G_ema"]
    for name in names:
        value = value.state["_modules"][name]
    return value.state


def layers(data: dict[str, Any]) -> dict[str, Any]:
    return at(data, "synthesis")["_modules"]


def second(data: dict[str, Any]) -> str:
    return next(name for name in layers(data) if name.startswith("L1_"))


def lacks_a_weight(data: dict[str, Any]) -> None:
    del at(data, "synthesis", second(data))["_parameters"]["bias"]


def lacks_a_filter(data: dict[str, Any]) -> None:
    at(data, "synthesis", "L0_36_10")["_buffers"]["up_filter"] = None


def lacks_a_layer(data: dict[str, Any]) -> None:
    del layers(data)[second(data)]


def lacks_all_layers(data: dict[str, Any]) -> None:
    for name in list(layers(data))[1:]:
        del layers(data)[name]


def lacks_frequencies(data: dict[str, Any]) -> None:
    del at(data, "synthesis", "input")["_buffers"]["freqs"]


def wrong_shape(data: dict[str, Any]) -> None:
    at(data, "synthesis", "input")["_buffers"]["transform"] = torch.eye(4)


def flat_weight(data: dict[str, Any]) -> None:
    at(data, "synthesis", "L0_36_10")["_parameters"]["weight"] = nn.Parameter(torch.zeros(3))


def empty_weight(data: dict[str, Any]) -> None:
    at(data, "synthesis", "L0_36_10")["_parameters"]["weight"] = nn.Parameter(torch.zeros(0, 10, 3, 3))


def radial_filter(data: dict[str, Any]) -> None:
    at(data, "synthesis", "L0_36_10")["_buffers"]["down_filter"] = torch.ones(12, 12)


def too_much(data: dict[str, Any]) -> None:
    at(data, "synthesis", "L0_36_10")["_buffers"]["noise_const"] = torch.zeros(36, 36)


def integer_phases(data: dict[str, Any]) -> None:
    at(data, "synthesis", "input")["_buffers"]["phases"] = torch.zeros(10, dtype=torch.int64)


def huge_image(data: dict[str, Any]) -> None:
    layers(data)["L3_65536_3"] = layers(data).pop("L3_32_3")


def odd_image(data: dict[str, Any]) -> None:
    layers(data)["L3_33_3"] = layers(data).pop("L3_32_3")


def huge_margin(data: dict[str, Any]) -> None:
    at(data, "synthesis")["margin_size"] = 2**30


def all_critical(data: dict[str, Any]) -> None:
    at(data, "synthesis")["num_critical"] = 3


def no_cutoff(data: dict[str, Any]) -> None:
    at(data, "synthesis", "input")["bandwidth"] = np.float64(-1.0)


def half_wide(data: dict[str, Any]) -> None:
    at(data, "synthesis")["_init_kwargs"]["channel_base"] = 48


def tensor_for_a_layer(data: dict[str, Any]) -> None:
    layers(data)["input"] = torch.zeros(2)


REFUSALS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lacks_a_weight, r"lacks synthesis\.L1_52_\d\.bias, of shape \(\d,\), which its StyleGan3 has"),
    (lacks_a_filter, r"lacks synthesis\.L0_36_10\.up_filter, of shape \(12,\), which its StyleGan3 has"),
    (lacks_a_layer, r"lacks synthesis\.L\d_\d+_\d+\.\w+, of shape .*, which its StyleGan3 has"),
    (lacks_all_layers, r"has 0 layers synthesis\.L0_\.\.\., synthesis\.L1_\.\.\.; a StyleGAN3 generator has 2 or more"),
    (lacks_frequencies, r"lacks synthesis\.input\.freqs, of shape \(10, 2\), which its StyleGan3 has"),
    (wrong_shape, r"has synthesis\.input\.transform of shape \(4, 4\); its StyleGan3 needs \(3, 3\)"),
    (flat_weight, r"has synthesis\.L0_36_10\.weight of shape \(3,\); 4 dimensions are needed"),
    (empty_weight, r"has synthesis\.L0_36_10\.weight of shape \(0, 10, 3, 3\), which holds nothing"),
    (radial_filter, r"has synthesis\.L0_36_10\.down_filter of shape \(12, 12\); its StyleGan3 needs \(12,\)"),
    (too_much, r"has 'synthesis\.L0_36_10\.noise_const', which its StyleGan3 does not have"),
    (integer_phases, r"has synthesis\.input\.phases in torch\.int64; its StyleGan3 needs torch\.float32"),
    (huge_image, "asks for more than 8192 samples along a side, which no published network does"),
    (odd_image, r"has the weights of no StyleGAN3: .*resolution=33.*: give a power of two from 8 on"),
    (huge_margin, r"lacks synthesis\.L0_2147483664_10\.\w+, of shape"),
    (all_critical, "has the weights of no StyleGAN3: .*fewer layers are critically sampled than there are"),
    (no_cutoff, "has the weights of no StyleGAN3: .*first_cutoff=-1.*stop bands begin beyond the cutoffs"),
    (half_wide, r"lacks synthesis\.L1_\d+_\d\.\w+, of shape .*, which its StyleGan3 has"),
    (tensor_for_a_layer, r"synthesis\.input is a Tensor, not a module"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_other_networks_are_refused_by_name(path: Path, change: Any, message: str) -> None:
    data = alias_free(trained(), FEW)
    change(data)
    path.write_bytes(pickled(data))
    with pytest.raises(ValueError, match=message) as caught:
        og.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("value", ["0.5", 10**400, float("nan"), float("inf"), True, [1.0], Persistent("Scale", {})])
def test_attributes_that_are_no_settings_are_passed_over(path: Path, value: Any) -> None:
    module, z = trained(), torch.randn(1, 6)
    data = alias_free(module, FEW)
    for name in ("output_scale", "margin_size", "channel_base", "first_stopband", "conv_clamp"):
        at(data, "synthesis")[name] = value
    at(data, "mapping", "fc0")["bias_gain"] = value
    path.write_bytes(pickled(data))
    assert torch.equal(og.load(path)(z), module(z))
