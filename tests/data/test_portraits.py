"""Ffhq and AnimeFace: torchvision's resize of the shorter side and its center crop, on small images."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from orthogen.core.record import from_json, to_json
from orthogen.data._decode import Framing, decode
from orthogen.data.anime_face import AnimeFace
from orthogen.data.ffhq import Ffhq

KINDS = [Ffhq, AnimeFace]


def noise(seed, width, height):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def drawn(tmp_path):
    """Images of several aspects in sub-folders, in natural order."""
    images = [noise(i, *size) for i, size in enumerate([(40, 40), (41, 30), (30, 47), (16, 16)])]
    for i, image in enumerate(images):
        folder = tmp_path / "faces" / f"{i // 2:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{i + 8}.png")
    return tmp_path / "faces", images


def of_torchvision(image, side):
    """What the released code's transform makes of an image."""
    return torch.from_numpy(np.array(v2.CenterCrop(side)(v2.Resize(side)(image)))).permute(2, 0, 1)


def all_of(images, **options):
    return images.images(torch.arange(len(images)), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_torchvisions(drawn, kind):
    folder, images = drawn
    opened = kind(folder, resolution=24).open()
    assert torch.equal(all_of(opened), torch.stack([of_torchvision(image, 24) for image in images]))
    assert (opened.channels, opened.resolution, opened.classes) == (3, 24, ())
    assert opened.labels(torch.arange(2)) is None
    assert "shorter side resized to 24 (bilinear), center crop, mirrored at random, no classes" in opened.describe()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
@settings(max_examples=100)
def test_shorter_is_torchvisions_at_any_size(width, height, side):
    image = noise(0, width, height)
    framing = Framing(side, "shorter", "bilinear")
    file = io.BytesIO()
    image.save(file, "png")
    assert torch.equal(torch.from_numpy(decode(file.getvalue(), "a", framing, 3).copy()), of_torchvision(image, side))


@pytest.mark.parametrize("kind", KINDS)
def test_zip_file_and_folder_agree_and_have_no_classes(drawn, tmp_path, kind):
    folder, _ = drawn
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, name)
        archive.writestr("dataset.json", json.dumps({"labels": [[name, 1] for name in names]}))
    packed = kind(tmp_path / "faces.zip", resolution=16).open()
    assert packed.classes == ()
    assert torch.equal(all_of(packed), all_of(kind(folder, resolution=16).open()))


@pytest.mark.parametrize("kind", KINDS)
def test_flips_with_an_rng_only(drawn, kind):
    folder, _ = drawn
    images, index = kind(folder, resolution=16).open(), torch.arange(4).repeat(50)
    plain = images.images(index)
    shown = images.images(index, rng=torch.Generator().manual_seed(0))
    same = (shown == plain).flatten(1).all(1)
    assert 70 < same.sum() < 130
    assert torch.equal(shown[~same], plain[~same].flip(3))


def test_gray_images_become_rgb(tmp_path):
    noise(0, 20, 20).convert("L").save(tmp_path / "a.png")
    assert AnimeFace(tmp_path, resolution=16).open().channels == 3


def test_the_papers_sizes():
    assert (Ffhq().resolution, AnimeFace().resolution) == (256, 128)


def test_json_round_trip():
    for kind in KINDS:
        assert from_json(to_json(kind("a", flip=False))) == kind("a", flip=False)


def test_squash_needs_no_square(tmp_path):
    image = noise(0, 30, 20)
    image.save(tmp_path / "a.png")
    opened = AnimeFace(tmp_path, resolution=16, crop="squash").open()
    want = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(all_of(opened)[0].numpy(), want)
    assert "squashed to 16 x 16 (bilinear)" in opened.describe()


@pytest.mark.parametrize(
    ("kind", "give"),
    [
        (Ffhq, "give the folder or zip file of images1024x1024 of github.com/NVlabs/ffhq-dataset"),
        (AnimeFace, "give a folder or zip file of drawn faces, of whichever set (several go by that name)"),
    ],
)
def test_missing(tmp_path, kind, give):
    for path, says in (("", "no path was given"), (tmp_path / "no", f"{tmp_path / 'no'} does not exist")):
        with pytest.raises(FileNotFoundError) as caught:
            kind(path).open()
        assert str(caught.value).startswith(f"{kind.__name__}: {says}; {give}, wherever it lies, as {kind.__name__}(")
    with pytest.raises(FileNotFoundError) as caught:
        kind(tmp_path).open()
    assert f"{kind.__name__}: the folder {tmp_path} holds no images; accepted are" in str(caught.value)
    assert str(caught.value).endswith(f".webp; {give}")


def test_the_same_people_twice(tmp_path):
    for name in ("images1024x1024", "thumbnails128x128"):
        (tmp_path / name).mkdir()
        noise(0, 8, 8).save(tmp_path / name / "00000.png")
    with pytest.raises(ValueError, match=r"holds images1024x1024 and thumbnails128x128, of the same people; give one"):
        Ffhq(tmp_path).open()
    assert len(Ffhq(tmp_path / "thumbnails128x128", resolution=8).open()) == 1
