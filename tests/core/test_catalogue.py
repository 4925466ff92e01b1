"""The catalogue: members are found by their files, and only by their files."""

import subprocess
import sys

import pytest

from orthogen.core import catalogue
from orthogen.core.catalogue import Entry, entries, find, load_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package of two folders, with nothing cached before or after."""
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    monkeypatch.setattr(catalogue, "FOLDERS", ("metrics", "recipes"))
    entries.cache_clear()
    for name in ("metrics", "recipes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('"""Nothing."""\n')
    (tmp_path / "metrics" / "mig.py").write_text(
        '"""MIG."""\n\nraise SystemExit("imported")\n\n__all__ = ["Mig"]\n\n'
        'class Helper:\n    """Not offered."""\n\n'
        'class Mig:\n    """Mutual information gap,\n    in one number.\n\n    More.\n    """\n'
    )
    (tmp_path / "metrics" / "_shared.py").write_text('__all__ = ["Hidden"]\nclass Hidden: ...\n')
    (tmp_path / "recipes" / "mig.py").write_text(
        '__all__ = ["plain", "SIZE"]\nSIZE = 3\ndef plain():\n    """A run."""\n'
    )
    yield tmp_path
    entries.cache_clear()


def test_files_are_read_and_not_imported(folder):
    assert entries("metrics") == (
        Entry("Mig", "metrics", "orthogen.metrics.mig", "Mutual information gap, in one number."),
    )
    assert entries("recipes") == (Entry("plain", "recipes", "orthogen.recipes.mig", "A run."),)


def test_find_by_name_and_by_file(folder):
    assert find("Mig").module == find("mig").module == "orthogen.metrics.mig"
    assert find("plain").folder == "recipes"
    assert find("Mig", "metrics").name == "Mig"


def test_unknown_names_get_the_nearest(folder):
    with pytest.raises(KeyError) as caught:
        find("Mgi")
    assert caught.value.args[0] == "nothing here is called 'Mgi'; nearest: Mig (orthogen list shows all)"
    with pytest.raises(KeyError) as caught:
        find("xyzzy")
    assert caught.value.args[0] == "nothing here is called 'xyzzy' (orthogen list shows all)"
    with pytest.raises(KeyError, match="plain"):
        find("plain", "metrics")


def test_our_own_data_sets_are_found():
    found = {entry.name: entry for entry in entries("data")}
    assert {"ImageFolder", "ImageArchive", "DSprites", "CelebA"} <= set(found)
    assert not any(entry.module.rpartition(".")[2].startswith("_") for entry in found.values())
    assert find("image_folder").load().__name__ == "ImageFolder"


def test_reading_needs_no_torch():
    code = "import sys; from orthogen.core.catalogue import *; entries('metrics'); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_load_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    n: int = 3\n"
    )
    module = load_file(tmp_path / "mine.py")
    assert module.Mine().n == 3
    assert module.Mine.__module__ == "orthogen_user_mine"
    assert sys.modules["orthogen_user_mine"] is module


def test_a_file_that_fails_leaves_no_module(tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\nraise RuntimeError('no')\n")
    with pytest.raises(RuntimeError, match="no"):
        load_file(tmp_path / "broken.py")
    assert "orthogen_user_broken" not in sys.modules


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.py does not exist; give a Python file$"):
        load_file(tmp_path / "no.py")


def test_a_file_may_import_what_lies_beside_it(tmp_path):
    (tmp_path / "orthogen_test_neighbor.py").write_text("answer = 42\n")
    (tmp_path / "mine.py").write_text("def make():\n    from orthogen_test_neighbor import answer\n    return answer\n")
    assert catalogue.made_in_file(f"{tmp_path}/mine.py:make", "an answer") == 42
