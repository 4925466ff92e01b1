"""The README is a promise: its Python runs, and so does every command in it."""

import re
import shlex
from pathlib import Path

import pytest

from orthogen.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


SHORTER = {
    "orojar.sprites_small": "--decay-from 64 --model.width 0.05 --data.resolution 32",
    "orthogonality.cifar10_small": "--drops 64 96 --test-every 64 --model.width 8 --rules.stem.every 4",
    "orojar.clevr_simple_small": "--growth.stable 16 --growth.fade 16 --growth.batches 16 --model.channel-max 4",
    "variation_predictability.shapes3d_small": "--model.critic-width 4",
    "vae.sprites_small": "",
    "group_spectral.cifar10_sngan_small": "--validation.n 32 --validation.reference-n 32 --model.width 4",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """The commands of all console blocks, and the whole ones in running text."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize(("code", "said"), list(zip(blocks("python"), ("Activeness", "tensor("), strict=True)))
def test_the_library_example_runs_and_is_short(code, said, capsys):
    exec(compile(code, "README.md", "exec"), {})
    assert said in capsys.readouterr().out
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 16


def test_make_targets_exist_and_do_their_own_set_up():
    makefile = (ROOT / "Makefile").read_text()
    targets = [words[1] for words in commands() if words[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        recipe = re.search(rf"^{target}: \$\(VENV\)/(installed|tested)\n", makefile, flags=re.MULTILINE)
        assert recipe, f"make {target} does not make .venv itself"


def test_every_orthogen_command_runs_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text("def make(): return lambda images: images.flatten(1)[:, ::97]\n")
    ran = []
    for words in commands():
        if words[0] != "orthogen":
            continue
        arguments = words[1:]
        if arguments[0] == "train":  # shortened: 160 images show that it runs
            arguments += "--images 160 --batch 16".split()
            arguments += SHORTER[arguments[1]].split()
        if arguments[0] == "measure":
            arguments += ["-n", "64"]
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
        ran.append(arguments[0])
    first = ["list", "show", "cite", "train", "sample", "traverse", "measure", "measure", "compare"]
    first += ["heatmaps", "report", "data", "train", "train", "train", "measure", "train", "train", "report"]
    assert ran == [*first, "discover", "discover", "traverse", "discover"]
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("directions/SeFa.safetensors", "report.html", "scores.json", "samples.png", "run.json", "log.jsonl"):
        assert any(path == f"runs/mine/{name}" for path in made), (name, made)


def test_the_picture_is_there_and_made_by_the_tool():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README, flags=re.DOTALL):
        assert (ROOT / path).stat().st_size > 10_000, path


def test_public_names_in_the_readme_exist():
    import orthogen as og

    for name in set(re.findall(r"\bog\.([A-Za-z]\w*)", README)):
        assert getattr(og, name) is not None
    table = README.split("## What works today")[1].split("## Adding")[0]
    for name in set(re.findall(r"`([A-Z]\w+)`", table)):
        assert getattr(og, name) is not None
