"""Clevr and EdgesShoes: which file is read at which resolution, and what is said where none will do."""

import io
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orthogen.core.record import from_json, to_json
from orthogen.data._reduced import block_means
from orthogen.data.clevr import Clevr
from orthogen.data.edges_shoes import EdgesShoes
from tfrecord_files import example, noise, write_images, write_records

SETS = [
    pytest.param(Clevr(), "clevr_simple", id="simple"),
    pytest.param(Clevr(variant="complex"), "clevr_complex", id="complex"),
    pytest.param(Clevr(variant="1fov"), "clevr_1fov", id="1fov"),
    pytest.param(EdgesShoes(), "edges_and_shoes", id="shoes"),
]
SITE = "http://efrosgans.eecs.berkeley.edu/HessianPenalty/resources/"


def halved(images):
    """As the files of lower levels were made: means in float, one level after the other."""
    images = images.astype(np.float32)
    return (images[..., ::2, ::2] + images[..., ::2, 1::2] + images[..., 1::2, ::2] + images[..., 1::2, 1::2]) * 0.25


def written(images):
    return torch.from_numpy(np.rint(images).clip(0, 255).astype(np.uint8))


def all_of(images):
    return images.images(torch.arange(len(images)))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(path)


def refused(data, kind=ValueError):
    with pytest.raises(kind) as caught:
        data.open()
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(data.path or "PATH"), "PATH")


# ---------------------------------------------------------------------------------------------- which file is read
@pytest.mark.parametrize(("data", "name"), SETS)
def test_the_file_of_the_resolution_and_else_the_next_higher_one(tmp_path, data, name):
    files = {8: noise(3, 8, seed=1), 32: noise(3, 32, seed=2), 64: noise(3, 64, seed=3)}
    for side, images in files.items():
        write_images(tmp_path / f"{name}-r{side.bit_length() - 1:02d}.tfrecords", images)

    def at(side):
        opened = type(data)(**{**vars(data), "path": tmp_path, "resolution": side}).open()
        assert (len(opened), opened.channels, opened.resolution, opened.classes) == (3, 3, side, ())
        assert opened.labels(torch.arange(3)) is None
        return all_of(opened)

    assert torch.equal(at(8), torch.from_numpy(files[8]))
    assert torch.equal(at(32), torch.from_numpy(files[32]))
    assert torch.equal(at(16), written(halved(files[32])))
    assert torch.equal(at(4), written(halved(files[8])))


def test_files_in_a_folder_of_their_name_and_a_file_by_itself(tmp_path):
    images = noise(2, 16)
    path = write_images(tmp_path / "clevr_simple" / "clevr_simple-r04.tfrecords", images)
    for given_path in (tmp_path, path.parent, path):
        assert torch.equal(all_of(Clevr(given_path, resolution=16).open()), torch.from_numpy(images))
    assert torch.equal(all_of(Clevr(path, resolution=4).open()), written(halved(halved(images))))


def test_batches_are_indexed_and_never_mirrored(tmp_path):
    images = noise(5, 8)
    opened = Clevr(write_images(tmp_path / "a.tfrecords", images), resolution=8).open()
    index = torch.tensor([4, 0, 4])
    shown = opened.images(index, rng=torch.Generator().manual_seed(0))
    assert torch.equal(shown, torch.from_numpy(images[[4, 0, 4]]))
    with pytest.raises(IndexError, match="has 5 records and none of number 5"):
        opened.images(torch.tensor([5]))
    assert torch.equal(all_of(pickle.loads(pickle.dumps(opened))), torch.from_numpy(images))


def test_gray_records(tmp_path):
    opened = Clevr(write_images(tmp_path / "a.tfrecords", noise(2, 8, channels=1)), resolution=8).open()
    assert opened.channels == 1
    assert "8 x 8 gray" in opened.describe()


@given(st.integers(0, 1000), st.sampled_from([1, 2, 4, 8, 16]))
def test_means_are_rounded_once_at_the_end(seed, side):
    images = noise(1, 16, seed=seed)
    means = images.astype(np.float32)
    while means.shape[-1] > side:
        means = halved(means)
    assert torch.equal(block_means(torch.from_numpy(images), side), written(means))


# ---------------------------------------------------------------------------------------------- folders and zip files
def test_folder_and_zip_file_of_images(tmp_path):
    images = noise(3, 16)
    for i, image in enumerate(images):
        save(tmp_path / "scenes" / f"{i % 2}" / f"img{i}.png", image)
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        for i, image in enumerate(images):
            file = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(file, "png")
            archive.writestr(f"img{i}.png", file.getvalue())
    folder = Clevr(tmp_path / "scenes", resolution=16).open()
    assert torch.equal(all_of(folder), torch.from_numpy(images[[0, 2, 1]]))  # by name; sub-folders are no classes
    assert folder.classes == ()
    reduced = Clevr(tmp_path / "scenes.zip", resolution=8).open()
    assert torch.equal(all_of(reduced), written(halved(images)))
    assert reduced.describe().endswith("shown at 8 x 8 (means of 2 x 2 pixels)")
    assert torch.equal(all_of(Clevr(tmp_path / "scenes.zip", resolution=8, memory=0.0).open()), all_of(reduced))


@pytest.mark.parametrize("size", [(24, 24), (8, 8), (16, 32), (48, 48)])
def test_images_that_means_do_not_bring_to_the_resolution(tmp_path, size):
    save(tmp_path / "a.png", np.zeros((3, *size[::-1]), dtype=np.uint8))
    assert refused(Clevr(tmp_path, resolution=16)) == (
        f"Clevr: a.png in PATH is {size[0]} x {size[1]} pixels; "
        "for resolution=16 squares of 16, 32, 64, ... pixels are needed (ImageFolder resizes any)"
    )


def test_images_of_several_sizes(tmp_path):
    for i, side in enumerate((16, 32)):
        save(tmp_path / f"{i}.png", noise(1, side)[0])
    assert refused(Clevr(tmp_path, resolution=16)) == "1.png in PATH is 32 x 32 pixels; 16 x 16 is expected"


# ---------------------------------------------------------------------------------------------- nothing that will do
@pytest.mark.parametrize(("data", "name"), SETS)
def test_missing_files_are_named_with_their_site(tmp_path, data, name):
    def at(path):
        return type(data)(**{**vars(data), "path": path})

    for path in ("", str(tmp_path / "no")):
        text = refused(at(path), FileNotFoundError)
        assert f"give the folder with {name}-r07.tfrecords of {SITE} (or a " in text
    text = refused(at(tmp_path), FileNotFoundError)
    assert f"PATH holds neither its files nor images; get {name}-r07.tfrecords of {SITE} and put it there" in text
    write_images(tmp_path / f"{name}-r03.tfrecords", noise(1, 8))
    write_images(tmp_path / f"{name}-r02.tfrecords", noise(1, 4))
    text = refused(at(tmp_path), FileNotFoundError)
    assert text.endswith(
        f": PATH has nothing higher than {name}-r03.tfrecords; get {name}-r07.tfrecords of {SITE} and put it there"
    )


def test_shoes_can_be_prepared_instead(tmp_path):
    assert "orthogen data prepare edges2shoes" in refused(EdgesShoes(tmp_path), FileNotFoundError)


def test_a_file_of_another_size_than_its_name_says(tmp_path):
    write_images(tmp_path / "clevr_simple-r05.tfrecords", noise(1, 8))
    assert "r05.tfrecords has images that are 8 x 8 pixels; for resolution=32 squares of 32," in refused(
        Clevr(tmp_path, resolution=32)
    )


def test_records_of_several_shapes_without_images_and_none(tmp_path):
    path = tmp_path / "a.tfrecords"
    write_records(path, [example(noise(1, 8)[0]), example(noise(1, 8, channels=1)[0]), b"\x08"])
    opened = Clevr(path, resolution=8).open()
    with pytest.raises(ValueError, match=re.escape(f"record 1 of {path} has an image of shape (1, 8, 8) and record 0")):
        opened.images(torch.tensor([1]))
    with pytest.raises(ValueError, match=re.escape(f"record 2 of {path} ends within a number")):
        opened.images(torch.tensor([2]))
    assert refused(Clevr(write_records(path, []), resolution=8)) == "PATH holds no records; copy the file again"
    assert refused(Clevr(write_records(path, [b"\x08"]), resolution=8)) == "record 0 of PATH ends within a number"


def test_a_truncated_file_names_the_record_when_it_is_opened(tmp_path):
    path = write_images(tmp_path / "clevr_simple-r03.tfrecords", noise(5, 8))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=re.escape(f"record 4 of {path} is cut off after")):
        Clevr(tmp_path, resolution=8).open()


# ---------------------------------------------------------------------------------------------- settings
def test_settings(unchecked):
    for make, says in (
        (lambda: Clevr(variant="u"), "Clevr(variant='u'): the variants are simple, complex, 1fov"),
        (lambda: Clevr(resolution=100), "Clevr(resolution=100): give a power of two, 4 or more"),
        (lambda: EdgesShoes(resolution=2), "EdgesShoes(resolution=2): give a power of two, 4 or more"),
        (lambda: EdgesShoes(workers=0), "EdgesShoes(workers=0): give at least 1 thread"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            make()


def test_descriptions_read_back(tmp_path):
    for data in (Clevr(tmp_path, variant="1fov", resolution=64), EdgesShoes(tmp_path, memory=1.0)):
        assert from_json(to_json(data)) == data
