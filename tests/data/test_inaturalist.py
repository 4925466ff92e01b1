"""INaturalist2019: both forms of its lists, on a folder of small photographs of our own."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from orthogen.data.inaturalist import INaturalist2019

LABELS = (2, 0, 1, 2, 2, 1, 0, 2)


def name(i):
    return f"train_val2019/Plants/{LABELS[i]}/photo {i}.jpg"


@pytest.fixture
def root(tmp_path):
    """Eight photographs that are brighter to the right, each 90 pixels wide and 60 high, of one gray level more."""
    for i in range(len(LABELS)):
        file = tmp_path / name(i)
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.tile(np.linspace(10 * i, 10 * i + 90, 90).astype(np.uint8), (60, 1))
        Image.fromarray(pixels).convert("RGB").save(file, quality=100)
    return tmp_path


def write_text(root, lines=None, file="iNaturalist19_train.txt"):
    lines = [f"{name(i)} {label}" for i, label in enumerate(LABELS)] if lines is None else lines
    (root / file).write_text("\n".join(lines) + "\n")


def annotations(**parts):
    return {
        "images": [{"id": 50 + i, "file_name": name(i), "width": 90} for i in range(len(LABELS))],
        "annotations": [{"id": i, "image_id": 50 + i, "category_id": label} for i, label in enumerate(LABELS)][::-1],
        "categories": [{"id": 2, "name": "Quercus alba"}, {"id": 0, "name": "Acer rubrum"}, {"id": 1}],
        **parts,
    }


def write_json(root, file="train2019.json", **parts):
    (root / file).write_text(json.dumps(annotations(**parts)))


# ---------------------------------------------------------------------------------------------- what is read
@pytest.mark.parametrize("write", [write_text, write_json])
def test_both_lists_give_the_same_photographs(root, write):
    write(root)
    images = INaturalist2019(root, resolution=30).open()
    every = images.images(torch.arange(8)).float()
    assert images.labels(torch.arange(8)).tolist() == list(LABELS)
    assert images.class_counts().tolist() == [2, 2, 4]
    assert every.shape == (8, 3, 30, 30)
    for i, image in enumerate(every):  # the middle 60 of 90 pixels, halved
        assert image.mean().item() == pytest.approx(10 * i + 45, abs=1.5)
        assert image[0, 0, 0].item() == pytest.approx(10 * i + 15.5, abs=2)
        assert image[0, 0, -1].item() == pytest.approx(10 * i + 75, abs=2)


def test_species_have_their_names(root):
    write_json(root)
    assert INaturalist2019(root).open().classes == ("Acer rubrum", "1", "Quercus alba")
    write_text(root)
    assert INaturalist2019(root, listed="iNaturalist19_train.txt").open().classes == ("0", "1", "2")


def test_the_split_names_the_list(root):
    write_json(root, "val2019.json", images=annotations()["images"][:3])
    write_text(root)
    assert len(INaturalist2019(root, split="val").open()) == 3
    assert len(INaturalist2019(root).open()) == 8


def test_round_robin_takes_a_photograph_of_each_species_in_turn(root):
    write_text(root)
    images = INaturalist2019(root, order="round_robin", resolution=16).open()
    assert images.labels(torch.arange(len(images))).tolist() == [0, 1, 2, 0, 1, 2]
    listed = INaturalist2019(root, resolution=16).open()
    assert torch.equal(images.images(torch.arange(6)), listed.images(torch.tensor([1, 2, 0, 6, 5, 3])))


def test_photographs_are_mirrored_where_asked_for(root, rng):
    write_text(root)
    images = INaturalist2019(root, flip=True, resolution=16).open()
    drawn = images.images(torch.zeros(40, dtype=torch.int64), rng=rng)
    plain = images.images(torch.tensor([0]))[0]
    flipped = [torch.equal(image, plain.flip(2)) for image in drawn]
    assert 5 < sum(flipped) < 35
    assert all(a or torch.equal(image, plain) for a, image in zip(flipped, drawn, strict=True))


# ---------------------------------------------------------------------------------------------- what is refused
def test_where_to_get_it(root):
    with pytest.raises(
        FileNotFoundError, match=r"^INaturalist2019: no path was given; give the folder that train_val20"
    ):
        INaturalist2019().open()
    with pytest.raises(
        FileNotFoundError, match=r"train2019.json of github.com/visipedia/inat_comp \(2019\) are unpacke"
    ):
        INaturalist2019(root).open()
    with pytest.raises(FileNotFoundError, match=r"val2019.json of github.com/visipedia/inat_comp"):
        INaturalist2019(root, split="val").open()


def test_a_file_in_place_of_the_folder(root):
    with pytest.raises(ValueError, match=r"^INaturalist2019: .* is a file; give the folder that train_val2019 and"):
        INaturalist2019(__file__).open()


def test_lists_that_are_not_there_or_two(root):
    with pytest.raises(
        FileNotFoundError, match=r"^INaturalist2019: the list .*mine.txt does not exist; give the folder"
    ):
        INaturalist2019(root, listed="mine.txt").open()
    write_text(root)
    write_text(root, file="other_train.txt")
    with pytest.raises(
        FileNotFoundError, match=r"no train2019.json, and of text lists of train iNaturalist19_train.txt,"
    ):
        INaturalist2019(root).open()


def test_a_photograph_that_is_missing(root):
    write_text(root)
    (root / name(3)).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lists train_val2019/Plants/2/photo 3.jpg, which is not in .*; unpack"
    ):
        INaturalist2019(root).open()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [f"{name(0)} 2", "", f"{name(1)} two"],
            r"line 3 is .*, and a path and a class number are accepted; copy the li",
        ),
        (["7"], r"line 1 is '7'"),
        ([f"{name(0)} -1"], r"line 1 is"),
        ([f"{name(0)} 999999999"], r"line 1 is"),
        ([""], r"lists no images"),
    ],
)
def test_texts_that_are_no_lists(root, lines, message):
    write_text(root, lines)
    with pytest.raises(ValueError, match=rf"^INaturalist2019: .*{message}") as error:
        INaturalist2019(root).open()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"annotations": None},
            r"it has no 'annotations', and annotations with images, annotations and categories are",
        ),
        ({"annotations": []}, r"an entry is missing or of another kind \(KeyError: 50\); copy the list again"),
        ({"categories": [{"id": 0}]}, r"an entry is missing or of another kind \(KeyError: 2\)"),
        ({"categories": [3]}, r"an entry is missing or of another kind \(TypeError"),
        ({"images": []}, r"lists no images"),
    ],
)
def test_json_that_is_no_list(root, parts, message):
    write_json(root, **parts)
    with pytest.raises(ValueError, match=rf"^INaturalist2019: .*{message}") as error:
        INaturalist2019(root).open()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff\xfe"])
def test_files_that_are_no_json(root, content):
    (root / "train2019.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"^INaturalist2019: .*train2019.json: .*; copy the list again$"):
        INaturalist2019(root).open()


def test_settings_that_are_none(unchecked):
    with pytest.raises(ValueError, match=r"INaturalist2019\(split='test'\): 'train' or 'val' is accepted"):
        INaturalist2019(split="test")
    with pytest.raises(ValueError, match=r"INaturalist2019\(order='random'\): 'listed' or 'round_robin' is accepted"):
        INaturalist2019(order="random")
    with pytest.raises(ValueError, match="resolution=0: give a side in pixels"):
        INaturalist2019(resolution=0)
