"""Cifar10 and Cifar100 out of every form they come in, on small files of the same make."""

import io
import math
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from orthogen.core.record import from_json, to_json
from orthogen.data.cifar import HUNDRED, TEN, TWENTY, Cifar10, Cifar100

N = 3  # images in a part


def part(seed, classes):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (N, 3072), dtype=np.uint8), rng.integers(0, classes, N).tolist()


TRAIN = [part(i, 10) for i in range(5)]
TEST = part(5, 10)
FINE, COARSE = part(6, 100), part(7, 20)[1]
NAMED = {f"data_batch_{i + 1}": TRAIN[i] for i in range(5)} | {"test_batch": TEST}


def of_python_2(batch):
    """The batch as Python 2 pickled the published files: byte strings throughout, an array's numbers among them."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value  # BINSTRING

    def number(value):
        return b"J" + struct.pack("<i", value)  # BININT

    def tupled(*parts):
        return b"(" + b"".join(parts) + b"t"

    def written(value):
        if isinstance(value, list):
            return b"](" + b"".join(map(number, value)) + b"e"
        if isinstance(value, str):
            return text(value.encode())
        kind = b"cnumpy\ndtype\n" + tupled(text(b"u1"), number(0), number(1)) + b"R"
        kind += tupled(number(3), text(b"|"), b"NNN", number(-1), number(-1), number(0)) + b"b"
        made = b"cnumpy.core.multiarray\n_reconstruct\n"
        made += tupled(b"cnumpy\nndarray\n", tupled(number(0)), text(b"b")) + b"R"
        return made + tupled(number(1), tupled(*map(number, value.shape)), kind, b"\x89", text(value.tobytes())) + b"b"

    return b"\x80\x02}(" + b"".join(text(key.encode()) + written(value) for key, value in batch.items()) + b"u."


WRITERS = [of_python_2, *(lambda batch, p=p: pickle.dumps(batch, protocol=p) for p in (0, 2, 4, 5))]


def records(rows, *labels):
    return np.concatenate([*(np.array(column, dtype=np.uint8)[:, None] for column in labels), rows], axis=1).tobytes()


@pytest.fixture(params=WRITERS, ids=["python 2", "protocol 0", "protocol 2", "protocol 4", "protocol 5"])
def pickles(tmp_path, request):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, (rows, labels) in NAMED.items():
        (folder / name).write_bytes(request.param({"batch_label": "a batch", "labels": labels, "data": rows}))
    return folder


@pytest.fixture
def hundred(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        batch = {"filenames": ["a.png"] * N, "fine_labels": FINE[1], "coarse_labels": COARSE, "data": FINE[0]}
        (folder / name).write_bytes(of_python_2({k: v for k, v in batch.items() if k != "filenames"}))
    return folder


def packed(folder, name, *, mode="w:gz"):
    path = folder.parent / name
    with tarfile.open(path, mode) as archive:
        archive.add(folder, folder.name)
    return path


def binary(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, (rows, labels) in NAMED.items():
        (folder / f"{name}.bin").write_bytes(records(rows, labels))
    return folder


def check(images, parts):
    index = torch.arange(len(images))
    rows = torch.from_numpy(np.concatenate([rows for rows, _ in parts]))
    assert torch.equal(images.images(index), rows.view(-1, 3, 32, 32))
    assert images.labels(index).tolist() == [label for _, labels in parts for label in labels]
    assert images.labels(index).dtype == torch.int64
    assert (images.channels, images.resolution) == (3, 32)


def no(path, **options):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        Cifar10(path, **options).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- what is read
def test_pickles_of_any_python(pickles):
    for path in (pickles, pickles.parent):
        check(Cifar10(path).open(), TRAIN)
        check(Cifar10(path, split="test").open(), [TEST])
    images = Cifar10(pickles.parent, flip=False).open()
    assert images.describe() == (
        f"15 images of the train split of CIFAR-10 in {pickles}, 32 x 32 RGB, not resized, not mirrored, 10 classes, "
        "kept in memory (0.0 MiB)"
    )
    assert images.classes == TEN.classes
    assert (
        images.class_counts().tolist() == np.bincount([y for _, labels in TRAIN for y in labels], minlength=10).tolist()
    )


def test_binary_records(tmp_path):
    folder = binary(tmp_path)
    for path in (folder, tmp_path):
        check(Cifar10(path).open(), TRAIN)
        check(Cifar10(path, split="test").open(), [TEST])


@pytest.mark.parametrize("make", ["pickles", "binary"])
def test_archives_are_read_packed(tmp_path, make):
    folder = tmp_path / "cifar-10-batches-py"
    if make == "binary":
        folder = binary(tmp_path)
    else:
        folder.mkdir()
        for name, (rows, labels) in NAMED.items():
            (folder / name).write_bytes(of_python_2({"labels": labels, "data": rows}))
    path = packed(folder, "cifar-10-python.tar.gz" if make == "pickles" else "cifar-10-binary.tar.gz")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    for at in (path, tmp_path):
        check(Cifar10(at).open(), TRAIN)
        check(Cifar10(at, split="test").open(), [TEST])
    assert f"in {path}," in Cifar10(tmp_path).open().describe()


def test_order_of_an_archive_does_not_matter(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in reversed(sorted(NAMED)):
            data = records(*NAMED[name])
            member = tarfile.TarInfo(f"./cifar-10-batches-bin/{name}.bin")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    check(Cifar10(path).open(), TRAIN)


def test_hundred_classes_or_twenty(hundred):
    images = Cifar100(hundred.parent).open()
    check(images, [FINE])
    assert images.classes == HUNDRED.classes
    assert len(images.classes) == 100
    coarse = Cifar100(hundred, coarse=True).open()
    check(coarse, [(FINE[0], COARSE)])
    assert coarse.classes == TWENTY.classes
    assert len(coarse.classes) == 20
    assert coarse.class_counts().sum() == N
    check(Cifar100(packed(hundred, "cifar-100-python.tar.gz"), split="test").open(), [FINE])


def test_hundred_classes_of_binary_records(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(records(FINE[0], COARSE, FINE[1]))
    check(Cifar100(tmp_path).open(), [FINE])
    check(Cifar100(tmp_path, coarse=True).open(), [(FINE[0], COARSE)])


def test_class_names_are_in_alphabetical_order_as_published():
    for published in (TEN, HUNDRED, TWENTY):
        assert list(published.classes) == sorted(set(published.classes))


def test_flips_with_an_rng_only(hundred):
    images, index = Cifar100(hundred).open(), torch.arange(N).repeat(100)
    plain = images.images(index)
    assert torch.equal(plain, images.images(index))
    before = torch.get_rng_state()
    drawn = images.images(index, rng=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    same = (drawn == plain).flatten(1).all(1)
    assert torch.equal(drawn[~same], plain[~same].flip(3))
    assert 100 < same.sum() < 200
    assert torch.equal(Cifar100(hundred, flip=False).open().images(index, rng=torch.Generator().manual_seed(0)), plain)


@pytest.mark.parametrize("side", [16, 48])
def test_another_resolution_is_pillows_bilinear(hundred, side):
    images = Cifar100(hundred, resolution=side).open()
    own = Image.fromarray(FINE[0][1].reshape(3, 32, 32).transpose(1, 2, 0))
    want = np.asarray(own.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(images.images(torch.tensor([1]))[0].numpy(), want)
    assert f"{side} x {side} RGB, resized from 32 (bilinear)" in images.describe()
    assert "not resized" in Cifar100(hundred, resolution=32).open().describe()


def test_json_round_trip(tmp_path):
    for data in (Cifar10(tmp_path, split="test"), Cifar100(tmp_path, coarse=True, flip=False)):
        assert from_json(to_json(data)) == data


# ---------------------------------------------------------------------------------------------- npz of encoded files
def encode(rows, kind="png", side=32):
    file = io.BytesIO()
    Image.fromarray(rows.reshape(3, 32, 32).transpose(1, 2, 0)).resize((side, side)).save(file, kind)
    return file.getvalue()


def write_npz(path, **changed):
    files = [encode(rows) for rows in TEST[0]]
    arrays = {
        "data": np.frombuffer(b"".join(files), dtype=np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": np.array(TEST[1], dtype=np.int16),
        "label_names": np.array(TEN.classes),
    }
    np.savez(path, **{name: array for name, array in {**arrays, **changed}.items() if array is not None})
    return path


def test_npz(tmp_path):
    path = write_npz(tmp_path / "mine_test.npz")
    images = Cifar10(path, split="test").open()
    check(images, [TEST])
    assert images.describe().startswith(f"3 images of the test split of CIFAR-10 (PNG) in {path}, 32 x 32 RGB")
    check(Cifar10(write_npz(tmp_path / "b.npz", label_names=None)).open(), [TEST])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"labels": None}, "is no npz file of data, offsets and labels (labels is not a file in the archive)"),
        ({"labels": np.arange(4)}, "has labels of shape (4,) and type int64 for 3 images"),
        ({"labels": np.array([0.5, 1, 2])}, "has labels of shape (3,) and type float64 for 3 images"),
        ({"offsets": np.array([0, 10])}, "has offsets that do not cut its data into files"),
        ({"offsets": np.array([], dtype=np.int64)}, "has offsets that do not cut its data into files"),
        ({"offsets": np.array(7)}, "has offsets that do not cut its data into files"),
        ({"offsets": np.array([0.0, math.nan, 3.0])}, "has offsets that do not cut its data into files"),
        ({"label_names": np.array("cat")}, "has classes that begin with cat, not with airplane, automobile, bird"),
        (
            {"label_names": np.array(["cat", "dog"])},
            "has classes that begin with cat, dog, not with airplane, automobile, bird",
        ),
    ],
)
def test_npz_that_is_not_as_described(tmp_path, changed, says):
    path = write_npz(tmp_path / "a.npz", **changed)
    assert no(path) == f"Cifar10: {path} {says}"


def test_npz_that_claims_more_than_there_is_and_npz_of_one_array(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2**50,)}".replace(b"2**50", str(2**50).encode())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("data.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n")
    assert "is no npz file of data, offsets and labels (Unable to allocate 1.00 PiB" in no(tmp_path / "a.npz")
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    assert "is no npz file of data, offsets and labels (" in no(tmp_path / "b.npz")


def test_npz_whose_images_are_not_32_pixels(tmp_path):
    files = [encode(TEST[0][0]), encode(TEST[0][1], side=16), b"no image"]
    joined = {"data": np.frombuffer(b"".join(files), dtype=np.uint8)}
    path = write_npz(tmp_path / "a.npz", **joined, offsets=np.cumsum([0, *map(len, files)]))
    assert no(path) == f"Cifar10: image 1 in {path} is 16 x 16 pixels; 32 x 32 is expected"
    path = write_npz(tmp_path / "b.npz", data=np.frombuffer(files[2], dtype=np.uint8),
                     offsets=np.array([0, 8]), labels=np.array([1]))  # fmt: skip
    assert no(path).startswith(f"Cifar10: image 0 in {path} is no image in a format that Pillow reads")


def test_npz_of_the_other_split_or_of_objects(tmp_path):
    path = write_npz(tmp_path / "cifar10_train.npz")
    assert no(path, split="test") == f"Cifar10: {path} is the train split by its name; give that of split='test'"
    np.savez(tmp_path / "o.npz", data=np.array([print], dtype=object), offsets=np.arange(2), labels=np.arange(1))
    assert "is no npz file of data, offsets and labels (Object arrays cannot be loaded" in no(tmp_path / "o.npz")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut")
    assert "is no npz file" in no(tmp_path / "x.npz")


def test_jpeg_copy_of_cifar(shared_data):
    images = Cifar10(shared_data / "cifar10_jpeg_test.npz", split="test").open()
    assert images.describe().startswith("10,000 images of the test split of CIFAR-10 (JPEG) in ")
    assert images.class_counts().tolist() == [1000] * 10
    with np.load(shared_data / "cifar10_jpeg_test.npz") as arrays:
        i = 7777
        start, end = arrays["offsets"][i : i + 2]
        want = np.asarray(Image.open(io.BytesIO(arrays["data"][start:end].tobytes())))
        assert np.array_equal(images.images(torch.tensor([i]))[0].permute(1, 2, 0).numpy(), want)
        assert images.labels(torch.tensor([i])).item() == arrays["labels"][i] == 7


# ---------------------------------------------------------------------------------------------- what is refused
class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_runs_nothing(hundred, tmp_path):
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"):
        (tmp_path / name).write_bytes(
            pickle.dumps({"labels": [0], "data": Malicious(tmp_path / "written")}, protocol=2)
        )
    assert no(tmp_path).replace("_io.open", "io.open") == (  # 3.11 and later call it differently
        f"Cifar10: data_batch_1 in {tmp_path} names 'io.open', which images have no need of (nothing in it was run); "
        "copy CIFAR-10 again"
    )
    assert not (tmp_path / "written").exists()


ROWS = TEST[0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is no whole pickle (pickle exhausted before seeing STOP)"),
        (of_python_2({"data": TEST[0], "labels": TEST[1]})[:-200], "is no whole pickle ("),
        (pickle.dumps([1]), "has no array 'data' with rows of 3,072 bytes"),
        (pickle.dumps({"data": ROWS[:, :10], "labels": [1, 2, 3]}), "has no array 'data' with rows of 3,072 bytes"),
        (pickle.dumps({"data": ROWS, "labels": [1, 2]}), "has no list 'labels' with a label for each of its 3 images"),
        (pickle.dumps({"data": ROWS, "fine_labels": [1, 2, 3]}), "has no list 'labels' with a label for each of its 3"),
        (pickle.dumps({"data": ROWS, "labels": [1, 2, 2**70]}), "has labels in 'labels' of more than 64 bits"),
        (pickle.dumps({"data": ROWS.astype(float)}), "has an array of the type 'f8'; images are uint8"),
        (pickle.dumps({"data": np.array([print])}), "has an array of the type 'O8'; images are uint8"),
        (b"]r\xff\xff\xff\x7f.", "remembers 2,147,483,647 things in 7 bytes"),
        (b"\x96" + struct.pack("<Q", 2**40) + b"a.", "is no whole pickle (expected 1099511627776 bytes"),
        (b"cnumpy\nndarray\n}b.", "sets the state of a function"),
    ],
)  # fmt: skip
def test_pickles_that_hold_something_else(tmp_path, data, says):
    (tmp_path / "test_batch").write_bytes(data)
    assert no(tmp_path, split="test").startswith(f"Cifar10: test_batch in {tmp_path} {says}")


def test_records_that_are_cut(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(records(*TEST)[:-1])
    says = "has 9,218 bytes, which are no whole records of 3,073; copy CIFAR-10 again"
    assert no(tmp_path, split="test") == f"Cifar10: test_batch.bin in {tmp_path} {says}"
    (tmp_path / "test_batch.bin").write_bytes(b"")
    assert no(tmp_path, split="test").endswith("has no images; labels 0 to 9 are expected")


def test_labels_out_of_range(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(records(TEST[0], [0, 10, 3]))
    where = f"the test split of CIFAR-10 in {tmp_path}"
    assert no(tmp_path, split="test") == f"Cifar10: {where} has labels 0 to 10; labels 0 to 9 are expected"


def test_a_missing_part_is_named(tmp_path):
    folder = binary(tmp_path)
    (folder / "data_batch_3.bin").unlink()
    assert no(folder) == f"Cifar10: {folder / 'data_batch_3.bin'} is missing; unpack the archive again"
    path = packed(folder, "cifar-10-binary.tar.gz")
    assert no(path) == f"Cifar10: {path} does not hold all files of the train split; copy it again"


def test_an_archive_that_is_cut(tmp_path):
    folder = binary(tmp_path)
    path = packed(folder, "cifar-10-binary.tar.gz")
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 3):
        path.write_bytes(whole[:size])
        assert no(path).startswith(f"Cifar10: {path} is no whole tar archive (")


def test_a_byte_that_has_changed_in_a_packed_archive_is_found(tmp_path):
    folder = binary(tmp_path)
    path = packed(folder, "cifar-10-binary.tar.gz")
    whole = path.read_bytes()
    for at in range(len(whole) // 8, len(whole) - 8, len(whole) // 8):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert no(path).startswith(f"Cifar10: {path} ")


def test_an_archive_that_claims_a_file_of_a_tebibyte(tmp_path):
    claim = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    claim.size = 2**40
    (tmp_path / "cifar.tar").write_bytes(claim.tobuf() + bytes(2000))
    said = f"Cifar10: {tmp_path / 'cifar.tar'} is no whole tar archive (a file in it claims {2**40:,} bytes); copy it"
    assert no(tmp_path / "cifar.tar", split="test").startswith(said)


GIVE = "give the folder with cifar-10-python.tar.gz of www.cs.toronto.edu/~kriz/cifar.html, packed or unpacked"


def test_a_path_without_cifar(tmp_path):
    looked = "cifar-10-batches-py, cifar-10-batches-bin, cifar-10-python.tar.gz, cifar-10-binary.tar.gz"
    (tmp_path / "cat").mkdir()
    assert no(tmp_path) == (
        f"Cifar10: {tmp_path} holds none of {looked}; {GIVE} (ImageFolder opens class folders of images)"
    )
    (tmp_path / "a.zip").touch()
    assert no(tmp_path / "a.zip") == (
        f"Cifar10: {tmp_path / 'a.zip'} is none of its files; {GIVE} (ImageArchive opens a zip of images)"
    )
    anywhere = "wherever it lies, as Cifar10(path=...), or Cifar10:PATH on the command line"
    assert no(tmp_path / "b") == f"Cifar10: {tmp_path / 'b'} does not exist; {GIVE}, {anywhere}"
    assert no("") == f"Cifar10: no path was given; {GIVE}, {anywhere}"


def test_settings(unchecked):
    with pytest.raises(ValueError, match=r"^Cifar10\(split='val'\): the splits are train and test$"):
        Cifar10(split="val")
    with pytest.raises(ValueError, match=r"^resolution=0: give a side in pixels"):
        Cifar100(resolution=0)
