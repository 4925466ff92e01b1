import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import orthogen as og
from orthogen.checkpoints import load, open_run, save_generator
from orthogen.core import catalogue
from orthogen.models.simple_gan import SimpleGan
from tiny_gan import TinyGan, recipe

MODEL = SimpleGan(og.Normal(3), channels=1, resolution=8, width=0.02)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> og.checkpoints.Run:
    return og.train(recipe(model=MODEL, images=80), tmp_path_factory.mktemp("runs") / "run", quiet=True)


def weights(module: nn.Module) -> list[torch.Tensor]:
    return list(module.state_dict().values())


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_a_run_gives_its_newest_averaged_generator(run: og.checkpoints.Run) -> None:
    G = og.load(run.folder)
    newest = run.checkpoints[-1]
    assert not G.module.training
    assert G.latent == MODEL.latent
    assert G(torch.zeros(2, 3)).shape == (2, 1, 8, 8)
    averaged = newest.generator_tensors()
    assert all(torch.equal(x, averaged[name]) for name, x in G.module.state_dict().items())
    assert same(og.load(newest.path).module, G.module)
    assert not same(og.load(run.checkpoints[0].path).module, G.module)


def test_the_raw_weights_are_there_too(run: og.checkpoints.Run) -> None:
    raw = og.load(run.folder, ema=False)
    kept = run.checkpoints[-1].tensors("network/generator/")
    assert all(torch.equal(x, kept[name]) for name, x in raw.module.state_dict().items())
    assert not same(raw.module, og.load(run.folder).module)


def test_the_generator_file_can_be_copied_away(run: og.checkpoints.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(run.checkpoints[-1].generator.read_bytes())
    assert same(og.load(copy).module, og.load(run.folder).module)
    with pytest.raises(ValueError, match="holds averaged weights only; the others are in the checkpoint folder"):
        og.load(copy, ema=False)


def test_loading_leaves_the_global_random_state_alone(run: og.checkpoints.Run) -> None:
    before = torch.get_rng_state()
    og.load(run.folder)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_saved_generator_comes_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    module = MODEL.build()["generator"].to(dtype)
    path = tmp_path / "sub" / "g.safetensors"
    save_generator(path, MODEL, module)
    kept = load_file(path)
    assert kept.keys() == module.state_dict().keys()
    assert all(torch.equal(kept[name], x) for name, x in module.state_dict().items())
    assert same(load(path, ema=False).module, module.float())


@dataclass(frozen=True)
class Tied(TinyGan):
    """Two layers share their weight."""

    def build(self) -> dict[str, nn.Module]:
        built = super().build()
        generator = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), built["generator"])
        generator[1].weight = generator[0].weight
        return {**built, "generator": generator}


def test_tied_weights_are_saved_and_stay_tied(tmp_path: Path) -> None:
    run = og.train(recipe(model=Tied(), images=80), tmp_path, quiet=True)
    G = og.load(tmp_path, model=Tied())
    assert G.module[0].weight is G.module[1].weight
    assert torch.equal(G.module[0].weight, run.checkpoints[-1].generator_tensors()["1.weight"])
    assert og.train(recipe(model=Tied(), images=80), tmp_path, quiet=True).finished


def test_a_model_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "my_gan.py"
    file.write_text(
        "from dataclasses import dataclass, replace\nimport tiny_gan\n\n"
        "@dataclass(frozen=True)\nclass MyGan(tiny_gan.TinyGan):\n    pass\n"
    )
    mine = catalogue.load_file(file).MyGan(width=4)
    run = og.train(recipe(model=mine, images=8), tmp_path / "run", quiet=True)
    assert run.about["recipe"]["model"]["type"] == "orthogen_user_my_gan:MyGan"
    assert run.about["files"]["orthogen_user_my_gan"] == str(file)
    assert og.load(run.folder).module[0].in_features == 3  # its class is in this process
    # a class from elsewhere resumes, and is loaded where it is handed over; its code is not looked for
    run = og.train(recipe(images=8), tmp_path / "other", quiet=True)
    assert og.train(recipe(images=8), tmp_path / "other", quiet=True).finished
    assert same(og.load(run.folder, model=TinyGan()).module, og.load(run.checkpoints[0].path, model=TinyGan()).module)
    with pytest.raises(ValueError, match="which is not part of orthogen") as caught:
        og.load(run.folder)
    assert str(caught.value) == (
        f"{run.checkpoints[0].path} was made by the model tiny_gan:TinyGan, which is not part of orthogen; "
        "hand it over: load(path, model=...), or --with FILE.py on the command line"
    )
    with pytest.raises(ValueError, match=re.escape(f"the recipe of {run.folder} cannot be rebuilt here: tiny_gan:")):
        _ = run.recipe


def test_weights_of_another_model(run: og.checkpoints.Run) -> None:
    with pytest.raises(ValueError, match=r"the weights in .* do not fit TinyGan\(.*\): \d+ tensors differ, .* among"):
        og.load(run.folder, model=TinyGan())


def test_an_open_run_says_what_it_is(tmp_path: Path) -> None:
    data = og.Sprites(resolution=16)
    made = og.Recipe("packaged", replace(MODEL, resolution=16), data, og.Objective(og.Hinge()), images=16, batch=8)
    run = og.train(made, tmp_path, quiet=True)
    opened = open_run(tmp_path)
    assert opened.recipe == made
    assert opened.finished
    assert opened == run
    assert [line["images"] for line in opened.log()] == [16]


def test_a_run_without_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"recipe": {}}')
    with pytest.raises(FileNotFoundError, match="has no whole checkpoint yet; train it first"):
        og.load(tmp_path)


def test_a_damaged_checkpoint_given_by_name(run: og.checkpoints.Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "images_000000080"
    os.truncate(path / "generator.safetensors", 20)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared below)
        og.load(path)
    assert str(caught.value) == (
        f"{path} is damaged: generator.safetensors is not what was written; take another checkpoint of the run"
    )
    with pytest.warns(UserWarning, match="images_000000080 is damaged and skipped"):
        assert same(og.load(tmp_path / "run").module, og.load(run.checkpoints[0].path).module)


def test_what_is_no_generator(tmp_path: Path) -> None:
    known = "give a run folder, a checkpoint inside it or a generator file"
    with pytest.raises(FileNotFoundError, match=f"nowhere does not exist; {known}"):
        og.load(tmp_path / "nowhere")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "short.safetensors").write_bytes(b"\x10\x00\x00")
    for name in ("other.safetensors", "text.txt", "short.safetensors", "."):
        with pytest.raises(ValueError, match=f"is damaged or nothing that load knows; {known}"):
            og.load(tmp_path / name)


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; give the folder of a run \(runs/NAME\)"):
        open_run(tmp_path / "nowhere")
    for content in ("{", "[]", "{}", None):
        if content is not None:
            (tmp_path / "run.json").write_text(content)
        with pytest.raises(ValueError, match=r"is no run folder: it has no readable run\.json; give runs/NAME"):
            open_run(tmp_path)
        (tmp_path / "run.json").unlink(missing_ok=True)


def test_a_module_that_keeps_more_than_tensors(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def get_extra_state(self) -> object:
            return {"answer": 42}

    with pytest.raises(TypeError, match="_extra_state is a dict; only tensors can be saved"):
        save_generator(tmp_path / "g.safetensors", MODEL, Odd())
    assert not (tmp_path / "g.safetensors").exists()


def test_what_is_made_of_a_source_goes_into_its_run(run: og.checkpoints.Run, tmp_path: Path) -> None:
    from orthogen.checkpoints import home_of

    checkpoint = run.checkpoints[0].path
    for source in (run.folder, checkpoint, checkpoint / "generator.safetensors"):
        assert home_of(source) == run.folder
    assert home_of(tmp_path) == home_of(tmp_path / "g.pkl") == tmp_path
