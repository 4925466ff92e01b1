"""ImageFolder and ImageArchive: what comes out of good files, pixel by pixel."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orthogen.core.record import from_json, to_json
from orthogen.data._decode import Framing
from orthogen.data._sources import natural
from orthogen.data.image_archive import ImageArchive
from orthogen.data.image_folder import ImageFolder


def noise(height, width, channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def encoded(pixels, kind="png", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def write_zip(path, images, labels=..., **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, pixels in images.items():
            archive.writestr(name, encoded(pixels))
        if labels is not ...:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def all_of(images, **options):
    return images.images(torch.arange(len(images)), **options)


def rows(pixels):
    """(h, w, c) or (h, w) of numpy as (c, h, w)."""
    pixels = torch.from_numpy(np.array(pixels))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


# ---------------------------------------------------------------------------------------------- order and classes
def test_a_flat_folder_has_no_classes_and_natural_order(tmp_path):
    for name in ("img10", "img2", "img1"):
        save(tmp_path / f"{name}.png", np.full((4, 4), int(name[3:]), np.uint8))
    images = ImageFolder(tmp_path).open()
    assert all_of(images)[:, 0, 0, 0].tolist() == [1, 2, 10]
    assert (images.classes, images.channels, images.resolution) == ((), 1, 4)
    assert images.labels(torch.tensor([0])) is None


def test_sub_folders_are_classes(tmp_path):
    for i, name in enumerate(("class10/a.png", "class2/b.png", "class2/deeper/c.PNG", "class1/d.jpg")):
        save(tmp_path / name, np.full((4, 4), 10 * i, np.uint8))
    (tmp_path / ".cache").mkdir()
    images = ImageFolder(tmp_path).open()
    assert images.classes == ("class1", "class2", "class10")
    assert all_of(images)[:, 0, 0, 0].tolist() == [30, 10, 20, 0]
    assert images.labels(torch.arange(4)).tolist() == [0, 1, 1, 2]
    assert images.labels(torch.tensor([3, 0])).dtype == torch.int64


def test_other_files_are_passed_over(tmp_path):
    save(tmp_path / "a.png", noise(4, 4))
    for name in (".hidden.png", "notes.txt", "__MACOSX/a.png", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert len(ImageFolder(tmp_path).open()) == 1


def test_linked_folders_are_followed_once(tmp_path):
    save(tmp_path / "real" / "a.png", noise(4, 4))
    (tmp_path / "set").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "set" / "cat")
    os.symlink(tmp_path / "set", tmp_path / "real" / "loop")
    images = ImageFolder(tmp_path / "set").open()
    assert (len(images), images.classes) == (1, ("cat",))


def test_dataset_json_in_a_folder_takes_the_place_of_sub_folders(tmp_path):
    save(tmp_path / "00000" / "img00000000.png", noise(4, 4))
    save(tmp_path / "00001" / "img00000001.png", noise(4, 4))
    (tmp_path / "dataset.json").write_text('{"labels": null}')
    assert ImageFolder(tmp_path).open().classes == ()
    labels = [["00000/img00000000.png", 2], ["00001/img00000001.png", 0]]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    images = ImageFolder(tmp_path).open()
    assert (images.classes, images.labels(torch.arange(2)).tolist()) == (("0", "1", "2"), [2, 0])


def test_archive_reads_labels_of_stylegan(tmp_path):
    pixels = {f"{i // 2:05d}/img{i:08d}.png": noise(8, 8, seed=i) for i in range(5)}
    labels = [[name, (3 * i) % 4] for i, name in enumerate(pixels)]
    images = ImageArchive(write_zip(tmp_path / "a.zip", pixels, labels[::-1])).open()
    assert torch.equal(all_of(images), torch.stack([rows(p) for p in pixels.values()]))
    assert images.labels(torch.arange(5)).tolist() == [0, 3, 2, 1, 0]
    assert images.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("labels", [..., None])
def test_archive_without_labels_has_no_classes(tmp_path, labels):
    images = ImageArchive(
        write_zip(tmp_path / "a.zip", {"x/1.png": noise(4, 4), "y/1.png": noise(4, 4)}, labels)
    ).open()
    assert (len(images), images.classes, images.labels(torch.arange(2))) == (2, (), None)


def test_folder_and_archive_agree(tmp_path):
    pixels = {f"{i}.png": noise(9, 12, seed=i) for i in range(12)}
    for name, image in pixels.items():
        save(tmp_path / "f" / name, image)
    write_zip(tmp_path / "a.zip", pixels)
    a, b = (
        kind(path, resolution=6).open()
        for kind, path in ((ImageFolder, tmp_path / "f"), (ImageArchive, tmp_path / "a.zip"))
    )
    assert torch.equal(all_of(a), all_of(b))


@given(st.lists(st.text("ab019./", max_size=6)))
def test_natural_order_is_total_and_knows_numbers(names):
    ordered = sorted(names, key=natural)
    assert sorted(ordered[::-1], key=natural) == ordered
    assert sorted(["7", "x10", "x9", "x09", "10"], key=natural) == ["7", "10", "x09", "x9", "x10"]


# ---------------------------------------------------------------------------------------------- pixels
def test_center_crop_and_box(tmp_path):
    pixels = noise(5, 9)
    save(tmp_path / "a.png", pixels)
    assert torch.equal(all_of(ImageFolder(tmp_path).open())[0], rows(pixels[:, 2:7]))
    assert torch.equal(all_of(ImageFolder(tmp_path, crop=(1, 2, 4, 5)).open())[0], rows(pixels[2:5, 1:4]))
    save(tmp_path / "a.png", pixels.transpose(1, 0, 2))
    assert torch.equal(all_of(ImageFolder(tmp_path).open())[0], rows(pixels.transpose(1, 0, 2)[2:7]))


def test_no_crop_keeps_square_images(tmp_path):
    save(tmp_path / "a.png", noise(6, 6))
    assert torch.equal(all_of(ImageFolder(tmp_path, crop="none").open())[0], rows(noise(6, 6)))


@pytest.mark.parametrize("resize", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_resize_is_pillows_after_the_crop(tmp_path, resize):
    pixels = noise(20, 30)
    save(tmp_path / "a.png", pixels)
    want = Image.fromarray(pixels).crop((5, 0, 25, 20)).resize((8, 8), Image.Resampling[resize.upper()])
    images = ImageFolder(tmp_path, resolution=8, resize=resize).open()
    assert torch.equal(all_of(images)[0], rows(np.asarray(want)))
    assert f"center crop, resized to 8 ({resize})" in repr(images)


def test_box_filter_averages(tmp_path):
    save(tmp_path / "a.png", np.kron(np.array([[10, 20], [30, 40]], np.uint8), np.ones((3, 3), np.uint8)))
    images = ImageFolder(tmp_path, resolution=2, resize="box").open()
    assert all_of(images)[0, 0].tolist() == [[10, 20], [30, 40]]


def test_mixed_sizes_come_to_one_with_a_resolution(tmp_path):
    for i, (height, width) in enumerate(((4, 4), (8, 12), (30, 17))):
        save(tmp_path / f"{i}.png", np.full((height, width, 3), 50 * i, np.uint8))
    images = ImageFolder(tmp_path, resolution=6).open()
    assert all_of(images).shape == (3, 3, 6, 6)
    assert all_of(images).float().mean(dim=(1, 2, 3)).tolist() == [0, 50, 100]


def test_one_color_image_makes_the_set_rgb(tmp_path):
    gray, color = noise(4, 4, 1), noise(4, 4)
    save(tmp_path / "1.png", gray)
    save(tmp_path / "2.png", color)
    images = ImageFolder(tmp_path).open()
    assert images.channels == 3
    assert torch.equal(all_of(images)[0], rows(gray).expand(3, 4, 4))
    assert torch.equal(all_of(images)[1], rows(color))
    assert torch.equal(
        all_of(ImageFolder(tmp_path, channels=1).open())[1, 0],
        torch.from_numpy(np.asarray(Image.fromarray(color).convert("L")).copy()),
    )


def test_modes(tmp_path):
    gray = noise(4, 4, 1)
    deep = np.array([[0, 128, 129, 257], [384, 386, 65406, 65535]] * 2, np.uint16)  # 128 = 257 / 2 - 0.5
    alpha = np.dstack([np.full((4, 4, 3), 100, np.uint8), np.repeat([[0], [255], [0], [255]], 4, 1).astype(np.uint8)])
    Image.fromarray(gray).convert("1").save(tmp_path / "bits.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    Image.fromarray(alpha[..., 2:]).save(tmp_path / "gray_alpha.png")
    images = ImageFolder(tmp_path).open()
    bits, png, tif, transparent = all_of(images)[:, 0]
    assert images.channels == 1
    assert torch.equal(bits, torch.from_numpy(np.asarray(Image.fromarray(gray).convert("1")).astype(np.uint8) * 255))
    assert png[:2].tolist() == [[0, 0, 1, 1], [1, 2, 254, 255]]
    assert torch.equal(png, tif)
    assert transparent[:, 0].tolist() == [255, 100, 255, 100]

    Image.fromarray(alpha).save(tmp_path / "rgba.png")
    Image.fromarray(noise(4, 4)).quantize(16).save(tmp_path / "palette.gif")
    Image.fromarray(noise(4, 4)).convert("CMYK").save(tmp_path / "cmyk.tif")
    palette = Image.fromarray(noise(4, 4)).quantize(16)
    palette.save(tmp_path / "see_through.png", transparency=0)
    images = ImageFolder(tmp_path).open()
    by_name = dict(zip(sorted(os.listdir(tmp_path), key=natural), all_of(images), strict=True))
    assert images.channels == 3
    assert by_name["rgba.png"][:, :, 0].tolist() == [[255, 100, 255, 100]] * 3
    assert torch.equal(by_name["palette.gif"], rows(np.asarray(palette.convert("RGB"))))
    clear = torch.from_numpy(np.asarray(palette) == 0)
    assert clear.any()
    assert (by_name["see_through.png"][:, clear] == 255).all()
    assert torch.equal(by_name["see_through.png"][:, ~clear], rows(np.asarray(palette.convert("RGB")))[:, ~clear])
    assert torch.equal(
        by_name["cmyk.tif"], rows(np.asarray(Image.fromarray(noise(4, 4)).convert("CMYK").convert("RGB")))
    )


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_exif_turns_the_image_upright(tmp_path, kind):
    pixels = noise(4, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show a quarter turn clockwise
    save(tmp_path / f"a.{kind}", pixels, exif=exif)
    images = ImageFolder(tmp_path, crop=(0, 0, 4, 4)).open()
    assert torch.equal(all_of(images)[0], rows(np.rot90(pixels, -1)[:4, :4]))
    with pytest.raises(ValueError, match="is 4 x 8 pixels; the crop"):
        ImageFolder(tmp_path, crop=(0, 0, 5, 5)).open()


# ---------------------------------------------------------------------------------------------- memory and flips
@pytest.mark.parametrize("zipped", [False, True])
def test_streamed_equals_kept(tmp_path, zipped):
    pixels = {f"{i}.png": noise(6 + i % 3, 7, seed=i) for i in range(70)}
    for name, image in pixels.items():
        save(tmp_path / "f" / name, image)
    data, path = (ImageArchive, write_zip(tmp_path / "a.zip", pixels)) if zipped else (ImageFolder, tmp_path / "f")
    kept, streamed = (data(path, resolution=5, memory=memory).open() for memory in (1.0, 0.0))
    assert "kept in memory" in repr(kept)
    assert "decoded when asked for" in repr(streamed)
    index = torch.tensor([69, 0, 3, 3, 42])
    assert torch.equal(kept.images(index), streamed.images(index))
    assert torch.equal(all_of(kept), all_of(streamed))
    assert streamed.images(torch.zeros(0, dtype=torch.int64)).shape == (0, 3, 5, 5)


def test_memory_is_a_budget_in_gibibytes(tmp_path):
    for i in range(4):
        save(tmp_path / f"{i}.png", noise(4, 4))
    exactly = 4 * 3 * 4 * 4 / 2**30
    assert "kept" in repr(ImageFolder(tmp_path, memory=exactly).open())
    assert "kept" not in repr(ImageFolder(tmp_path, memory=exactly * 0.99).open())


def test_flip_is_driven_by_rng_alone(tmp_path):
    for i in range(40):
        save(tmp_path / f"{i}.png", noise(4, 4, seed=i))
    plain = all_of(ImageFolder(tmp_path).open())
    images = ImageFolder(tmp_path, flip=True).open()
    before = torch.get_rng_state()
    assert torch.equal(all_of(images), plain)
    a, b = (all_of(images, rng=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    mirrored = (a == plain.flip(3)).flatten(1).all(1)
    assert (mirrored | (a == plain).flatten(1).all(1)).all()
    assert 10 < mirrored.sum() < 30
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(all_of(ImageFolder(tmp_path).open(), rng=torch.Generator().manual_seed(3)), plain)


# ---------------------------------------------------------------------------------------------- descriptions
@pytest.mark.parametrize("data", [
    ImageFolder(), ImageArchive(), ImageFolder("a", resolution=64, crop=(1, 2, 3, 4), flip=True, channels=1),
    ImageArchive("b.zip", 32, "none", "box", memory=0.5),
])  # fmt: skip
def test_json_round_trip(data):
    again = from_json(json.loads(json.dumps(to_json(data))))
    assert again == data
    assert repr(again) == repr(data)


def test_path_objects_are_recorded_as_text(tmp_path):
    assert ImageFolder(tmp_path) == ImageFolder(str(tmp_path))
    assert from_json(to_json(ImageArchive(tmp_path))) == ImageArchive(tmp_path)


def test_describe_states_everything(tmp_path):
    for name in ("x/1.png", "y/2.png"):
        save(tmp_path / name, noise(4, 4))
    text = ImageFolder(tmp_path, resolution=2, crop=(0, 0, 3, 3), resize="box", flip=True).open().describe()
    assert text == (
        f"2 images of {tmp_path}, 2 x 2 RGB, crop (0, 0, 3, 3), resized to 2 (box), mirrored at random, 2 classes, "
        "kept in memory (0.0 MiB)"
    )


@settings(max_examples=60)
@given(st.integers(1, 500), st.integers(1, 500))
def test_center_box_is_the_largest_centered_square(width, height):
    left, top, right, bottom = Framing().box((width, height), "x")
    assert right - left == bottom - top == min(width, height)
    assert 0 <= width - right - left <= 1
    assert 0 <= height - bottom - top <= 1


# ---------------------------------------------------------------------------------------------- real images
def test_cartoon_heads_through_an_archive(shared_data, tmp_path):
    with np.load(shared_data / "avatars_toonhead_64_webp.npz") as heads:
        data, offsets = heads["data"], heads["offsets"]
        skin = heads["factors"][:200, list(heads["factor_names"]).index("skinColor")].tolist()
    names = [f"{i // 100:05d}/img{i:08d}.webp" for i in range(200)]
    with zipfile.ZipFile(tmp_path / "heads.zip", "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, data[offsets[i] : offsets[i + 1]].tobytes())
        archive.writestr("dataset.json", json.dumps({"labels": [list(pair) for pair in zip(names, skin, strict=True)]}))
    images = ImageArchive(tmp_path / "heads.zip").open()
    assert (len(images), images.channels, images.resolution) == (200, 3, 64)
    assert images.labels(torch.arange(200)).tolist() == skin
    assert images.classes == ("0", "1", "2", "3", "4")
    for i in (0, 57, 199):
        want = np.asarray(Image.open(io.BytesIO(data[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB"))
        assert torch.equal(images.images(torch.tensor([i]))[0], rows(want))
