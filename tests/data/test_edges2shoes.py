"""EdgesShoes.prepare: which half comes where, pixel by pixel, and what is left when something fails."""

import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from orthogen.core.progress import shown
from orthogen.data import _pairs
from orthogen.data._pairs import shuffled_places
from orthogen.data.edges_shoes import EdgesShoes


def write_pair(path, pair):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pair).save(path)


@pytest.fixture
def pairs(tmp_path):
    """Five pairs, whose names count past nine; the pixels by name."""
    made = {}
    for i in (2, 9, 10, 11, 100):
        made[f"{i}_AB.png"] = np.random.default_rng(i).integers(0, 256, (256, 512, 3), dtype=np.uint8)
        write_pair(tmp_path / "edges2shoes" / "train" / f"{i}_AB.png", made[f"{i}_AB.png"])
    write_pair(tmp_path / "edges2shoes" / "val" / "1_AB.png", made["2_AB.png"])  # another split
    (tmp_path / "edges2shoes" / "train" / "notes.txt").write_text("no image")
    return tmp_path / "edges2shoes", made


def expected(made):
    """All halves, shuffled as numpy shuffles a list of them."""
    halves = [half for name in sorted(made) for half in (made[name][:, :256], made[name][:, 256:])]
    order = np.arange(len(halves))
    np.random.RandomState(123).shuffle(order)
    return torch.from_numpy(np.stack([halves[i] for i in order])).permute(0, 3, 1, 2)


def all_of(images):
    return images.images(torch.arange(len(images)))


def test_places_undo_numpys_order():
    for n in (2, 7, 1000):
        order = np.random.RandomState(123).permutation(n)  # the same draws as shuffling arange(n)
        assert np.array_equal(order[shuffled_places(n)], np.arange(n))


def test_the_halves_of_all_pairs_in_the_order_of_random_state_123(pairs, tmp_path):
    folder, made = pairs
    data = EdgesShoes(tmp_path / "new" / "shoes.zip", resolution=256)
    assert data.prepare(folder) == 10
    assert torch.equal(all_of(data.open()), expected(made))  # to the pixel


def test_means_of_two_by_two_rounded_at_the_end(pairs, tmp_path):
    folder, made = pairs
    data = EdgesShoes(tmp_path / "shoes.zip", resolution=64)
    data.prepare(folder / "train")  # that folder itself will do
    means = expected(made).float().reshape(10, 3, 64, 4, 64, 4).mean(dim=(3, 5))
    assert torch.equal(all_of(data.open()), means.round().to(torch.uint8))
    for inside in (folder.parent, folder):
        again = EdgesShoes(tmp_path / f"{inside.name}.zip", resolution=64)
        again.prepare(inside)
        assert (tmp_path / f"{inside.name}.zip").read_bytes() == (tmp_path / "shoes.zip").read_bytes()


def test_more_pairs_than_are_in_memory_at_once(pairs, tmp_path, monkeypatch):
    folder, made = pairs
    monkeypatch.setattr(_pairs, "PART", 2)
    monkeypatch.setattr(_pairs, "FOLDER", 3)
    data = EdgesShoes(tmp_path / "shoes.zip", resolution=256, workers=2)
    data.prepare(folder)
    with zipfile.ZipFile(data.path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist())[3] == "00001/img00000003.png"
    assert torch.equal(all_of(data.open()), expected(made))


def test_progress_is_shown(pairs, tmp_path):
    said = []

    def show(items, what, total):
        said.append((what, total))
        yield from items

    with shown(show):
        EdgesShoes(tmp_path / "shoes.zip").prepare(pairs[0])
    assert said == [("Reading headers", 1), ("Preparing pairs", 1)]


# ---------------------------------------------------------------------------------------------- refusals
def refused(folder, to, kind=ValueError, **settings):
    with pytest.raises(kind) as caught:
        EdgesShoes(to, **settings).prepare(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "edges2shoes")


def test_a_pair_of_another_size_is_named_before_anything_is_written(pairs, tmp_path):
    folder, _ = pairs
    write_pair(folder / "train" / "99_AB.png", np.zeros((256, 256, 3), dtype=np.uint8))
    text = refused(folder, tmp_path / "shoes.zip")
    assert text == f"99_AB.png in {folder}/train is 256 x 256 pixels; pairs of 512 x 256 are expected"
    assert left(tmp_path) == []


def test_a_damaged_pair_leaves_nothing(pairs, tmp_path):
    folder, _ = pairs
    path = folder / "train" / "9_AB.png"
    path.write_bytes(path.read_bytes()[:100_000])
    text = refused(folder, tmp_path / "shoes.zip")
    assert text.startswith(f"9_AB.png in {folder}/train cannot be read (")
    assert left(tmp_path) == []


def test_a_pair_is_turned_upright(tmp_path):
    upright = np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)
    turned = Image.fromarray(np.rot90(upright, 1).copy())
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be shown turned right
    turned.save(tmp_path / "1_AB.png", exif=exif)
    data = EdgesShoes(tmp_path / "shoes.zip", resolution=256)
    data.prepare(tmp_path)
    assert torch.equal(all_of(data.open()), expected({"1_AB.png": upright}))


def test_two_at_once_write_files_of_their_own(tmp_path):
    to = tmp_path / "shoes.zip"
    with _pairs._archive(to) as one:
        with _pairs._archive(to) as other:
            one.writestr("a", b"of one")
            other.writestr("b", b"of the other")
        with zipfile.ZipFile(to) as kept:
            assert kept.namelist() == ["b"]
        one.writestr("c", b"of one")
    with zipfile.ZipFile(to) as kept:
        assert kept.namelist() == ["a", "c"]
    assert left(tmp_path) == ["shoes.zip"]


def test_other_mistakes(pairs, tmp_path):
    folder, _ = pairs
    get = "give the folder that edges2shoes.tar.gz of github.com/phillipi/pix2pix is unpacked to"
    text = refused(tmp_path / "no", tmp_path / "a.zip", FileNotFoundError)
    assert text == f"EdgesShoes: there is no folder {tmp_path / 'no'}; {get}"
    (tmp_path / "empty").mkdir()
    text = refused(tmp_path / "empty", tmp_path / "a.zip", FileNotFoundError)
    assert text == f"EdgesShoes: {tmp_path / 'empty'} holds no images; {get}"
    for path in (tmp_path / "shoes", ""):
        assert re.search(
            "was given to write to; give the name of a zip file, such as shoes.zip$", refused(folder, path)
        )
    assert refused(folder, tmp_path / "a.zip", resolution=512).endswith(
        "resolution=512 is more than the pairs' 256; give 256 or less"
    )
    (tmp_path / "a.zip").write_bytes(b"something")
    text = refused(folder, tmp_path / "a.zip", FileExistsError)
    assert text == f"EdgesShoes: {tmp_path / 'a.zip'} exists; remove it, or give another name to write to"
    assert (tmp_path / "a.zip").read_bytes() == b"something"
