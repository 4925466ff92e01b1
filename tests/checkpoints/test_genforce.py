"""Checkpoints of GenForce's StyleGAN2, built here at small width, with a plain transcription of its network."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import orthogen as og
from orthogen.models.stylegan2 import StyleGan2

MODEL = StyleGan2(resolution=16, dim_z=6, dim_w=8, mapping_layers=3, channel_base=96, channel_max=10)
State = dict[str, Tensor]


def trained(model: StyleGan2 = MODEL) -> nn.Module:
    """A generator whose every number is its own; the same numbers every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval().requires_grad_(False)
        for value in (*module.parameters(), module.mapping.w_avg):
            value.add_(0.1 * torch.randn_like(value))
    for name, value in module.named_parameters():
        if name.endswith("affine.bias"):
            value.copy_((value - 1) + 1)  # to the last bit what adding one gives
    return module


def theirs(module: nn.Module) -> State:
    """The state dict of the same network under GenForce's names and shapes."""
    state = {"truncation.w_avg": module.mapping.w_avg, "synthesis.early_layer.const": module.synthesis.b4.const[None]}
    for i in range(module.mapping.layers):
        for name, value in module.mapping.get_submodule(f"fc{i}").named_parameters():
            state[f"mapping.dense{i}.{name}"] = value

    def conv(layer: nn.Module, name: str, turned: bool) -> None:
        weight = layer.weight.flip(2, 3) if turned else layer.weight
        state[f"{name}.weight"] = weight.permute(2, 3, 1, 0)
        state[f"{name}.bias"] = layer.bias
        state[f"{name}.style.weight"] = layer.affine.weight
        state[f"{name}.style.bias"] = layer.affine.bias - 1

    for block, resolution in enumerate(module.synthesis.resolutions):
        inner = module.synthesis.get_submodule(f"b{resolution}")
        for part in ("conv0", "conv1")[0 if block else 1 :]:
            layer, name = inner.get_submodule(part), f"synthesis.layer{2 * block - (part == 'conv0')}"
            conv(layer, name, part == "conv0")
            state[f"{name}.noise_strength"] = layer.noise_strength
            state[f"{name}.noise"] = layer.noise_const[None, None]
            if part == "conv0":
                state[f"{name}.filter.kernel"] = 4 * layer.resample_filter[None, None]
        conv(inner.torgb, f"synthesis.output{block}", False)
    state["synthesis.upsample.kernel"] = 4 * inner.resample_filter[None, None]
    return state


def drawn(state: State, z: Tensor) -> Tensor:
    """Images, one by one and in double precision, from the stored tensors as that network uses them."""
    state = {name: value.double() for name, value in state.items()}

    def dense(x: Tensor, name: str, lr: float = 1.0, more: float = 0.0) -> Tensor:
        weight = state[f"{name}.weight"]
        return x @ weight.T * (lr / math.sqrt(weight.shape[1])) + state[f"{name}.bias"] * lr + more

    def lrelu(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.2) * math.sqrt(2)

    def modulated(x: Tensor, w: Tensor, name: str, up: bool = False, demodulate: bool = True) -> Tensor:
        weight = state[f"{name}.weight"]  # (k, k, inputs, outputs)
        weight = weight / math.sqrt(math.prod(weight.shape[:3]))
        weight = weight * dense(w, f"{name}.style", more=1.0)[:, None]
        if demodulate:
            weight = weight / (weight.square().sum((0, 1, 2)) + 1e-8).sqrt()
        if up:
            x = F.conv_transpose2d(x, weight.flip(0, 1).permute(2, 3, 0, 1), stride=2)
            x = F.conv2d(x.transpose(0, 1), state[f"{name}.filter.kernel"], padding=1).transpose(0, 1)
        else:
            x = F.conv2d(x, weight.permute(3, 2, 0, 1), padding=weight.shape[0] // 2)
        if f"{name}.noise" in state:
            x = x + state[f"{name}.noise"] * state[f"{name}.noise_strength"]
        return x + state[f"{name}.bias"][:, None, None]

    images = []
    for row in z.double():
        w = row / (row.square().mean() + 1e-8).sqrt()
        for i in range(3):
            w = lrelu(dense(w, f"mapping.dense{i}", lr=0.01))
        x, image = state["synthesis.early_layer.const"], torch.zeros(())
        for block in range(3):
            if block:
                x = lrelu(modulated(x, w, f"synthesis.layer{2 * block - 1}", up=True))
                wide = torch.zeros(1, 3, 2 * image.shape[2], 2 * image.shape[3], dtype=torch.float64)
                wide[:, :, ::2, ::2] = image
                kernel = state["synthesis.upsample.kernel"]
                image = F.conv2d(F.pad(wide, (2, 1, 2, 1)).transpose(0, 1), kernel).transpose(0, 1)
            x = lrelu(modulated(x, w, f"synthesis.layer{2 * block}"))
            image = image + modulated(x, w, f"synthesis.output{block}", demodulate=False)
        images.append(image)
    return torch.cat(images)


def saved(path: Path, state: State, **more: Any) -> Path:
    torch.save({"generator_smooth": state, "discriminator": {"layer0.weight": torch.zeros(2)}, **more}, path)
    return path


@pytest.mark.parametrize("where", ["top", "models", "legacy"])
def test_a_checkpoint_gives_the_same_images(tmp_path: Path, where: str) -> None:
    module, path = trained(), tmp_path / "stylegan2.pth"
    state = theirs(module)
    content: dict[str, Any] = {"generator": {name: value + 1 for name, value in state.items()}}
    content |= {"discriminator": {"input0.weight": torch.zeros(2)}, "generator_smooth": state}
    if where == "models":
        content = {"models": content, "optimizers": {"generator": {"state": {}}}, "running_metadata": {"iter": 5}}
        content["models"]["generator"] |= {n: v for n, v in state.items() if n.endswith(".kernel")}
    else:
        content["generator"] |= {n: v for n, v in state.items() if n.endswith(".kernel")}
    torch.save(content, path, _use_new_zipfile_serialization=where != "legacy")
    G, z = og.load(path), torch.randn(2, 6)
    assert torch.equal(G(z), module(z))
    assert G.latent == og.Normal(6)
    own = G.module.state_dict()
    assert all(torch.equal(own[name], value) for name, value in module.state_dict().items())
    assert torch.equal(og.load(path, ema=False).module.synthesis.b4.const, module.synthesis.b4.const + 1)


def test_images_equal_those_of_their_network_in_double_precision(tmp_path: Path) -> None:
    state, z = theirs(trained()), torch.randn(3, 6)
    G = og.load(saved(tmp_path / "a.pth", state))
    G.module.double()
    torch.testing.assert_close(G(z.double()), drawn(state, z), atol=1e-5, rtol=1e-5)


def test_space_noise_and_truncation_are_settings(tmp_path: Path) -> None:
    module, z = trained(), torch.randn(2, 6)
    path = saved(tmp_path / "a.pth", theirs(module))
    assert og.load(path, space="w").latent.dim == 8
    average = og.load(path, truncation=0.0)
    torch.testing.assert_close(average.module.styles(z), module.mapping.w_avg.expand(2, -1))
    with pytest.raises(ValueError, match="holds a StyleGan2, which has no setting 'latent_norm'"):
        og.load(path, latent_norm=False)


def test_files_without_filters_are_read(tmp_path: Path) -> None:
    module, z = trained(), torch.randn(2, 6)
    state = {name: value for name, value in theirs(module).items() if not name.endswith(".kernel")}
    assert torch.equal(og.load(saved(tmp_path / "a.pth", state))(z), module(z))


def test_a_converted_file_draws_the_same(tmp_path: Path) -> None:
    conversion = og.convert(saved(tmp_path / "a.pth", theirs(trained())), tmp_path / "ours.safetensors")
    assert conversion.equal
    assert conversion.format == "StyleGAN2 of GenForce"


def wrong(name: str, value: Any) -> Callable[[State], None]:
    return lambda state: state.update({name: value})


REFUSALS = [
    (lambda s: s.pop("synthesis.layer1.weight"), "lacks synthesis.b8.conv0.weight, of shape (10, 10, 3, 3)"),
    (lambda s: s.pop("truncation.w_avg"), "lacks mapping.w_avg"),
    (wrong("synthesis.layer2.bias", torch.zeros(9)), "has synthesis.b8.conv1.bias of shape (9,)"),
    (
        wrong("synthesis.layer2.weight", torch.zeros(10, 10, 3, 3)),
        "has synthesis.layer2.weight of shape (10, 10, 3, 3)",
    ),
    (wrong("synthesis.layer2.weight", torch.zeros(3)), "has synthesis.layer2.weight of shape (3,); give (3, 3, inputs"),
    (wrong("synthesis.output1.noise", torch.zeros(1)), "has 'synthesis.output1.noise', which a StyleGAN2 of GenForce"),
    (
        wrong("mapping.label_weight", torch.zeros(4, 6)),
        "has 'mapping.label_weight', which a StyleGAN2 of GenForce (with",
    ),
    (wrong("synthesis.skip_layer1.weight", torch.zeros(1)), "has 'synthesis.skip_layer1.weight', which"),
    (
        wrong("synthesis.upsample.kernel", torch.ones(1, 1, 4, 4)),
        "has 'synthesis.upsample.kernel' that is not the filter",
    ),
    (wrong("synthesis.upsample.kernel", torch.ones(3)), "has 'synthesis.upsample.kernel' that is not the filter"),
    (wrong("truncation.w_avg", torch.zeros(6, 8)), "has mapping.w_avg of shape (6, 8); 1 dimensions are needed"),
    (wrong("synthesis.layer99.weight", torch.zeros(3, 3, 1, 1)), "has 'synthesis.b4503599627370496.conv0.weight'"),
    (wrong("mapping.dense0.weight", [1.0]), "has 'mapping.dense0.weight' of type list; generator_smooth of GenForce"),
    (wrong("mapping.dense0.weight", torch.zeros(8, 6).long()), "has 'mapping.dense0.weight' of type torch.int64"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_other_networks_are_refused_by_name(tmp_path: Path, change: Callable[[State], None], message: str) -> None:
    state = theirs(trained())
    change(state)
    path = saved(tmp_path / "a.pth", state)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        og.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_the_weights_asked_for_must_be_there(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", theirs(trained()))
    with pytest.raises(
        ValueError, match="has no generator; a checkpoint of GenForce has it, or load the other with ema"
    ):
        og.load(path, ema=False)
    torch.save([{"generator": theirs(trained())}], path)
    with pytest.raises(ValueError, match="has no generator_smooth"):
        og.load(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", theirs(trained()))
    whole = path.read_bytes()
    for part in (0.2, 0.9, 0.999):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match=r"a\.pth is ") as caught:
            og.load(path)
        assert "\n" not in str(caught.value)
