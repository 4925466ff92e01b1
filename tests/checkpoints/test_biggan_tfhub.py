import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

import orthogen as og
from hub_nets import LAYERS, SMALL, config, hub_state, latents
from orthogen.checkpoints import biggan_tfhub
from orthogen.models.biggan_deep import BigGanDeep
from vectors import vectors


@pytest.fixture(scope="module")
def golden():
    return vectors("biggan_tfhub")


@pytest.fixture(scope="module")
def state(golden):
    return hub_state(golden["names"])


def write(folder: Path, state, settings=SMALL, **how) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin", **how)
    if settings is not None:
        (folder / "config.json").write_text(json.dumps(settings, indent=2))
    return folder


# ---------------------------------------------------------------------------------------------- the released network
@pytest.mark.parametrize("truncation", [0.5, 0.41])
@torch.no_grad()
def test_images_equal_the_golden_file(tmp_path, golden, state, truncation):
    G = og.load(write(tmp_path, state, _use_new_zipfile_serialization=False), truncation=truncation)
    z, label = latents()
    images = G(z, label=label)
    assert images.shape == (2, 3, 64, 64)
    expected = torch.from_numpy(golden[f"images_{truncation}"])
    torch.testing.assert_close(images[:, :, 3::8, 3::8], expected, rtol=0, atol=1e-5)
    assert (G.classes, G.latent.dim, G.latent.span) == (10, 6, (-2 * truncation, 2 * truncation))
    assert not any(name.endswith(("u0", "weight_u")) for name in G.module.state_dict())  # folded
    assert {"blocks.0.0.bn4.gain", "blocks.3.1.theta", "output_layer.2"} <= set(G.layers)


def test_the_network_is_read_off_the_shapes(tmp_path, state):
    loaded = biggan_tfhub.load(write(tmp_path, state, None))
    assert loaded.model == BigGanDeep(
        resolution=64, classes=10, dim=6, shared_dim=6, width=4, generator_levels=(16, 8, 4, 2, 1),
        critic_levels=(1, 2, 4, 8, 16), attention=(16,), critic_attention=(), spectral=False, recorded=51,
        truncation=1.0,
    )  # fmt: skip
    assert loaded.format == "BigGAN-deep of TFHub, by Hugging Face's names"


@torch.no_grad()
def test_file_folder_and_names_with_a_prefix_are_found(tmp_path, state):
    folder = write(tmp_path / "a", state, {**SMALL, "eps": 1e-2})
    (tmp_path / "biggan-deep-64-pytorch_model.bin").write_bytes((folder / "pytorch_model.bin").read_bytes())
    (tmp_path / "biggan-deep-64-config.json").write_bytes((folder / "config.json").read_bytes())
    z, label = latents()
    one, two, three = (
        og.load(path)(z, label=label)
        for path in (folder, folder / "pytorch_model.bin", tmp_path / "biggan-deep-64-pytorch_model.bin")
    )
    assert torch.equal(one, two)
    assert torch.equal(one, three)
    (folder / "config.json").unlink()
    assert not torch.equal(one, og.load(folder / "pytorch_model.bin")(z, label=label))  # an eps of 1e-4
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert not biggan_tfhub.recognizes(folder)


@torch.no_grad()
def test_a_file_of_ours_keeps_the_statistics_of_all_truncations(tmp_path, state):
    folder = write(tmp_path / "theirs", state)
    z, label = latents()
    assert og.checkpoints.convert(folder, tmp_path / "ours.safetensors").equal
    for truncation in (0.3, 1.0):
        theirs, ours = (og.load(p, truncation=truncation) for p in (folder, tmp_path / "ours.safetensors"))
        assert torch.equal(ours(z, label=label), theirs(z, label=label))
        assert ours.latent == theirs.latent


# ---------------------------------------------------------------------------------------------- the original as oracle
@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("pytorch_pretrained_biggan")


def original(hub, settings):
    net = hub.BigGAN(hub.BigGANConfig.from_dict(settings)).eval()
    net.load_state_dict(hub_state(f"{name} {tuple(value.shape)}" for name, value in net.state_dict().items()))
    return net


def test_the_golden_names_are_those_of_the_original(hub, golden):
    net = hub.BigGAN(hub.BigGANConfig.from_dict(SMALL))
    assert [f"{name} {tuple(value.shape)}" for name, value in net.state_dict().items()] == golden["names"].tolist()


@pytest.mark.parametrize("resolution", LAYERS)
@torch.no_grad()
def test_images_equal_those_of_the_original(tmp_path, hub, resolution):
    net = original(hub, config(resolution))
    G = og.load(write(tmp_path, net.state_dict(), config(resolution)), truncation=0.7)
    z, label = latents()
    torch.testing.assert_close(G(z, label=label), net(z, torch.eye(10)[label], 0.7), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (0.02, 0.02), (1.0, 1.0), (0.99, 0.99),  # recorded, or midway
        (0.405, 0.415), (0.418, 0.402),  # in between, where the original weighs the farther one more
        (0.16, 0.14), (0.56, 0.58),  # where it takes the next one, or the one before: 50 times 0.58 is rounded
    ],
)  # fmt: skip
@torch.no_grad()
def test_the_truncation_picks_statistics(tmp_path, hub, ours, theirs):
    net = original(hub, SMALL)
    z, label = latents()
    images = og.load(write(tmp_path, net.state_dict()), truncation=ours)(z, label=label)
    torch.testing.assert_close(images, net(z, torch.eye(10)[label], theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("resolution", LAYERS)
def test_ours_has_as_many_parameters_as_the_original(hub, resolution):
    width = 128
    with torch.device("meta"):
        theirs = hub.BigGAN(hub.BigGANConfig.from_dict({**config(resolution), "channel_width": width, "z_dim": 128}))
        ours = BigGanDeep(resolution=resolution, classes=10).build()["generator"]
    unseen = (width - 3) * (9 * width + 1)  # channels of its last convolution, of which three are an image
    count = [sum(p.numel() for p in net.parameters()) for net in (ours, theirs)]
    assert count[0] == count[1] - unseen


# ---------------------------------------------------------------------------------------------- broken or hostile files
class Malice:
    def __reduce__(self):
        return os.system, ("touch code_was_run",)


def change(**tensors):
    def apply(folder, state):
        changed = {name: value for name, value in (state | tensors).items() if value is not None}
        torch.save(changed, folder / "pytorch_model.bin")

    return apply


def settings(text):
    return lambda folder, state: (folder / "config.json").write_text(text)


def cut(folder, state):
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def compressed(folder, state):
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**24))


MARK = '"channel_width": 4'
BROKEN = {
    "cut short": (cut, r"pytorch_model.bin is a damaged zip file"),
    "compressed": (compressed, r"pytorch_model.bin holds 'archive/data.pkl' compressed"),
    "runs code": (
        lambda f, s: torch.save({"embeddings.weight": Malice()}, f / "pytorch_model.bin"),
        r"pytorch_model.bin names '(posix|nt).system'",
    ),
    "a list": (lambda f, s: torch.save([1], f / "pytorch_model.bin"), r"holds a list; a BigGAN of TFHub is a dict"),
    "another network": (
        lambda f, s: torch.save({"bert.weight": torch.zeros(1)}, f / "pytorch_model.bin"),
        r"lacks generator.layers.0, which a BigGAN of TFHub has",
    ),
    "no classes": (change(**{"embeddings.weight": None}), r"lacks embeddings.weight, which a BigGAN of TFHub has"),
    "half a spectral norm": (
        change(**{"generator.layers.0.conv_1.weight_v": None}),
        r"lacks generator.layers.0.conv_1.weight_v, which a spectral norm has",
    ),
    "a short vector": (
        change(**{"generator.layers.0.conv_1.weight_u": torch.ones(3)}),
        r"has generator.layers.0.conv_1.weight_u of 3 numbers; beside its generator.layers.0.conv_1.weight_orig it "
        r"needs 16",
    ),
    "a hole": (
        change(**{"generator.layers.2.bn_1.offset.weight_orig": None}),
        r"lacks blocks.2.0.bn2.bias.weight, of shape \(8, 12\), which its BigGanDeep has",
    ),
    "statistics of fewer truncations": (
        change(**{"generator.layers.2.bn_1.running_vars": torch.ones(50, 8)}),
        r"has blocks.2.0.bn2.stored_var of shape \(50, 8\); its BigGanDeep needs \(51, 8\)",
    ),
    "one truncation": (change(**{"generator.bn.running_means": torch.ones(1, 4)}), r"is no BigGanDeep that can be bui"),
    "rows of no image": (
        change(**{"generator.gen_z.bias": torch.ones(1000)}),
        r"has generator.gen_z.bias of shape \(1000,\); its rows are those of 16 pixels",
    ),
    "a flat table": (
        change(
            **dict.fromkeys(f"generator.layers.0.bn_0.scale.weight_{part}" for part in ("orig", "u", "v")),
            **{"generator.layers.0.bn_0.scale.weight": torch.ones(3)},
        ),
        r"has blocks.0.0.bn1.gain.weight of shape \(3,\); its BigGanDeep needs \(64, 12\)",
    ),
    "numbers for tensors": (
        change(**{"generator.conv_to_rgb.bias": torch.tensor(1.0), "generator.gen_z.bias": torch.tensor(1.0)}),
        r"has generator.gen_z.bias of shape \(\); its rows are those of 16 pixels",
    ),
    "a number for a tensor": (
        change(**{"generator.conv_to_rgb.bias": torch.tensor(1.0)}),
        r"has output_layer.2.bias of shape \(\); its BigGanDeep needs \(3,\)",
    ),
    "a layer too many": (
        change(**{"generator.layers.12.gamma": torch.ones(1)}),
        r"lacks generator.layers.9, which a BigGAN of TFHub has",
    ),
    "attention in between": (
        change(**{"generator.layers.3.gamma": torch.ones(1)}),
        r"has its attention, layer 3, not behind a layer that doubles the side",
    ),
    "a tensor too many": (change(**{"critic.weight": torch.ones(1)}), r"has 'critic.weight', which a BigGAN of TFHub"),
    "a strange part": (
        change(**{"generator.layers.0.bn_0.extra": torch.ones(1)}),
        r"has 'blocks.0.0.bn1.extra', which its BigGanDeep does not have",
    ),
    "settings that are none": (settings(f"{{{MARK}, "), r"config.json is no configuration of a BigGAN of TFHub"),
    "settings without end": (settings(f"{{{MARK}" + " " * 70_000 + "}"), r"config.json is no configuration of a"),
    "settings in settings": (settings(f'{{{MARK}, "a": {"[" * 9_999}'), r"config.json is no configuration of a BigGAN"),
    "layers that are none": (settings(f'{{{MARK}, "layers": [1]}}'), r"config.json is no configuration of a BigGAN"),
    "layers in another order": (
        settings(json.dumps({**SMALL, "layers": [[True, 16, 8], [True, 8, 4]]})),
        r"config.json has layers of which not every second one doubles the side",
    ),
    "a strange eps": (settings(f'{{{MARK}, "eps": -1}}'), r"config.json has eps=-1.0; a number such as 1e-4 is one"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_in_one_line(tmp_path, monkeypatch, state, name):
    monkeypatch.chdir(tmp_path)
    hurt, message = BROKEN[name]
    folder = write(tmp_path / "weights", state)
    hurt(folder, state)
    with pytest.raises(ValueError, match=message) as error:
        og.load(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    assert not Path("code_was_run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"truncation": 1.2}, r"truncation=1.2\): its statistics are recorded for truncations up to 1"),
        ({"truncation": 0.0}, r"truncation=0.0\): give a positive factor, or None for none"),
        ({"space": "w"}, r"holds a BigGanDeep, which has no setting 'space'"),
    ],
)
def test_settings_that_it_does_not_take(tmp_path, state, given, message):
    with pytest.raises(ValueError, match=message):
        og.load(write(tmp_path, state), **given)
