import textwrap
from pathlib import Path

import pytest
import torch
from PIL import Image

import orthogen as og
from orthogen.cli import main

MAKE = """
    import torch
    import orthogen as og

    def make():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 2, 2)))
        return og.adapt(net, og.Normal(20))

    def progan():
        torch.manual_seed(0)
        model = og.ProGan(og.Normal(3), resolution=4, channel_max=4)
        return model.adapt(model.build()["generator"].eval())

    def labeled():
        net = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 2, 2)))
        return og.adapt(net, og.Normal(20), call=dim, classes=9)

    def dim(module, z, label):
        return module(z) * 0 + label[:, None, None, None] / 10
"""
QUICK = ("--samples", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(textwrap.dedent(MAKE))
    og.Directions(torch.eye(20)).renamed({5: "pose"}).save("found.safetensors")


def written(capsys, *argv: str, maker: str = "make") -> list[str]:
    assert main(["traverse", "--generator", f"mine.py:{maker}", *QUICK, *argv]) == 0
    names = capsys.readouterr().out.split()
    assert all(Path(name).is_file() for name in names)
    return [Path(name).name for name in names]


def refused(capsys, *argv: str) -> str:
    assert main(["traverse", "--generator", "mine.py:make", *QUICK, *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err


def size(name: str) -> tuple[int, int]:
    with Image.open(Path("traversals") / name) as picture:
        return picture.size


def test_strips_a_contact_sheet_and_a_gif_are_the_usual_files(capsys):
    assert written(capsys, "--frames", "4") == ["coordinates_contact.png", "coordinates.png", "coordinates.gif"]


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        (("0", "5", "7"), "coordinates"),
        (("found.safetensors", "pose", "0", "7"), "found"),
        (("found.safetensors",), "found"),
    ],
)
def test_directions_take_a_file_or_numbers_or_both(capsys, words, stem):
    rows = ["--rows", "3"] if len(words) == 1 else []
    names = written(capsys, "--no-film", *rows, "--directions", *words)
    assert names[-1] == f"{stem}.png"
    assert size(names[-1])[1] == 12 + 22 + 3 * 66 - 2 + 12


def test_a_file_of_the_run_goes_by_its_name(capsys):
    Path("directions").mkdir()
    Path("found.safetensors").rename("directions/sefa.safetensors")
    assert written(capsys, "--no-film", "--directions", "sefa", "pose") == ["sefa.png"]
    said = refused(capsys, "--directions", "sofa", "1")
    assert "--directions sofa: give a directions file, such as sefa in directions, or numbers of the latent's" in said


def test_all_directions_are_split_over_files(capsys):
    names = written(capsys, "--all", "--rows-per-file", "8", "--no-film", "--contact")
    assert names == ["coordinates_contact.png"] + [
        f"coordinates_{name}.png" for name in ("000_Q000-Q007", "001_Q008-Q015", "002_Q016-Q019")
    ]


def test_films_of_each_kind_and_path(capsys):
    pytest.importorskip("imageio_ffmpeg")
    films = written(capsys, "--webp", "--mp4", "--no-strips", "--rows", "2", "--frames", "8", "--path", "smooth_center")
    assert films == ["coordinates_contact.png", "coordinates.webp", "coordinates.mp4"]
    with Image.open("traversals/coordinates.webp") as film:
        assert film.n_frames <= 8  # those that do not differ are shown longer


def test_films_can_have_a_column_per_direction(capsys):
    shape = ("--directions", "0", "5", "7", "--frames", "4", "--no-strips", "--samples", "2")
    sizes = []
    for turned in ((), ("--transpose",)):
        (film,) = written(capsys, *shape, *turned)
        sizes.append(size(film))
    (width, height), (wide, low) = sizes
    assert wide - width == 64 + 2  # three rows of two pictures, and two rows of three below their names
    assert height - low == 64 + 2 - 22


def test_latents_can_be_moved_behind_the_norm_of_a_progan(capsys):
    said = refused(capsys, "--past-norm")
    assert "Sequential has no layer latent_norm: there is no norm of latents to leave out" in said
    pictures = []
    for past in ((), ("--past-norm",)):
        (strips,) = written(capsys, "--no-film", *past, maker="progan")
        pictures.append((Path("traversals") / strips).read_bytes())
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("option", ["--path-size", "--extent"])
def test_the_path_size_is_how_far_it_goes(capsys, monkeypatch, option):
    asked = {}
    monkeypatch.setattr("orthogen.reporting.traversal.traverse", lambda *_, **given: asked.update(given) or [])
    written(capsys, option, "2.5")
    assert asked["extent"] == 2.5


def test_one_class_can_be_fixed(capsys):
    wide, narrow = (
        size(written(capsys, "--no-film", *fixed, maker="labeled")[-1])[0] for fixed in ((), ("--fix-class", "3"))
    )
    assert wide > narrow  # the class drawn is named beside each line
    with Image.open("traversals/coordinates.png") as picture:
        level = round((0.3 + 1) * 127.5)
        assert (level, level, level) in {color for _, color in picture.getcolors(1 << 16)}
    assert "class 3 was asked for, and this generator takes no class labels" in refused(capsys, "--fix-class", "3")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--directions", "pose"), "--directions pose: give a directions file, or numbers of the latent's coordinates"),
        (("--directions", "99"), "there is no direction 99; give 0 to 19"),
        (("--directions", "nowhere.safetensors"), "nowhere.safetensors does not exist"),
        (("--directions", "found.safetensors", "light"), "there is no direction light; give 0 to 19, or by name: pose"),
        (("--directions", "0", "--rows", "3"), "--rows and --all stand for directions by number, and 0 is named"),
        (("--no-strips", "--no-film"), "--no-strips and --no-film leave nothing to draw"),
        (("--no-film", "--mp4"), "--no-film contradicts --gif, --webp and --mp4"),
        (("--path", "zigzag"), "path='zigzag': a film can follow pingpong, linear, smooth_center"),
        (("--frames", "7"), "frames=7: a way there and back has an even number of frames"),
        (("--fps", "0"), "fps=0"),
        (("--fps", "inf"), "fps=inf: give 0.01 to 1000 frames a second"),
        (("--fps", "0.001"), "fps=0.001: give 0.01 to 1000 frames a second"),
        (("--path-size", "inf"), "extent=inf: give one positive number"),
        (("--rows", "3", "--all"), "--rows 3 and --all contradict each other"),
        (("--no-film", "--frames", "8"), "--frames is of films, and --no-film draws none"),
        (("--no-film", "--transpose"), "--transpose is of films, and --no-film draws none"),
        (("--no-film", "--path", "linear"), "--path is of films, and --no-film draws none"),
        (("--no-strips", "--steps", "3"), "--steps is of strips, and --no-strips draws none"),
        (("--rows", "0"), "rows=0: give how many directions to draw, at least 1"),
        (("--path-size", "-1"), "extent=-1.0: give one positive number"),
    ],
)  # fmt: skip
def test_mistakes_are_said_in_one_line_before_anything_is_drawn(capsys, argv, words):
    assert words in refused(capsys, *argv)
    assert not Path("traversals").exists()
