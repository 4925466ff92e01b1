"""What bad files get: one line that names the file and says what to do, when the set is opened and not before."""

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from orthogen.data.image_archive import ImageArchive
from orthogen.data.image_folder import ImageFolder


def png(side=4, mode="RGB", kind="png"):
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, kind)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side):
    """A small PNG that claims to be large."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def archive(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def refused(data, kind=ValueError):
    """The one line that opening ``data`` gives."""
    with pytest.raises(kind) as caught:
        data.open()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 350 + len(str(data.path)) * 2
    return text


@pytest.fixture(params=["folder", "zip"])
def put(request, tmp_path):
    """Write members into a folder or a zip file; return the data set of it."""

    def write(members, **options):
        if request.param == "zip":
            return ImageArchive(archive(tmp_path / "set.zip", members), **options)
        for name, content in members.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(content)
        return ImageFolder(tmp_path / "set", **options)

    return write


# ---------------------------------------------------------------------------------------------- paths
def test_nothing_is_touched_before_open(tmp_path):
    ImageFolder(tmp_path / "nowhere")
    ImageArchive("/nowhere/at/all.zip")


@pytest.mark.parametrize(("kind", "what"), [(ImageFolder, "folder"), (ImageArchive, "zip file")])
def test_missing_path(tmp_path, kind, what):
    text = refused(kind(), FileNotFoundError)
    assert text == f"{kind.__name__}: no path was given; give the {what} that holds the images"
    text = refused(kind(tmp_path / "no"), FileNotFoundError)
    assert text == f"{kind.__name__}: {tmp_path}/no does not exist; give the {what} that holds the images"


def test_folder_and_zip_taken_for_each_other(tmp_path):
    path = archive(tmp_path / "a.zip", {"a.png": png()})
    assert refused(ImageFolder(path)).endswith("is a file; give a folder (ImageArchive opens a zip of images)")
    assert refused(ImageArchive(tmp_path)).endswith(
        "is a folder; give a zip file (ImageFolder opens a folder of images)"
    )


def test_empty(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "notes.txt").write_text("no image")
    assert refused(ImageFolder(tmp_path / "f")) == (
        f"the folder {tmp_path}/f holds no images; accepted are .bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    )
    assert "set.zip holds no images; accepted are" in refused(ImageArchive(archive(tmp_path / "set.zip", {})))


def test_empty_class_folder(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(png())
    (tmp_path / "dog").mkdir()
    assert refused(ImageFolder(tmp_path)) == f"the class folder {tmp_path}/dog holds no images; add some or remove it"


def test_images_beside_class_folders(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("cat/1.png", "2.png"):
        (tmp_path / name).write_bytes(png())
    assert "has images in sub-folders and beside them (2.png); put every image" in refused(ImageFolder(tmp_path))


# ---------------------------------------------------------------------------------------------- images
def test_no_image_at_all(put):
    text = refused(put({"a/1.png": png(), "a/2.png": b"this is text"}))
    assert text.startswith("a/2.png in ")
    assert text.endswith("is no image in a format that Pillow reads; replace or remove it")


def test_empty_file(put):
    assert "a/1.jpg in " in refused(put({"a/1.jpg": b""}))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "tiff", "ppm"])
def test_truncated(put, kind):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, kind)
    whole = file.getvalue()
    suffix = {"jpeg": "jpg"}.get(kind, kind)
    text = refused(put({f"a/1.{suffix}": whole, f"a/2.{suffix}": whole[: len(whole) // 2]}))
    assert text.startswith(f"a/2.{suffix} in ")
    assert text.endswith("replace or remove it")


def test_truncated_while_streaming_is_named_when_it_is_met(put):
    images = put({"a/1.png": png(64), "a/2.png": png(64)[:-30]}, memory=0.0).open()
    images.images(torch.tensor([0]))
    with pytest.raises(ValueError, match=r"a/2.png in .* cannot be read \(.*truncated.*\); replace or remove it"):
        images.images(torch.tensor([0, 1]))


def test_file_that_vanishes_while_streaming(tmp_path):
    for name in "12":
        (tmp_path / f"{name}.png").write_bytes(png())
    images = ImageFolder(tmp_path, memory=0.0).open()
    (tmp_path / "2.png").unlink()
    with pytest.raises(ValueError, match=r"2.png in .* cannot be read \(.*No such file"):
        images.images(torch.tensor([1]))


@pytest.mark.parametrize("side", [10_000, 50_000])  # Pillow warns of the first and refuses the second
def test_decompression_bomb(put, side):
    text = refused(put({"a.png": png(), "b.png": bomb(side)}))
    assert text.startswith("b.png in ")
    assert f"claims more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}; shrink or remove it" in text


def test_mixed_sizes(put):
    text = refused(put({"1.png": png(4), "2.png": png(6)}))
    assert "2.png in " in text
    assert " is 6 x 6 pixels and 1.png in " in text
    assert text.endswith(" 4 x 4; give a resolution to bring all to one size")


def test_crop_none_takes_square_images(tmp_path):
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    text = refused(ImageFolder(tmp_path, crop="none", resolution=4))
    assert text.endswith("is 6 x 4 pixels; crop='none' takes square images, 'center' any")


def test_crop_beyond_the_image(put):
    text = refused(put({"1.png": png(8), "2.png": png(6)}, crop=(1, 1, 8, 8), resolution=4))
    assert text.startswith("2.png in ")
    assert text.endswith("is 6 x 6 pixels; the crop (1, 1, 8, 8) reaches beyond it")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_range(put, mode):
    text = refused(put({"a.tif": png(4, mode, "tiff")}))
    assert text.endswith(f"has pixels of mode {mode} (32 bits); save it with 8 or 16 bits a channel")


# ---------------------------------------------------------------------------------------------- zip files
def test_corrupt_zip(tmp_path):
    whole = archive(tmp_path / "a.zip", {f"{i}.png": png() for i in range(5)}).read_bytes()
    for broken in (b"", b"not a zip", whole[: len(whole) // 2], whole[:-10]):
        (tmp_path / "a.zip").write_bytes(broken)
        text = refused(ImageArchive(tmp_path / "a.zip"))
        assert text.startswith(f"ImageArchive: {tmp_path}/a.zip is not a whole zip file (")
        assert text.endswith("copy or make it again")


def test_damaged_member(tmp_path):
    path = archive(tmp_path / "a.zip", {"1.png": png(), "2.png": png(64)})
    data = bytearray(path.read_bytes())
    data[data.index(b"2.png") + 60] ^= 255
    path.write_bytes(data)
    text = refused(ImageArchive(path))
    assert text.startswith("2.png in ")
    assert text.endswith("replace or remove it")


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "C:/a.png"])
def test_members_that_point_outside(tmp_path, name):
    text = refused(ImageArchive(archive(tmp_path / "a.zip", {"ok.png": png(), name: png()})))
    assert text == f"ImageArchive: member {name!r} of {tmp_path}/a.zip points outside the archive; make it again"


def test_member_that_claims_to_be_huge(tmp_path):
    path = archive(tmp_path / "a.zip", {"1.png": png()})
    data = path.read_bytes()
    size = struct.pack("<I", len(png()))
    entry = data.index(b"PK\x01\x02")
    path.write_bytes(data[:entry] + data[entry:].replace(size + size, size + struct.pack("<I", 2**31), 1))
    assert refused(ImageArchive(path)) == (
        f"1.png in {path} cannot be read (it claims more than 1 GiB); replace or remove it"
    )


# ---------------------------------------------------------------------------------------------- dataset.json
NUMBER = "a class number from 0 to 99,999 is accepted"


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([["1.png", 0]], "has no label for 2.png; add one, or write null for no labels at all"),
        ([], "has no label for 1.png; add one, or write null for no labels at all"),
        ([["1.png", 0], ["3.png", 1]], "has a label for 3.png, which is not there; drop the entry or add the file"),
        ([["1.png", 0], ["2.png", 1.0]], "gives 2.png the label 1.0; " + NUMBER),
        ([["1.png", 0], ["2.png", True]], "gives 2.png the label true; " + NUMBER),
        ([["1.png", 0], ["2.png", -1]], "gives 2.png the label -1; " + NUMBER),
        ([["1.png", 0], ["2.png", 10**9]], "gives 2.png the label 1000000000; " + NUMBER),
        ([["1.png", 0], ["2.png", [0.5, 1]]], "gives 2.png the label [0.5, 1]; " + NUMBER),
        ([["1.png", 0], ["1.png", 1], ["2.png", 1]], "gives 1.png the labels 0 and 1; keep one"),
        ([["1.png"]], 'has the entry ["1.png"]; ["FILE", CLASS] is accepted'),
        ({"1.png": 0}, 'has the entry {"1.png": 0}; ["FILE", CLASS] is accepted'),
        ("no", 'has the entry "no"; ["FILE", CLASS] is accepted'),
    ],
)  # fmt: skip
def test_labels_that_do_not_match(put, labels, says):
    data = put({"1.png": png(), "2.png": png(), "dataset.json": json.dumps({"labels": labels}).encode()})
    assert refused(data) == f"dataset.json in {data.path} {says}"


def test_labels_that_are_no_json(put):
    members = {"1.png": png()}
    assert "is not JSON (" in refused(put({**members, "dataset.json": b'{"labels": ['}))
    assert "is not JSON (" in refused(put({**members, "dataset.json": b"\xff\xfe\x00"}))
    assert "is not JSON (" in refused(put({**members, "dataset.json": b"[" * 100_000}))
    text = refused(put({**members, "dataset.json": b"[1]"}))
    assert text.endswith('holds a list; {"labels": [["FILE", CLASS], ...]} is accepted')


# ---------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize("kind", [ImageFolder, ImageArchive])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resolution": 0}, "resolution=0: give a side in pixels, or None for the images' own"),
        ({"crop": (0, 0, 4, 5)}, "crop=(0, 0, 4, 5): a box is (left, top, right, bottom), square and not empty"),
        ({"crop": (-1, 0, 4, 5)}, "crop=(-1, 0, 4, 5): a box is (left, top, right, bottom), square and not empty"),
        ({"crop": (4, 4, 4, 4)}, "crop=(4, 4, 4, 4): a box is (left, top, right, bottom), square and not empty"),
        ({"crop": "squash"}, "crop='squash' resizes every image; give the resolution to resize to"),
        ({"crop": "shorter"}, "crop='shorter' resizes every image; give the resolution to resize to"),
        ({"channels": 2}, "(channels=2): give 1 (gray), 3 (RGB) or None (RGB where an image has color)"),
        ({"workers": 0}, "(workers=0): give at least 1 thread"),
        ({"memory": -1.0}, "(memory=-1.0): give the GiB that decoded images may take, 0 to keep none"),
        ({"memory": float("nan")}, "(memory=nan): give the GiB that decoded images may take, 0 to keep none"),
    ],
)
def test_settings(kind, options, says):
    with pytest.raises(ValueError, match=r"give|box") as caught:
        kind("a", **options)
    assert str(caught.value).removeprefix(kind.__name__) == says


def test_names_of_crops_and_filters():
    # in a process of its own, where the shape checker does not see the wrong type first
    code = """
from orthogen.data.image_folder import ImageFolder
for options in ({"crop": "middle"}, {"resize": "cubic"}):
    try:
        ImageFolder("a", **options)
    except ValueError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "crop='middle': give 'center', 'shorter', 'squash', 'none' or a box (left, top, right, bottom)",
        "resize='cubic': the filters are nearest, box, bilinear, hamming, bicubic, lanczos",
    ]
