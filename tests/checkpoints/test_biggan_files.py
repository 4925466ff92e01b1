import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.checkpoints import biggan
from orthogen.models.biggan import BigGan
from orthogen.models.biggan_deep import BigGanDeep

SMALL = BigGan(resolution=32, classes=10, dim=12, shared_dim=6, width=2, attention=(16,))
DEEP = BigGanDeep(resolution=32, classes=10, dim=12, shared_dim=6, width=2, attention=(16,), eps=1e-5)
CONFIG = {  # the settings of the direction searches, as far as they are known
    "model": "BigGAN", "G_ch": 2, "dim_z": 12, "shared_dim": 6, "hier": True, "G_shared": True, "G_attn": "16",
    "G_nl": "inplace_relu", "SN_eps": 1e-6, "BN_eps": 1e-5, "norm_style": "bn", "G_param": "SN", "n_classes": 10,
    "resolution": 32, "G_activation": nn.ReLU(inplace=True), "D_activation": nn.ReLU(),
}  # fmt: skip
PROGRESS = {"itr": 137_500, "epoch": 30, "save_num": 0, "save_best_num": 1, "best_IS": 91.5, "best_FID": 9.77}
LABEL = torch.tensor([3, 9])


def trained(model=SMALL, seed=0):
    """A generator whose spectral norms and running statistics have moved."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = model.build()["generator"]
        with torch.no_grad():
            for block in net.blocks:
                for attention in list(block)[1:]:
                    attention.gamma.fill_(0.7)
            for _ in range(3):
                net(torch.randn(8, model.dim), torch.randint(model.classes, (8,)))
    return net.eval()


def write(folder: Path, net: nn.Module, config=CONFIG, raw=None, *, old_format=False) -> Path:
    folder.mkdir(exist_ok=True)
    how = {"_use_new_zipfile_serialization": not old_format}
    torch.save(net.state_dict(), folder / "G_ema.pth", **how)
    if raw is not None:
        torch.save(raw.state_dict(), folder / "G.pth", **how)
    if config is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old format wants the source code of modules, and may not get it
            torch.save({**PROGRESS, "config": config}, folder / "state_dict.pth", **how)
    return folder


def latents(model=SMALL):
    return torch.randn(2, model.dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("old_format", [False, True])
@torch.no_grad()
def test_a_folder_gives_the_generator_to_the_bit(tmp_path, old_format):
    net = trained()
    G = og.load(write(tmp_path, net, old_format=old_format))
    assert torch.equal(G(latents(), label=LABEL), net(latents(), LABEL))
    assert not G.module.training
    assert G.latent == SMALL.latent
    assert {"blocks.0.0.bn1.gain", "blocks.1.1.theta", "output_layer.2"} <= set(G.layers)
    assert G.classes == 10
    assert not any("u0" in name or "sv0" in name for name in G.module.state_dict())  # folded
    assert torch.equal(og.load(tmp_path / "G_ema.pth")(latents(), label=LABEL), net(latents(), LABEL))


@pytest.mark.parametrize("old_format", [False, True])
@torch.no_grad()
def test_a_folder_of_biggan_deep_gives_the_generator_to_the_bit(tmp_path, old_format):
    net = trained(DEEP)
    config = {**CONFIG, "model": "BigGANdeep", "G_depth": 2}
    folder = write(tmp_path, net, config, old_format=old_format)
    loaded = biggan.load(folder)
    assert loaded.model == replace(
        DEEP, width=8, generator_levels=(1, 1, 1, 1), critic_levels=(1, 1, 1, 1), critic_attention=(), spectral=False
    )
    assert torch.equal(loaded.generator(latents(), label=LABEL), net(latents(), LABEL))
    assert {"blocks.0.0.bn4.gain", "blocks.3.1.theta"} <= set(loaded.generator.layers)
    assert og.load(folder, truncation=0.4).latent.span == (-0.8, 0.8)


MODELS = {
    "no attention": replace(SMALL, attention=()),
    "not hierarchical": replace(SMALL, hierarchical=False),
    "gray": replace(SMALL, channels=1),
    "64 pixels": replace(SMALL, resolution=64, dim=10, width=1, attention=(8, 32)),
    "levels of its own": BigGan(
        resolution=16, classes=10, dim=6, shared_dim=6, width=1, attention=(8,), critic_attention=(),
        generator_levels=(3, 2, 5), critic_levels=(1,),
    ),
    "no spectral norm": replace(SMALL, spectral=False),
    "deep": DEEP,
    "deep, without attention": replace(
        DEEP, resolution=16, attention=(), generator_levels=(4, 4, 2), critic_levels=(1,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_network_is_read_off_the_shapes(tmp_path, name):
    model = MODELS[name]
    net = trained(model)
    G = og.load(write(tmp_path, net, config=None))
    assert torch.equal(G(latents(model), label=LABEL), net(latents(model), LABEL))
    assert G.latent == model.latent


@torch.no_grad()
def test_raw_weights_half_precision_and_settings(tmp_path):
    net, raw = trained(seed=0), trained(seed=1)
    folder = write(tmp_path / "a", net, {**CONFIG, "BN_eps": 1e-2}, raw=raw.half())
    half = raw.float()
    for norm in [part for part in half.modules() if hasattr(part, "stored_mean")]:
        norm.eps = 1e-2
    torch.testing.assert_close(og.load(folder, ema=False)(latents(), label=LABEL), half(latents(), LABEL))
    assert og.load(folder, truncation=0.5).latent.span == (-0.5, 0.5)
    with pytest.raises(ValueError, match=r"holds a BigGan, which has no setting 'space'"):
        og.load(folder, space="w")
    with pytest.raises(ValueError, match=r"says itself what network it holds; leave model=SimpleGan"):
        og.load(folder, model=og.SimpleGan())
    (folder / "G.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no G.pth; it holds G_ema.pth: load it with ema=True"):
        og.load(folder, ema=False)


@pytest.mark.parametrize("model", [SMALL, DEEP], ids=["BigGan", "BigGanDeep"])
def test_it_can_be_written_to_a_file_of_ours(tmp_path, model):
    source = write(tmp_path / "theirs", trained(model), config=None)
    written = og.checkpoints.convert(source, tmp_path / "ours.safetensors")
    assert written.equal
    assert torch.equal(og.load(written.path)(latents(), label=LABEL), og.load(source)(latents(), label=LABEL))


def test_loading_leaves_the_global_random_state_alone(tmp_path):
    folder = write(tmp_path, trained())
    before = torch.get_rng_state()
    og.load(folder)
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------------------- broken or hostile files
class Malice:
    def __reduce__(self):
        return os.system, ("touch code_was_run",)


class Odd:
    def __reduce__(self):
        return nn.ReLU, (True,)


class Pickler(pickle.Pickler):
    """Of the old format: classes of modules go into persistent ids, beside their source code."""

    met = False

    def persistent_id(self, obj):
        if self.met or obj not in (os.system, 7):
            return None
        self.met = True
        return "module", obj, "nn.py", "class ReLU: ..."


def disguised(obj):
    """Settings of the old format with an object where the class of a module belongs."""

    def apply(folder):
        with (folder / "state_dict.pth").open("wb") as file:
            for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                pickle.dump(part, file, 2)
            Pickler(file, 2).dump({"config": {**PROGRESS, "G_activation": obj}})
            pickle.dump([], file, 2)

    return apply


def cut(folder):
    file = folder / "G_ema.pth"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def change(folder, **tensors):
    state = torch.load(folder / "G_ema.pth")
    for name, value in tensors.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    torch.save(state, folder / "G_ema.pth")


def settings(folder, **changes):
    torch.save({**PROGRESS, "config": {**CONFIG, **changes}}, folder / "state_dict.pth")


def bomb(folder):
    """The weights again, compressed, beside 64 MB of zeros."""
    with zipfile.ZipFile(folder / "G_ema.pth") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    key = next(name for name in entries if name.endswith("data/0"))
    with zipfile.ZipFile(folder / "G_ema.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (entries | {key: bytes(2**26)}).items():
            archive.writestr(name, content)


BROKEN = {
    "cut short": (cut, r"G_ema.pth is a damaged zip file"),
    "empty": (lambda f: (f / "G_ema.pth").write_bytes(b""), r"G_ema.pth is empty"),
    "no pickle": (lambda f: (f / "G_ema.pth").write_bytes(b"<html>404</html>"), r"G_ema.pth "),
    "runs code": (lambda f: torch.save(Malice(), f / "G_ema.pth"), r"G_ema.pth names '(posix|nt).system'"),
    "runs code among the settings": (
        lambda f: torch.save({"config": Malice()}, f / "state_dict.pth"),
        r"state_dict.pth names '(posix|nt).system'.*; the weights load without that file, with a BN_eps of 1e-5",
    ),
    "a plain pickle that runs code": (
        lambda f: (f / "G_ema.pth").write_bytes(pickle.dumps(Malice())),
        r"G_ema.pth .*(names '(posix|nt).system'|torch.save)",
    ),
    "compressed": (bomb, r"G_ema.pth holds '.*' compressed, which torch.save does not do"),
    "a list": (lambda f: torch.save([1], f / "G_ema.pth"), r"holds a list; a BigGAN is a dictionary of tensors"),
    "a number": (lambda f: change(f, itr=3), r"has 'itr' of type int; a BigGAN holds named tensors of floats"),
    "integers": (
        lambda f: change(f, **{"linear.bias": torch.zeros(128, dtype=torch.long)}),
        r"has 'linear.bias' of type torch.int64",
    ),
    "another network": (lambda f: torch.save(nn.Linear(1, 1).state_dict(), f / "G_ema.pth"), r"lacks shared.weight"),
    "no first layer": (lambda f: change(f, **{"linear.weight": None}), r"lacks linear.weight"),
    "no statistics": (
        lambda f: change(f, **{"blocks.1.0.bn2.stored_var": None}),
        r"lacks blocks.1.0.bn2.stored_var, of shape \(8,\), which its BigGan has",
    ),
    "a hole": (lambda f: change(f, **{"blocks.2.0.conv1.weight": None}), r"lacks blocks.2.0.conv1.weight"),
    "no blocks": (
        lambda f: torch.save({n: torch.zeros(16, 16) for n in ("shared.weight", "linear.weight")}, f / "G_ema.pth"),
        r"lacks output_layer.2.weight",
    ),
    "a wrong shape": (
        lambda f: change(f, **{"blocks.1.0.conv2.weight": torch.zeros(8, 8, 1, 1)}),
        r"has blocks.1.0.conv2.weight of shape \(8, 8, 1, 1\); its BigGan needs \(8, 8, 3, 3\)",
    ),
    "a flat weight": (
        lambda f: change(f, **{"shared.weight": torch.zeros(60)}),
        r"has shared.weight of shape \(60,\); 2 dimensions are needed",
    ),
    "no classes": (
        lambda f: change(f, **{"shared.weight": torch.zeros(0, 6)}),
        r"has shared.weight of shape \(0, 6\), which holds nothing",
    ),
    "a tensor too many": (
        lambda f: change(f, **{"blocks.1.0.conv3.weight": torch.zeros(1)}),
        r"has 'blocks.1.0.conv3.weight', which its BigGan does not have",
    ),
    "another model": (
        lambda f: settings(f, model="BigGANtiny"),
        r"state_dict.pth has model='BigGANtiny'; BigGANs with model=BigGAN or BigGANdeep are read",
    ),
    "another module among the settings": (
        lambda f: settings(f, G_activation=nn.Linear(1, 1)),
        r"state_dict.pth names 'torch.nn.modules.linear.Linear', which is not among what such a file needs",
    ),
    "a module with arguments": (
        lambda f: settings(f, G_activation=Odd()),
        r"state_dict.pth calls torch.nn.modules.activation.ReLU with other arguments than it takes",
    ),
    "a command in the place of a module": (disguised(os.system), r"state_dict.pth names '(posix|nt).system'"),
    "a number in the place of a module": (disguised(7), r"state_dict.pth refers to something that is no storage: a tu"),
    "a module among the weights": (
        lambda f: change(f, **{"linear.bias": nn.ReLU()}),
        r"G_ema.pth names 'torch.nn.modules.activation.ReLU', which is not among what such a file needs",
    ),
    "a strange depth": (lambda f: settings(f, G_depth=0), r"state_dict.pth has G_depth='0'; a number such as 2 is one"),
    "without end": (
        lambda f: torch.save(
            torch.load(f / "G_ema.pth")
            | {f"blocks.{i}.0.conv1.weight": torch.zeros(8, 8, 3, 3) for i in range(11)}, f / "G_ema.pth"
        ),
        r"G_ema.pth doubles the side 11 times; 10 times are read",
    ),
    "another activation": (lambda f: settings(f, G_nl="ir"), r"has G_nl=.ir.; BigGANs with G_nl=relu or inplace_relu"),
    "no settings": (lambda f: torch.save(PROGRESS, f / "state_dict.pth"), r"state_dict.pth lacks 'config'"),
    "a strange setting": (lambda f: settings(f, BN_eps="small"), r"state_dict.pth has BN_eps='small'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    hurt, message = BROKEN[name]
    folder = write(tmp_path / "weights", trained())
    hurt(folder)
    with pytest.raises(ValueError, match=message) as error:
        og.load(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    assert not Path("code_was_run").exists()


def test_a_file_that_promises_more_than_it_holds_costs_no_memory(tmp_path):
    folder = write(tmp_path / "weights", trained())
    file = folder / "G_ema.pth"
    state = {"promise": torch.zeros(1009)} | torch.load(file)
    torch.save(state, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    small, large = (pickle.dumps(n, 2)[2:-1] for n in (1009, 2**36))
    assert content.count(small) >= 2  # the length of the storage, then the shape of the tensor
    file.write_bytes(content.replace(small, large, 1))
    code = f"""if True:
        import resource, orthogen
        import orthogen.checkpoints.biggan
        from pathlib import Path
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            orthogen.checkpoints.biggan.load(Path({str(folder)!r}))
        except ValueError as error:
            assert "asks for far more memory than its size: a storage" in str(error)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 50_000  # kilobytes
