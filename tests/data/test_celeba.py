"""CelebA: the two papers' crops, on synthetic images of its size."""

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from orthogen.core.record import from_json, to_json
from orthogen.data.celeba import CelebA


@pytest.fixture
def faces(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 218, 178, 3), dtype=np.uint8)
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for i, face in enumerate(pixels):
        Image.fromarray(face).save(folder / f"{i + 1:06d}.png")
    return folder, pixels


def all_of(images):
    return images.images(torch.arange(len(images)), rng=torch.Generator().manual_seed(0)).permute(0, 2, 3, 1).numpy()


def test_vp_crop_is_rows_57_to_184_and_columns_25_to_152(faces):
    folder, pixels = faces
    images = CelebA(folder, crop="vp").open()
    assert np.array_equal(all_of(images), pixels[:, 57:185, 25:153])
    assert (images.channels, images.resolution, images.classes) == (3, 128, ())


def test_orojar_crop_is_24_rows_and_4_columns_in_then_bicubic(faces):
    folder, pixels = faces
    want = [Image.fromarray(face[24:-24, 4:-4]).resize((128, 128), Image.Resampling.BICUBIC) for face in pixels]
    images = CelebA(folder).open()
    assert np.array_equal(all_of(images), np.stack([np.asarray(face) for face in want]))
    assert "crop (4, 24, 174, 194), resized to 128 (bicubic), not mirrored" in images.describe()
    assert np.array_equal(all_of(CelebA(folder, resolution=170).open()), pixels[:, 24:-24, 4:-4])


def test_zip_file_and_folder_agree(faces, tmp_path):
    folder, _ = faces
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"img_align_celeba/{path.name}")
    assert np.array_equal(all_of(CelebA(folder).open()), all_of(CelebA(tmp_path / "img_align_celeba.zip").open()))


def test_unaligned_images_are_refused(faces):
    folder, _ = faces
    Image.new("RGB", (200, 200)).save(folder / "000009.png")
    with pytest.raises(ValueError, match=r"^000009.png in .* is 200 x 200 pixels; 178 x 218 is expected$"):
        CelebA(folder).open()


def test_missing(tmp_path):
    give = "give the folder or zip file img_align_celeba of mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    for path, says in (
        ("", "no path was given"),
        (tmp_path / "no", f"{tmp_path / 'no'} does not exist"),
        (tmp_path, f"the folder {tmp_path} holds no images; accepted are"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            CelebA(path).open()
        assert str(caught.value).startswith(f"CelebA: {says}")
        assert give in str(caught.value)


def test_json_round_trip():
    assert from_json(to_json(CelebA("a", crop="vp"))) == CelebA("a", crop="vp")
