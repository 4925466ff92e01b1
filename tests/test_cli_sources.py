"""What a verb can be given: a run, a file of any system and how to use it, a function of the user's."""

import json
import textwrap
from pathlib import Path

import pytest
import torch
from PIL import Image

import orthogen as og
from orthogen.checkpoints import save_generator
from orthogen.cli import main

MINE = """
    import torch
    from torch import nn
    import orthogen as og

    class Net(nn.Module):
        def __init__(self, classes=0):
            super().__init__()
            self.linear, self.classes = nn.Linear(4, 3 * 8 * 8), classes

        def forward(self, z, label=None):
            shift = 0 if label is None else label[:, None] / 10
            return torch.tanh(self.linear(z) + shift).view(-1, 3, 8, 8)

    def seeded(make):
        torch.manual_seed(0)
        return make()

    def module():
        return seeded(Net)

    def adapted():
        return og.adapt(seeded(lambda: Net(5)), og.Normal(4), classes=5)

    def number():
        return 4

    def broken():
        raise RuntimeError("no weights\\nhere")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(textwrap.dedent(MINE))
    return tmp_path


def fails(capsys, *argv: str) -> str:
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    return said.err.removeprefix("orthogen: ").strip()


def test_a_module_of_the_users(here, capsys):
    given = ["--generator", "mine.py:module", "--latent", "normal:4", "--device", "cpu"]
    assert main(["sample", *given, "-n", "4"]) == 0
    assert capsys.readouterr().out == "samples.png\n"
    with Image.open("samples.png") as sheet:
        assert sheet.size[0] > 16
    assert main(["measure", *given, "Activeness", "JacobianSpectrum"]) == 0  # the first word is no file here
    said = capsys.readouterr().out
    assert "Activeness" in said
    assert "Jacobian" in said


def test_a_generator_with_classes(here, capsys):
    given = ["--generator", "mine.py:adapted", "--device", "cpu"]
    assert main(["sample", *given, "-n", "9", "--to", "all.png"]) == 0
    assert main(["sample", *given, "-n", "9", "--fix-class", "2", "--to", "one.png"]) == 0
    assert Path("all.png").read_bytes() != Path("one.png").read_bytes()
    capsys.readouterr()
    assert "scores along its latent are of one class; choose it: fix_class=0 (--fix-class 0)" in fails(
        capsys, "measure", *given, "Activeness"
    )
    assert main(["measure", *given, "Activeness", "--fix-class", "2"]) == 0
    capsys.readouterr()
    assert "the classes 0 to 4" in fails(capsys, "sample", *given, "--fix-class", "5")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mine.py:module"], "mine.py:module returned a module; say what it takes: --latent normal:100"),
        (["mine.py:adapted", "--latent", "normal:4"], "returns an adapted generator, which has its latent; leave --la"),
        (["mine.py:number", "--latent", "normal:4"], "mine.py:number returned a int; a generator is an nn.Module, or"),
        (["mine.py:broken"], "broken() in mine.py makes no generator: RuntimeError: no weights"),
        (["mine.py:other"], "mine.py has no function 'other' that makes a generator"),
        (["nowhere.py:make"], "nowhere.py does not exist; give a Python file"),
        (["mine.py"], "'mine.py' was given; give a file and the function in it, such as my_file.py:make"),
        (["mine.py:module", "--latent", "gauss:4"], "--latent gauss:4: give normal:100, uniform:64"),
        (["mine.py:module", "--latent", "normal"], "--latent normal: give normal:100, uniform:64"),
        (["mine.py:module", "--latent", "normal:4:2"], "--latent normal:4:2: give normal:100, uniform:64"),
        (["mine.py:module", "--latent", "normal:0"], "Normal(dim=0): a latent has at least one dimension"),
        (["mine.py:adapted", "--truncation", "0.5"], "--truncation is for networks of other systems; set it up in"),
    ],
)
def test_mistakes_about_a_function(here, capsys, words, says):
    assert says in fails(capsys, "sample", "--generator", *words)


def test_latents_of_another_width_are_a_mistake(here, capsys):
    for verb in ("sample", "discover", "measure"):
        words = {"discover": ["SeFa"], "measure": ["Activeness"]}.get(verb, [])
        said = fails(capsys, verb, "--generator", "mine.py:module", "--latent", "normal:5", *words)
        assert said.startswith("mine.py:module does not take latents of Normal(dim=5): "), said


def test_a_generator_of_no_images_has_none_to_sample(here, capsys):
    Path("flat.py").write_text("from torch import nn\n\ndef make():\n    return nn.Linear(4, 9)\n")
    said = fails(capsys, "sample", "--generator", "flat.py:make", "--latent", "normal:4")
    assert said == "the generator makes (16, 9); images (batch, channel, n, n) are needed"


def test_options_that_would_do_nothing(here, style, capsys):
    for verb in (["sample"], ["measure", "Activeness"], ["convert"], ["discover", "SeFa"]):
        said = fails(capsys, verb[0], str(style), *verb[1:], "--latent", "normal:4")
        assert said == f"--latent goes with --generator; {style} knows its own"
    for words in (["--seeds", "2"], ["--budget", "100"], ["--planted", "nowhere"], ["--no-vp"]):
        assert fails(capsys, "discover", str(style), "SeFa", *words) == f"{words[0]} goes with --compare; leave it out"


def test_a_setting_that_is_called_like_an_option(here, capsys):
    words = ["discover", "--generator", "mine.py:module", "--latent", "normal:4", "GanSpace", "--to", "found"]
    assert main([*words, "--GanSpace.samples", "200", "--GanSpace.space", "w"]) == 0
    assert og.Directions.load("found/GanSpace.safetensors").space == "w"


def test_mistakes_about_sources(here, capsys):
    assert fails(capsys, "sample") == "a run folder or checkpoint file, or --generator FILE.py:FUNCTION: name one"
    both = fails(capsys, "sample", "runs/x", "--generator", "mine.py:module")
    assert both.endswith("name one of them")
    assert "--latent goes with --generator; runs/x knows its own" in fails(
        capsys, "sample", "runs/x", "--latent", "normal:3"
    )
    assert "a generator of yours is saved by" in fails(capsys, "convert", "--generator", "mine.py:module")


@pytest.fixture
def style(here):
    model = og.StyleGan2(resolution=8, dim_z=6, dim_w=6, mapping_layers=2, channel_base=32)
    torch.manual_seed(0)
    save_generator("style.safetensors", model, model.build()["generator"])
    return "style.safetensors"


def test_how_to_use_a_network(style, capsys):
    for words in (["--truncation", "0.3"], ["--space", "w+"], ["--noise", "none"]):
        assert main(["sample", style, "-n", "4", *words, "--to", f"{words[0][2:]}.png", "--device", "cpu"]) == 0
    assert Path("truncation.png").read_bytes() != Path("space.png").read_bytes()
    capsys.readouterr()
    assert "give one of z, w, w+" in fails(capsys, "sample", style, "--space", "y")
    assert main(["measure", style, "Activeness", "--space", "w", "--device", "cpu"]) == 0


def test_convert(style, capsys):
    assert main(["convert", style, "--to", "copy.safetensors", "--truncation", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "4 images before and after are bit-equal" in said
    assert json.loads(Path("copy.json").read_text())["model"]["truncation"] == 0.5
    assert main(["sample", "copy.safetensors", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert "style.safetensors is the file itself; name another one to write" in fails(capsys, "convert", style)
    assert "nothing.pkl does not exist; give a run folder" in fails(capsys, "convert", "nothing.pkl")
