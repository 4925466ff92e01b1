"""Checkpoints of GenForce's ProGAN, built here at small width, with a plain transcription of its network."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import orthogen as og
from orthogen.models.progan import ProGan

MODEL = ProGan(og.Normal(5), resolution=16, channel_base=96, channel_max=10)  # 10, 10, 6 channels
State = dict[str, Tensor]


def trained(model: ProGan = MODEL) -> nn.Module:
    """A generator whose every number is its own; the same numbers every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval().requires_grad_(False)
        for value in module.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return module


def theirs(module: nn.Module, fused: bool = False) -> State:
    """The state dict of the same network under GenForce's names and shapes."""
    state = {"lod": torch.zeros(())}
    for level, side in enumerate(module.sides):
        block = module.get_submodule(f"b{side}")
        for i, layer in enumerate((block.conv0, block.conv1)):
            weight = layer.conv.weight
            if weight.ndim == 2:
                weight = weight.view(-1, 4, 4, weight.shape[1]).permute(0, 3, 1, 2).flip(2, 3)
            elif fused and i == 0:
                weight = weight.transpose(0, 1).flip(2, 3)
            state[f"layer{2 * level + i}.weight"] = weight
            state[f"layer{2 * level + i}.bias"] = layer.conv.bias
        state[f"output{level}.weight"], state[f"output{level}.bias"] = block.torgb.weight, block.torgb.bias
    return state


def drawn(state: State, z: Tensor, fused: bool) -> Tensor:
    """Images in double precision from the stored tensors as that network uses them: norm, convolution, activation."""
    state = {name: value.double() for name, value in state.items()}

    def normed(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    def block(x: Tensor, name: str, gain: float = math.sqrt(2), padding: int = 1, up: bool = False) -> Tensor:
        x, weight = normed(x), state[f"{name}.weight"]
        inputs = weight.shape[0] if up and fused else weight.shape[1]
        weight = weight * gain / math.sqrt(inputs * weight.shape[2] ** 2)
        if up and fused:
            weight = F.pad(weight, (1, 1, 1, 1))
            weight = weight[:, :, 1:, 1:] + weight[:, :, :-1, 1:] + weight[:, :, 1:, :-1] + weight[:, :, :-1, :-1]
            x = F.conv_transpose2d(x, weight, stride=2, padding=1)
        else:
            x = F.interpolate(x, scale_factor=2, mode="nearest") if up else x
            x = F.conv2d(x, weight, padding=padding)
        return x + state[f"{name}.bias"][:, None, None]

    x = F.leaky_relu(block(normed(z.double())[:, :, None, None], "layer0", padding=3), 0.2)
    x = F.leaky_relu(block(x, "layer1"), 0.2)
    for level in (1, 2):
        x = F.leaky_relu(block(x, f"layer{2 * level}", up=True), 0.2)
        x = F.leaky_relu(block(x, f"layer{2 * level + 1}"), 0.2)
    return block(x, "output2", gain=1.0, padding=0)


def saved(path: Path, state: State, **more: Any) -> Path:
    torch.save({"generator": {n: v + 1 for n, v in state.items()}, "generator_smooth": state, **more}, path)
    return path


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_checkpoint_gives_the_same_images(tmp_path: Path, fused: bool, zipped: bool) -> None:
    module, path = trained(), tmp_path / "pggan.pth"
    state = theirs(module, fused)
    content = {"generator": {n: v + (n != "lod") for n, v in state.items()}, "generator_smooth": state}
    content["discriminator"] = {"input0.weight": torch.zeros(2)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    G, z = og.load(path), torch.randn(2, 5)
    assert torch.equal(G(z), module(z))
    assert G(z).shape == (2, 3, 16, 16)
    assert G.latent == og.Normal(5)
    own = G.module.state_dict()
    assert all(torch.equal(own[name], value) for name, value in module.state_dict().items())
    assert torch.equal(og.load(path, ema=False).module.b4.torgb.bias, module.b4.torgb.bias + 1)


@pytest.mark.parametrize("fused", [False, True])
def test_images_equal_those_of_their_network_in_double_precision(tmp_path: Path, fused: bool) -> None:
    state, z = theirs(trained(), fused), torch.randn(3, 5)
    G = og.load(saved(tmp_path / "a.pth", state))
    G.module.double()
    torch.testing.assert_close(G(z.double()), drawn(state, z, fused), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 4},
        {"resolution": 64, "channels": 1},
        {"channel_max": 4},
        {"latent": og.Normal(20), "channel_base": 64, "channel_max": 16},
    ],
)
def test_sizes_are_read_off_the_weights(tmp_path: Path, changes: dict[str, Any]) -> None:
    module = trained(replace(MODEL, **changes))
    G = og.load(saved(tmp_path / "a.pth", theirs(module)))
    z = G.latent.sample(2)
    assert torch.equal(G(z), module(z))


def test_the_level_is_kept_and_may_be_missing(tmp_path: Path) -> None:
    state, z = theirs(trained()), torch.randn(2, 5)
    full = og.load(saved(tmp_path / "a.pth", {n: v for n, v in state.items() if n != "lod"}))
    assert full.module.lod.item() == 0
    small = og.load(saved(tmp_path / "a.pth", {**state, "lod": torch.tensor(2.0)}))
    assert len(small(z)[0, 0].unique()) == 16
    assert len(full(z)[0, 0].unique()) == 256


def test_variants_are_settings(tmp_path: Path) -> None:
    module, z = trained(), torch.randn(2, 5)
    path = saved(tmp_path / "a.pth", theirs(module))
    without = og.load(path, latent_norm=False)
    assert not torch.allclose(without(z), module(z))
    torch.testing.assert_close(without(module.latent_norm(z)), module(z))
    with pytest.raises(ValueError, match="holds a ProGan, which has no setting 'truncation'"):
        og.load(path, truncation=0.5)


def test_a_converted_file_draws_the_same(tmp_path: Path) -> None:
    conversion = og.convert(saved(tmp_path / "a.pth", theirs(trained())), tmp_path / "ours.safetensors")
    assert conversion.equal
    assert conversion.format == "ProGAN of GenForce"


def wrong(name: str, value: Any) -> Callable[[State], None]:
    return lambda state: state.update({name: value})


REFUSALS = [
    (lambda s: s.pop("layer3.bias"), "lacks b8.conv1.conv.bias, of shape (10,), which its ProGan has"),
    (lambda s: s.pop("layer3.weight"), "lacks layer3.weight, which a ProGAN of GenForce has"),
    (wrong("layer5.weight", torch.zeros(7, 6, 3, 3)), "has b16.conv0.conv.weight of shape (6, 10, 3, 3); its ProGan"),
    (wrong("layer3.bias", torch.zeros(9)), "has b8.conv1.conv.bias of shape (9,); its ProGan needs (10,)"),
    (wrong("layer0.weight", torch.zeros(10)), "has layer0.weight of shape (10,); 4 dimensions are needed"),
    (
        wrong("layer0.weight", torch.zeros(10, 5, 3, 3)),
        "has b4.conv0.conv.weight of shape (90, 5); its ProGan needs (160",
    ),
    (wrong("layer1.wscale", torch.zeros(1)), "has 'layer1.wscale', which a ProGAN of GenForce has not"),
    (wrong("layer7.bias", torch.zeros(1)), "has 'b32.conv1.conv.bias', which its ProGan does not have"),
    (wrong("lod", torch.zeros(2)), "has lod of shape (2,); its ProGan needs ()"),
    (wrong("output99.weight", torch.zeros(3, 1, 1, 1)), "lacks layer7.weight, which a ProGAN of GenForce has"),
    (wrong("layer1.weight", torch.zeros(10, 10, 3, 3).long()), "has 'layer1.weight' of type torch.int64"),
    (wrong("output1.weight", torch.zeros(0)), "has b8.torgb.weight of shape (0,); its ProGan needs (3, 10, 1, 1)"),
    (wrong("layer1.weight", torch.zeros(0, 10, 3, 3)), "has layer1.weight of shape (0, 10, 3, 3), which holds nothing"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_other_networks_are_refused_by_name(tmp_path: Path, change: Callable[[State], None], message: str) -> None:
    state = theirs(trained())
    change(state)
    path = tmp_path / "a.pth"
    torch.save({"generator_smooth": state}, path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        og.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
