from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen.checkpoints import simple_gan
from vectors import vectors


@pytest.fixture(scope="module")
def golden():
    return vectors("simplegan_nets")


@pytest.fixture(scope="module")
def state(golden):
    """The golden file's weights: parameter i is 0.05 sin(0.1 j + i) over its flat index j, plus 1 in norms' weights."""
    found = {}
    for i, line in enumerate(golden["names_g"].tolist()):
        name, shape = line.split(" ", 1)
        size = [int(side) for side in shape.strip("()").split(",") if side.strip()]
        values = 0.05 * torch.sin(0.1 * torch.arange(torch.Size(size).numel(), dtype=torch.float64) + i)
        found[name] = (values + name.endswith("instancenorm.weight")).float().view(size)
    return found


@pytest.mark.parametrize("file", ["latest_netG.pth", "5_netG.pth"])
@torch.no_grad()
def test_images_equal_the_golden_file(tmp_path, golden, state, file):
    torch.save(state, tmp_path / file, _use_new_zipfile_serialization=file.startswith("latest"))
    G = og.load(tmp_path / file)
    torch.testing.assert_close(
        G(torch.from_numpy(golden["z"])), torch.from_numpy(golden["gen64"]), rtol=1e-4, atol=1e-5
    )
    assert (G.latent, G.classes) == (og.Normal(6), 0)
    assert not G.module.training


MODELS = {
    "dSprites": og.SimpleGan(width=0.05),
    "CelebA": og.SimpleGan(og.Normal(30), channels=3, resolution=128, width=0.02),
    "8 pixels": og.SimpleGan(og.Normal(4), channels=3, resolution=8, generator_channels=(5, 3)),
}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_network_is_read_off_the_shapes_to_the_bit(tmp_path, name):
    model = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = model.build()["generator"].eval()
    torch.save(net.state_dict(), tmp_path / "latest_netG.pth")
    before = torch.get_rng_state()
    loaded = simple_gan.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    z = model.latent.sample(3, rng=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.generator(z), net(z))
    assert (loaded.model.resolution, loaded.model.channels) == (model.resolution, model.channels)
    uniform = og.load(tmp_path, latent=og.Uniform(model.latent.dim, -2.0, 2.0))
    assert uniform.latent.span == (-2.0, 2.0)
    assert og.checkpoints.convert(tmp_path / "latest_netG.pth", tmp_path / "ours.safetensors").equal


CONV = "layers.{}.layers.conv.weight"
BROKEN = {
    "a number": ({"epoch": 3}, r"has 'epoch' of type int; a simple GAN's generator holds named tensors of floats"),
    "a hole": ({CONV.format(2): None}, r"lacks layers.5.layers.conv.weight|lacks layers.2.layers.conv.weight"),
    "no norm": (
        {"layers.1.layers.instancenorm.weight": None},
        r"lacks layers.1.layers.instancenorm.weight, of shape \(256,\), which its SimpleGan has",
    ),
    "a wrong shape": (
        {CONV.format(3): torch.zeros(128, 64, 3, 3)},
        r"has layers.3.layers.conv.weight of shape \(128, 64, 3, 3\); its SimpleGan needs \(128, 64, 4, 4\)",
    ),
    "a flat weight": ({CONV.format(0): torch.zeros(6)}, r"has layers.0.layers.conv.weight of shape \(6,\); 4 dimensi"),
    "no latent": ({CONV.format(0): torch.zeros(0, 512, 4, 4)}, r"of shape \(0, 512, 4, 4\), which holds nothing"),
    "a tensor too many": ({"encoder.weight": torch.zeros(1)}, r"has 'encoder.weight', which its SimpleGan does not"),
    "layers without end": (
        {CONV.format(i): torch.zeros(4, 4, 4, 4) for i in range(20)},
        r"has 20 layers; a simple GAN's generator has 3 \(8 pixels\) to 12 \(4096\)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_in_one_line(tmp_path, state, name):
    changes, message = BROKEN[name]
    file = tmp_path / "latest_netG.pth"
    torch.save({name: value for name, value in (state | changes).items() if value is not None}, file)
    with pytest.raises(ValueError, match=message) as error:
        og.load(file)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_another_network_or_command_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Malice:
        def __reduce__(self):
            return exec, ("open('code_was_run', 'w')",)

    file = tmp_path / "latest_netG.pth"
    for content, message in (
        (Malice(), r"latest_netG.pth names '(builtins|__builtin__).exec'"),
        (torch.nn.Linear(1, 1).state_dict(), r"lacks layers.0.layers.conv.weight, which a simple GAN's generator has"),
        ([1], r"holds a list; a simple GAN's generator is a dictionary of tensors"),
    ):
        torch.save(content, file)
        with pytest.raises(ValueError, match=message):
            og.load(file)
    assert not Path("code_was_run").exists()
