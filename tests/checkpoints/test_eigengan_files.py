from argparse import Namespace
from pathlib import Path

import pytest
import torch

import orthogen as og
from eigen_nets import golden_eigengan, state_of
from orthogen.checkpoints import eigengan


@pytest.fixture(scope="module")
def golden():
    return golden_eigengan()


@pytest.fixture(scope="module")
def state(golden):
    return state_of(golden, "G.")


def training_checkpoint(golden, state):
    """What a training script saves: networks beside their optimizers and settings."""
    return {
        "step": 500_000,
        "args": Namespace(size=16, n_basis=3, path="images"),
        "g": {name: value + 1 for name, value in state.items()},
        "d": state_of(golden, "D."),
        "g_ema": state,
        "g_optim": {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"betas": (0.5, 0.99)}]},
    }


@pytest.mark.parametrize("zipped", [True, False])
@torch.no_grad()
def test_a_state_dict_gives_the_golden_images(tmp_path, golden, state, zipped):
    file = tmp_path / "ema.pt"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    G = og.load(file)
    torch.testing.assert_close(G(golden["z"])[:2], golden["images"], rtol=1e-5, atol=1e-6)
    assert list(G.latent.slices) == ["epsilon", "layer0", "layer1"]
    assert (G.latent.dim, G.module.training) == (14, False)
    assert og.EigenGan.directions(G.module).names[0] == "layer 0, dim 0"
    assert torch.equal(og.load(file, ema=False)(golden["z"]), G(golden["z"]))  # there is one set of weights


@torch.no_grad()
def test_a_training_checkpoint_gives_either_set_of_weights(tmp_path, golden, state):
    file = tmp_path / "ckpt_500000.pt"
    torch.save(training_checkpoint(golden, state), file)
    G = og.load(file)
    torch.testing.assert_close(G(golden["z"])[:2], golden["images"], rtol=1e-5, atol=1e-6)
    assert torch.equal(og.load(file, ema=False).module.fc.bias, state["fc.bias"] + 1)
    assert og.checkpoints.convert(file, tmp_path / "ours.safetensors").equal


MODELS = {
    "one layer": og.EigenGan(resolution=8, n_basis=2, noise_dim=3, base_channels=2, max_channels=4),
    "gray": og.EigenGan(resolution=32, channels=1, n_basis=5, noise_dim=4, base_channels=2, max_channels=5),
    "not at the most channels": og.EigenGan(resolution=16, noise_dim=4, base_channels=1, max_channels=512),
}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_network_is_read_off_the_shapes_to_the_bit(tmp_path, name):
    model = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = model.build()["generator"].eval()
    torch.save({"generator_ema": net.state_dict()}, tmp_path / "file.pt")
    before = torch.get_rng_state()
    loaded = eigengan.load(tmp_path / "file.pt")
    assert torch.equal(torch.get_rng_state(), before)
    z = model.latent.sample(3, rng=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.generator(z), net(z))
    assert (loaded.model.resolution, loaded.model.latent) == (model.resolution, model.latent)
    assert loaded.format == "EigenGAN"


def test_other_files_are_not_recognized(tmp_path, golden):
    torch.save(state_of(golden, "D."), tmp_path / "critic.pt")
    assert not eigengan.recognizes(tmp_path / "critic.pt")
    assert not eigengan.recognizes(tmp_path)
    with pytest.raises(ValueError, match="is damaged or nothing that load knows"):
        og.load(tmp_path / "critic.pt")


BROKEN = {
    "a hole": (
        lambda state: {name: value for name, value in state.items() if name != "blocks.1.projection.mu"},
        r"lacks blocks.1.projection.mu, of shape \(512,\), which its EigenGan has",
    ),
    "a wrong shape": (
        lambda state: state | {"blocks.1.projection.L": torch.zeros(4)},
        r"has blocks.1.projection.L of shape \(4,\); its EigenGan needs \(3,\)",
    ),
    "a flat basis": (
        lambda state: state | {"blocks.0.projection.U": torch.zeros(8)},
        r"has blocks.0.projection.U of shape \(8,\); 2 dimensions are needed",
    ),
    "no noise": (lambda state: state | {"fc.weight": torch.zeros(128, 0)}, r"of shape \(128, 0\), which holds nothing"),
    "more channels at full size than at 4 pixels": (
        lambda state: state | {"fc.weight": torch.zeros(16, 8)},
        r"is of no EigenGAN's generator: EigenGan\(base_channels=4, max_channels=1\): the most channels",
    ),
    "a tensor too many": (lambda state: state | {"w": torch.zeros(1)}, r"has 'w', which its EigenGan does not have"),
    "layers without end": (
        lambda state: state | {f"blocks.{i}.projection.U": torch.zeros(3, 4) for i in range(20)},
        r"has 20 layers; an EigenGAN's generator has 1 \(8 pixels\) to 10 \(4096\)",
    ),
    "a number": (
        lambda state: state | {"step": 3},
        r"has 'step' of type int; an EigenGAN's generator holds named tens",
    ),
    "no average": (
        lambda state: {"g": state, "step": 1},
        r"has no averaged weights of a generator; load it with ema=False",
    ),
    "two averages": (
        lambda state: {"g_ema": state, "ema_of_ema": state},
        r"has 2 generators, 'g_ema', 'ema_of_ema'; save one of them alone",
    ),
    "weights in a list": (
        lambda state: {"models": [state]},
        r"has no dictionary with blocks.0.projection.U, which an EigenGAN's generator has",
    ),
    "a list": (lambda state: [state], r"holds a list; an EigenGAN's generator is a dictionary of tensors"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_in_one_line(tmp_path, state, name):
    change, message = BROKEN[name]
    file = tmp_path / "file.pt"
    torch.save(change(state), file)
    with pytest.raises(ValueError, match=message) as error:
        og.load(file)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_the_average_alone_has_no_other_weights(tmp_path, state):
    torch.save({"g_ema": state}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=r"has no weights of a generator but averaged ones; load it with ema=True"):
        og.load(tmp_path / "file.pt", ema=False)
    with pytest.raises(ValueError, match=r"holds a EigenGan, which has no setting 'truncation'"):
        og.load(tmp_path / "file.pt", truncation=0.7)


def test_a_command_is_refused(tmp_path, state, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Malice:
        def __reduce__(self):
            return exec, ("open('code_was_run', 'w')",)

    torch.save({"g_ema": state, "args": Malice()}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=r"file.pt names '(builtins|__builtin__).exec'"):
        og.load(tmp_path / "file.pt")
    assert not Path("code_was_run").exists()
