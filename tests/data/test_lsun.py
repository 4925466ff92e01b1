"""Lsun out of small LMDB databases and folders."""

import hashlib
import io
import sys

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from orthogen.core.record import from_json, to_json
from orthogen.data.lsun import Lsun


def scene(seed, width=40, height=24):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind):
    file = io.BytesIO()
    image.save(file, kind, **({"lossless": True} if kind == "webp" else {}))
    return file.getvalue()


def database(path, records):
    """A database as LSUN's: the hash of an image is its key. Returns the images in the order of keys."""
    environment = lmdb.open(str(path), map_size=2**24)
    with environment.begin(write=True) as writing:
        for value in records:
            writing.put(hashlib.sha1(value).hexdigest().encode(), value)
    environment.close()
    return sorted(records, key=lambda value: hashlib.sha1(value).hexdigest())


def squashed(value, side):
    image = Image.open(io.BytesIO(value)).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def all_of(images, **options):
    return images.images(torch.arange(len(images)), **options)


def no(*args, **options):
    with pytest.raises((ValueError, FileNotFoundError, ModuleNotFoundError)) as caught:
        Lsun(*args, **options).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def churches(tmp_path):
    records = [encoded(scene(i), "webp" if i % 2 else "jpeg") for i in range(7)]
    return tmp_path, database(tmp_path / "church_outdoor_train_lmdb", records)


@pytest.fixture
def rooms(tmp_path):
    """Five databases of different sizes, and their records."""
    records = {}
    for k, name in enumerate(Lsun.LONG_TAIL):
        values = [encoded(scene(100 * k + i), "webp") for i in range(12 - k)]
        records[name] = database(tmp_path / f"{name}_train_lmdb", values)
    return tmp_path, records


# ---------------------------------------------------------------------------------------------- what is read
def test_records_in_the_order_of_their_keys_squashed(churches):
    path, records = churches
    for at in (path, path / "church_outdoor_train_lmdb"):
        images = Lsun(at).open()
        assert torch.equal(all_of(images), torch.stack([squashed(value, 128) for value in records]))
        assert (len(images), images.channels, images.resolution, images.classes) == (7, 3, 128, ())
        assert images.labels(torch.arange(2)) is None
    assert images.describe() == (
        f"7 images of {path / 'church_outdoor_train_lmdb'}, 128 x 128 RGB, squashed to 128 x 128 (bilinear), "
        "not mirrored, no classes, kept in memory (0.3 MiB)"
    )


def test_decoded_when_asked_for_they_are_the_same(churches):
    path, _ = churches
    kept, read = Lsun(path, resolution=16).open(), Lsun(path, resolution=16, memory=0.0).open()
    assert "decoded when asked for" in read.describe()
    assert torch.equal(all_of(kept), all_of(read))  # two sets of one database live side by side


def test_center_crop(churches):
    path, records = churches
    image = Image.open(io.BytesIO(records[2])).convert("RGB").crop((8, 0, 32, 24))
    want = torch.from_numpy(np.array(image.resize((16, 16), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert torch.equal(all_of(Lsun(path, resolution=16, crop="center").open())[2], want)


def test_categories_are_classes(rooms):
    path, records = rooms
    images = Lsun(path, categories=Lsun.LONG_TAIL, resolution=16, limit=4).open()
    assert images.classes == ("bedroom", "conference_room", "dining_room", "kitchen", "living_room")
    assert images.class_counts().tolist() == [4] * 5
    assert images.labels(torch.arange(20)).tolist() == [k for k in range(5) for _ in range(4)]
    want = [squashed(value, 16) for name in Lsun.LONG_TAIL for value in records[name][:4]]
    assert torch.equal(all_of(images), torch.stack(want))
    whole = Lsun(path, categories=("kitchen", "bedroom"), resolution=16).open()
    assert whole.class_counts().tolist() == [9, 12]


def test_held_out_records_are_others(rooms):
    path, records = rooms
    training = Lsun(path, categories=Lsun.LONG_TAIL, resolution=16, limit=5, flip=True)
    testing = training.held_out(3)
    assert (testing.skip, testing.limit, testing.flip, testing.categories) == (5, 3, False, Lsun.LONG_TAIL)
    images = testing.open()
    want = [squashed(value, 16) for name in Lsun.LONG_TAIL for value in records[name][5:8]]
    assert torch.equal(all_of(images), torch.stack(want))
    shown = {bytes(image.flatten().tolist()) for image in all_of(training.open())}
    assert not shown & {bytes(image.flatten().tolist()) for image in all_of(images)}
    alone = Lsun(path, categories=("kitchen",), limit=2, skip=3).open()
    assert f"2 images of records 3 to 4 of {path / 'kitchen_train_lmdb'}, " in alone.describe()
    with pytest.raises(ValueError, match=r"^Lsun\(limit=None\) takes all records and leaves none to hold out; give a"):
        Lsun(path).held_out(3)


def test_flips_with_an_rng_only(churches):
    path, _ = churches
    images = Lsun(path, resolution=8, flip=True).open()
    plain = all_of(images)
    drawn = all_of(images, rng=torch.Generator().manual_seed(0))
    same = (drawn == plain).flatten(1).all(1)
    assert 0 < same.sum() < 7
    assert torch.equal(drawn[~same], plain[~same].flip(3))


@pytest.mark.parametrize("name", ["tower_val", "tower"])
def test_folders_of_images(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for i in (10, 9):
        scene(i).save(folder / f"{i}.png")
    for path in (tmp_path, folder):
        images = Lsun(path, categories=("tower",), split="val", resolution=16).open()
        want = [squashed((folder / f"{i}.png").read_bytes(), 16) for i in (9, 10)]
        assert torch.equal(all_of(images), torch.stack(want))
    assert len(Lsun(tmp_path, categories=("tower",), split="val", skip=1, limit=1).open()) == 1


def test_json_round_trip():
    data = Lsun("a", categories=Lsun.LONG_TAIL, limit=3, skip=2)
    assert from_json(to_json(data)) == data


# ---------------------------------------------------------------------------------------------- what is refused
def test_missing(tmp_path):
    give = "give the folder with church_outdoor_train_lmdb of github.com/fyu/lsun"
    anywhere = "wherever it lies, as Lsun(path=...), or Lsun:PATH on the command line"
    assert no() == f"Lsun: no path was given; {give}, {anywhere}"
    assert no(tmp_path / "no") == f"Lsun: {tmp_path / 'no'} does not exist; {give}, {anywhere}"
    assert no(tmp_path, categories=("tower", "bridge"), split="val") == (
        f"Lsun: {tmp_path} holds none of tower_val_lmdb, tower_val, tower; "
        "unpack tower_val_lmdb.zip of github.com/fyu/lsun there"
    )


def test_too_few_records(churches):
    path, _ = churches
    at = path / "church_outdoor_train_lmdb"
    assert no(path, limit=8) == f"Lsun: {at} has 7 records left for skip=0 and limit=8; ask for fewer"
    assert no(path, skip=7) == f"Lsun: {at} has 0 records left for skip=7 and limit=None; ask for fewer"


def test_databases_that_are_broken(tmp_path):
    at = tmp_path / "church_outdoor_train_lmdb"
    at.mkdir()
    (at / "data.mdb").write_bytes(b"junk" * 3000)
    assert no(tmp_path).startswith(f"Lsun: {at} is no whole LMDB database (")
    assert no(tmp_path).endswith("; unpack it again")


def test_a_database_that_was_cut_short_is_no_crash(tmp_path):
    at = tmp_path / "church_outdoor_train_lmdb"
    database(at, [encoded(scene(i, 80, 60), "png") for i in range(60)])
    whole = (at / "data.mdb").read_bytes()
    (at / "data.mdb").write_bytes(whole[: len(whole) // 3])
    said = f"Lsun: {at} is no whole LMDB database ({len(whole) // 3:,} of {len(whole):,} bytes are there); unpack it"
    assert no(tmp_path).startswith(said)


def test_a_database_with_damaged_pages(tmp_path):
    at = tmp_path / "church_outdoor_train_lmdb"
    database(at, [encoded(scene(i), "png") for i in range(20)])
    data = (at / "data.mdb").read_bytes()
    (at / "data.mdb").write_bytes(data[:8192] + bytes(len(data) - 8192))  # the two pages that say where others are stay
    assert no(tmp_path).startswith(f"Lsun: {at} is no whole LMDB database (")


def test_records_that_are_no_images(tmp_path):
    records = database(tmp_path / "church_outdoor_train_lmdb", [encoded(scene(0), "jpeg"), b"no image"])
    key = hashlib.sha1(b"no image").hexdigest()
    assert len(records) == 2
    assert no(tmp_path) == (
        f"{key} in {tmp_path / 'church_outdoor_train_lmdb'} is no image in a format that Pillow reads; "
        "replace or remove it"
    )


def test_without_the_package(churches, monkeypatch):
    path, _ = churches
    monkeypatch.setitem(sys.modules, "lmdb", None)
    at = path / "church_outdoor_train_lmdb"
    assert no(path) == f"Lsun: {at} needs the package lmdb; pip install 'orthogen[lsun]'"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"categories": ()}, "Lsun(categories=()): name at least one category, each once"),
        ({"categories": ("a", "a")}, "Lsun(categories=('a', 'a')): name at least one category, each once"),
        ({"split": "test"}, "Lsun(split='test'): the splits with images of each category are train and val"),
        ({"skip": -1}, "Lsun(skip=-1, limit=None): skip none or more records, take at least 1"),
        ({"limit": 0}, "Lsun(skip=0, limit=0): skip none or more records, take at least 1"),
        ({"resolution": 0}, "resolution=0: give a side in pixels, or None for the images' own"),
    ],
)
def test_settings(unchecked, options, says):
    with pytest.raises(ValueError, match=r"name|splits|skip|side") as caught:
        Lsun("a", **options)
    assert str(caught.value) == says
