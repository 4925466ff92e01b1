"""``orthogen data``, and data sets by name and path on the command line."""

import pytest
from PIL import Image

from orthogen.cli import main
from orthogen.cli.data import named_data
from orthogen.data.image_folder import ImageFolder
from orthogen.data.long_tailed import LongTailed
from orthogen.data.sprites import Sprites


@pytest.fixture
def folder(tmp_path):
    for label, count in (("cat", 3), ("dog", 1)):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (40 * i, 99, 7)).save(tmp_path / "pets" / label / f"{i}.png")
    return tmp_path / "pets"


def test_inspect_prints_a_table_and_writes_a_picture(folder, tmp_path, capsys):
    picture = tmp_path / "sheet.png"
    assert main(["data", "inspect", str(folder), "--to", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "cat" in printed
    assert "3" in printed
    assert printed.splitlines()[-1] == str(picture)
    with Image.open(picture) as image:
        assert image.width > 200


def test_a_sets_own_settings_are_options(folder, tmp_path, capsys):
    to = str(tmp_path / "s.png")
    assert main(["data", "inspect", "ImageFolder", "--path", str(folder), "--resolution", "4", "--to", to]) == 0
    assert "4" in capsys.readouterr().out
    assert main(["data", "inspect", "ImageFolder", "--pth", str(folder), "--to", to]) == 2
    assert "--pth is no field of ImageFolder; nearest: --path" in capsys.readouterr().err


def test_names_paths_and_resolutions(folder):
    assert named_data(f"ImageFolder:{folder}") == ImageFolder(str(folder))
    assert named_data(str(folder), 16) == ImageFolder(str(folder), resolution=16)
    assert named_data("Sprites", model=32) == Sprites(resolution=32)
    assert named_data("LongTailed", model=32) == LongTailed()  # has none of its own
    with pytest.raises(ValueError, match="--resolution 8: LongTailed has a resolution of its own; leave it out"):
        named_data("LongTailed", 8)
    with pytest.raises(ValueError, match="Sprites:x: Sprites is not read from files; give Sprites alone"):
        named_data("Sprites:x")


def test_a_set_that_is_not_there_is_one_line(capsys):
    assert main(["data", "inspect", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nowhere does not exist" in error


# ---------------------------------------------------------------------------------------------- prepare
def test_prepare_writes_a_file_that_inspect_reads(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    for i in range(3):
        Image.new("RGB", (512, 256), (80 * i, 99, 7)).save(tmp_path / "train" / f"{i}_AB.jpg")
    to = tmp_path / "my shoes.zip"
    assert main(["data", "prepare", "edges2shoes", str(tmp_path), str(to), "--resolution", "32"]) == 0
    assert capsys.readouterr().out == (
        f"6 images of 32 x 32 pixels; to look at them:\northogen data inspect 'EdgesShoes:{to}' --resolution 32\n"
    )
    sheet = str(tmp_path / "s.png")
    assert main(["data", "inspect", f"EdgesShoes:{to}", "--resolution", "32", "--to", sheet]) == 0
    assert "6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the following arguments are required: inspect|prepare (orthogen data --help)"),
        (["mend"], "invalid choice: 'mend' (choose from"),
        (["prepare", "edges2cats", "a", "b.zip"], "argument edges2shoes: invalid choice: 'edges2cats'"),
        (["prepare", "edges2shoes", "a", "b.zip", "--path", "c"], "'--path' is no option of data prepare"),
        (["prepare", "edges2shoes", "a", "b"], "'b' was given to write to; give the name of a zip file"),
        (
            ["prepare", "edges2shoes", "nowhere", "b.zip"],
            "there is no folder nowhere; give the folder that edges2shoes",
        ),
        (["prepare", "edges2shoes", "a", "b.zip", "--resolution", "96"], "(resolution=96): give a power of two, 4 or"),
    ],
)
def test_mistakes_are_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_help_states_the_format(capsys):
    assert main(["data", "prepare", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "shuffled, as PNGs in one zip file" in text
