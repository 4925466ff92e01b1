from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen.checkpoints import studiogan
from orthogen.models.biggan import BigGan
from orthogen.models.sngan import Sngan
from studio_nets import golden_net

SNGAN = Sngan(
    latent=og.Normal(8), width=8, generator_levels=(1, 1, 1, 1), critic_levels=(1, 1, 1, 1), statistics="batch",
    skip_relu=True,
)  # fmt: skip
BIGGAN = BigGan(
    resolution=32, classes=10, dim=16, shared_dim=16, width=16, generator_levels=(1, 1, 1, 1),
    critic_levels=(1, 1, 1, 1), attention=(16,), critic_attention=(), spectral=False, statistics="batch", eps=1e-4,
    skip_relu=True,
)  # fmt: skip
GOLDEN = {"net_sngan32": SNGAN, "net_biggan32": BIGGAN}
BEST = "model=G-best-weights-step=2000.pth"


def generator(name):
    return {key.removeprefix("G."): x for key, x in golden_net(name).items() if key.startswith("G.")}


def write(path: Path, state, **more) -> Path:
    torch.save({"seed": 42, "run_name": "run", "step": 2000, "state_dict": state, **more}, path)
    return path


@pytest.mark.parametrize("name", GOLDEN)
@torch.no_grad()
def test_images_equal_the_golden_file(tmp_path, name):
    golden = golden_net(name)
    loaded = studiogan.load(write(tmp_path / BEST, generator(name), optimizer={"state": {}, "param_groups": []}))
    assert loaded.model == GOLDEN[name]
    G = loaded.generator
    images = G(golden["z"], label=golden["y"].long())
    torch.testing.assert_close(images[:2], golden["images"], rtol=1e-4, atol=1e-5)
    assert G.classes == 10
    assert not any(part in key for key in G.module.state_dict() for part in ("weight_u", "u0"))  # folded


def test_a_folder_gives_the_best_and_a_truncation_is_taken(tmp_path):
    current = generator("net_sngan32")
    best = current | {"bn4.bias": current["bn4.bias"] + 1}
    write(tmp_path / "model=G-current-weights-step=9000.pth", current)
    one = og.load(tmp_path, ema=False)
    write(tmp_path / BEST, best)
    two = og.load(tmp_path, ema=False)
    write(tmp_path / "model=D-best-weights-step=2000.pth", {})
    bias = "output_layer.0.bias"
    assert torch.equal(two.module.state_dict()[bias], one.module.state_dict()[bias] + 1)
    with pytest.raises(FileNotFoundError, match=r"has no model=G_ema-....pth, but other weights; load it with ema"):
        og.load(tmp_path)
    averaged = write(tmp_path / "model=G_ema-best-weights-step=2000.pth", generator("net_biggan32"))
    assert og.load(tmp_path, truncation=0.5).latent.span == (-0.5, 0.5)
    averaged.rename(tmp_path / "model=D_ema.pth")
    assert not studiogan.recognizes(tmp_path / "model=D_ema.pth")


@pytest.mark.parametrize("name", GOLDEN)
@torch.no_grad()
def test_running_statistics_are_taken_where_there_are_any(tmp_path, name):
    state = generator(name)
    widths = {"bn4": len(state["bn4.bias"])}
    for key in [key for key in state if key.endswith(("conv2d1.bias", "conv2d2.bias"))]:
        norm = key.replace("conv2d", "bn").removesuffix("bias") + "bn"
        widths[norm] = len(state[key])
    rng = torch.Generator().manual_seed(0)
    for norm, width in widths.items():
        state[f"{norm}.running_mean"] = torch.randn(width, generator=rng)
        state[f"{norm}.running_var"] = 1 + torch.rand(width, generator=rng)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    loaded = studiogan.load(write(tmp_path / BEST, state))
    assert loaded.model.statistics == "running"
    net = loaded.module
    assert torch.equal(net.blocks[0][0].bn2.stored_mean, state["blocks.0.0.bn2.bn.running_mean"])
    assert torch.equal(net.output_layer[0].stored_var, state["bn4.running_var"])
    z, y = golden_net(name)["z"], golden_net(name)["y"].long()
    images = loaded.generator(z, label=y)
    torch.testing.assert_close(images[:1], loaded.generator(z[:1], label=y[:1]))
    assert og.checkpoints.convert(tmp_path / BEST, tmp_path / "ours.safetensors").equal


@torch.no_grad()
def test_tables_of_one_hot_labels_are_turned(tmp_path):
    state = {}
    for key, value in generator("net_sngan32").items():
        turned = key.replace("embed0", "gain").replace("embed1", "bias")
        state[turned] = value.T if turned != key else value
    golden = golden_net("net_sngan32")
    images = og.load(write(tmp_path / BEST, state))(golden["z"], label=golden["y"].long())
    torch.testing.assert_close(images[:2], golden["images"], rtol=1e-4, atol=1e-5)


BROKEN = {
    "a hole": ({"blocks.1.0.conv2d2.weight_orig": None}, r"lacks blocks.1.0.conv2.weight, of shape \(16, 16, 3, 3\)"),
    "half a spectral norm": (
        {"linear0.weight_u": None}, r"lacks linear0.weight_u, which a spectral norm has"
    ),
    "no first layer": (
        dict.fromkeys(["linear0.weight_orig", "linear0.weight_u", "linear0.weight_v"]),
        r"lacks linear.weight, which a generator of StudioGAN has",
    ),
    "a block less": (
        {key: None for key in generator("net_biggan32") if key.startswith("blocks.1.")},
        r"lacks blocks.1, which a generator of StudioGAN has",
    ),
    "attention first": ({"blocks.0.0.sigma": torch.ones(1)}, r"begins with attention, blocks.0; such a network is not"),
    "a wrong shape": (
        {"blocks.0.0.bn1.gain.weight_orig": torch.ones(8, 20), "blocks.0.0.bn1.gain.weight_u": torch.ones(8)},
        r"has blocks.0.0.bn1.gain.weight of shape \(8, 20\); its BigGan needs \(16, 20\)",
    ),
    "some statistics": (
        {"bn4.running_mean": torch.ones(16)}, r"lacks blocks.0.0.bn1.stored_mean, of shape \(16,\), which its BigGan"
    ),
    "numbers for tensors": (
        {"blocks.0.0.conv2d1.bias": torch.tensor(1.0), "bn4.weight": torch.tensor(1.0)},
        r"has blocks.0.0.conv1.bias of shape \(\); its BigGan needs \(16,\)",
    ),
    "a flat spectral norm": (
        {"linear0.weight_orig": torch.tensor(1.0)}, r"has linear0.weight_orig of shape \(\); 2 dimensions are needed"
    ),
    "a tensor too many": ({"info.weight": torch.ones(1)}, r"has 'info.weight', which its BigGan does not have"),
    "integers": ({"bn4.bias": torch.ones(16, dtype=torch.long)}, r"has 'bn4.bias' of type torch.int64; a generator of"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_in_one_line(tmp_path, name):
    changes, message = BROKEN[name]
    state = generator("net_biggan32") | changes
    file = write(tmp_path / BEST, {key: value for key, value in state.items() if value is not None})
    with pytest.raises(ValueError, match=message) as error:
        og.load(file)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_another_content_or_command_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Malice:
        def __reduce__(self):
            return exec, ("open('code_was_run', 'w')",)

    file = tmp_path / BEST
    for content, message in (
        (Malice(), r"weights-step=2000.pth names '(builtins|__builtin__).exec'"),
        ({"model": {}}, r"has no state_dict; that is no checkpoint of StudioGAN"),
        ({"state_dict": {"a": torch.zeros(1)}}, r"lacks blocks.0, which a generator of StudioGAN has"),
    ):
        torch.save(content, file)
        with pytest.raises(ValueError, match=message):
            og.load(file)
    assert not Path("code_was_run").exists()
