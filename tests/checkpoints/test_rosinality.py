"""Checkpoints of rosinality's StyleGAN2, built here at small width."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.models.stylegan2 import StyleGan2

MODEL = StyleGan2(resolution=16, dim_z=8, dim_w=8, mapping_layers=3, channel_base=96, channel_max=10)


def trained(model: StyleGan2 = MODEL) -> nn.Module:
    """A generator whose every number is its own; the same numbers every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval().requires_grad_(False)
        for value in (*module.parameters(), module.mapping.w_avg):
            value.add_(0.1 * torch.randn_like(value))
    return module


def theirs(module: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of the same network under rosinality's names and shapes."""
    state: dict[str, torch.Tensor] = {}
    for i in range(module.mapping.layers):
        for name, value in module.mapping.get_submodule(f"fc{i}").named_parameters():
            state[f"style.{i + 1}.{name}"] = value
    state["input.input"] = module.synthesis.b4.const[None]

    def conv(layer: nn.Module, name: str) -> None:
        state[f"{name}.conv.weight"] = layer.weight[None]
        state[f"{name}.conv.modulation.weight"] = layer.affine.weight
        state[f"{name}.conv.modulation.bias"] = layer.affine.bias

    count = 0
    for block, resolution in enumerate(module.synthesis.resolutions):
        inner = module.synthesis.get_submodule(f"b{resolution}")
        for i, part in enumerate(("conv0", "conv1")[0 if block else 1 :]):
            layer, name = inner.get_submodule(part), f"convs.{2 * block - 2 + i}" if block else "conv1"
            conv(layer, name)
            if part == "conv0":
                state[f"{name}.conv.blur.kernel"] = layer.resample_filter * 4
            state[f"{name}.noise.weight"] = layer.noise_strength[None]
            state[f"{name}.activate.bias"] = layer.bias
            state[f"noises.noise_{count}"] = layer.noise_const[None, None]
            count += 1
        name = f"to_rgbs.{block - 1}" if block else "to_rgb1"
        conv(inner.torgb, name)
        state[f"{name}.bias"] = inner.torgb.bias[None, :, None, None]
        if block:
            state[f"{name}.upsample.kernel"] = inner.resample_filter * 4
    return state


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_gives_the_same_images(tmp_path: Path, zipped: bool) -> None:
    module, path = trained(), tmp_path / "550000.pt"
    state = theirs(module)
    content = {
        "g": {name: value + 1 for name, value in state.items()},
        "g_ema": state,
        "g_optim": {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"betas": (0.0, 0.99)}]},
        "args": Namespace(size=16, path="data"),
        "ada_aug_p": 0.0,
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    G, z = og.load(path), torch.randn(2, 8)
    assert torch.equal(G(z), module(z))
    assert torch.equal(og.load(path, ema=False).module.synthesis.b4.const, module.synthesis.b4.const + 1)


def test_the_mean_style_is_estimated_where_the_file_has_none(tmp_path: Path) -> None:
    module, path = trained(), tmp_path / "a.pt"
    torch.save({"g_ema": theirs(module)}, path)
    first, again = (og.load(path).module.mapping.w_avg for _ in range(2))
    torch.testing.assert_close(first, module.mapping(torch.randn(20_000, 8)).mean(0), atol=0.02, rtol=0)
    assert torch.equal(first, again)
    torch.testing.assert_close(og.load(path, truncation=0.0).module.styles(torch.randn(1, 8))[0], first)


def test_a_given_mean_style_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "converted.pt"
    torch.save({"g_ema": theirs(trained()), "latent_avg": torch.arange(8.0)}, path)
    assert og.load(path).module.mapping.w_avg.tolist() == list(range(8))
    with pytest.raises(ValueError, match="has no g; that is no StyleGAN2 checkpoint of rosinality's"):
        og.load(path, ema=False)


def test_space_noise_and_truncation_are_settings(tmp_path: Path) -> None:
    path, z = tmp_path / "a.pt", torch.randn(2, 8)
    torch.save({"g_ema": theirs(trained())}, path)
    plain, styles = og.load(path), og.load(path, space="w+", noise="none")
    assert styles.latent.dim == 6 * 8
    w = plain.module.styles(z)
    torch.testing.assert_close(styles(w.repeat(1, 6)), og.load(path, noise="none")(z))
    with pytest.raises(ValueError, match=r"holds a StyleGan2, which has no setting 'truncaton'; nearest: truncation"):
        og.load(path, truncaton=0.5)
    with pytest.raises(ValueError, match=r"StyleGan2\(space='s'\): give one of z, w, w\+"):
        og.load(path, space="s")


def test_a_converted_file_draws_the_same(tmp_path: Path) -> None:
    torch.save({"g_ema": theirs(trained())}, tmp_path / "a.pt")
    conversion = og.convert(tmp_path / "a.pt", truncation=0.7)
    assert conversion.equal
    assert conversion.format == "StyleGAN2 of rosinality's"
    assert og.load(conversion.path).module.truncation == 0.7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("to_rgbs.0.bias"), r"lacks synthesis\.b8\.torgb\.bias, of shape \(3,\), which its StyleGan2"),
        (lambda s: s.pop("style.1.bias"), r"lacks mapping\.fc0\.bias, of shape \(8,\), which"),
        (lambda s: s.pop("style.1.weight"), r"lacks mapping\.fc0\.weight, which a StyleGAN2 generator"),
        (lambda s: s.pop("input.input"), r"lacks synthesis\.b4\.const"),
        (lambda s: s.update({"extra.weight": torch.zeros(2)}), r"g_ema has 'extra\.weight', which a StyleGAN2 of ros"),
        (lambda s: s.update({"convs.99.conv.weight": torch.zeros(2)}), r"has 'synthesis\.b4503599627370496\.conv1"),
        (lambda s: s.update({"style.1.weight": torch.zeros(())}), r"has mapping\.fc0\.weight of shape \(\); 2 dim"),
        (lambda s: s.update({"style.2.weight": [1.0]}), r"has 'style\.2\.weight' of type list; g_ema of ros"),
        (
            lambda s: s.update({"convs.0.activate.bias": torch.zeros(9)}),
            r"has synthesis\.b8\.conv0\.bias of shape \(9,",
        ),
        (lambda s: s.clear(), "is damaged or nothing that load knows"),
    ],
)
def test_other_networks_are_refused_by_name(tmp_path: Path, change: object, message: str) -> None:
    path, state = tmp_path / "a.pt", theirs(trained())
    change(state)
    torch.save({"g_ema": state}, path)
    with pytest.raises(ValueError, match=message) as caught:
        og.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "content", [{"g_ema": [1.0]}, {"g_ema": {"style.1.weight": torch.zeros(3, dtype=torch.int64)}}]
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "a.pt"
    torch.save({**content, "convs.0.conv.modulation.weight": 0}, path)
    with pytest.raises(ValueError, match="of rosinality's StyleGAN2"):
        og.load(path)
