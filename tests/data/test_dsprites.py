"""DSprites: a small file of the same layout, and the whole set where it is at hand."""

import math
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.core.images import to_float
from orthogen.core.record import from_json, to_json
from orthogen.data import dsprites
from orthogen.data.dsprites import DSprites

SMALL = (3, 2, 4, 5, 6)
N = math.prod(SMALL)


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return (pytest.fail, ("the pickled metadata was read",))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(dsprites, "SIZES", SMALL)
    monkeypatch.setattr(dsprites, "PART", 100)
    return (np.random.default_rng(0).random((N, 64, 64)) < 0.2).astype(np.uint8)


def write(path, imgs, **more):
    classes = np.concatenate([np.zeros((N, 1), np.int64), np.indices(SMALL).reshape(5, -1).T], axis=1)
    members = {"imgs": imgs, "latents_classes": classes, "metadata": np.array(Trap(), dtype=object), **more}
    np.savez_compressed(path, **members)
    return DSprites(path)


def test_published_layout(small, tmp_path):
    frames = write(tmp_path / "d.npz", small).open()
    assert (len(frames), frames.channels, frames.resolution) == (N, 1, 64)
    assert frames.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    assert frames.factor_sizes == SMALL
    assert torch.equal(frames.images(torch.arange(N)), torch.from_numpy(small)[:, None] * 255)
    index = torch.tensor([N - 1, 0, 7])
    assert torch.equal(frames.index(frames.factors(index)), index)
    assert frames.factors(torch.tensor([7])).tolist() == [[0, 0, 0, 1, 1]]


def test_packed_layout(small, tmp_path):
    np.savez(tmp_path / "p.npz", imgs=np.packbits(small.reshape(N, -1), axis=1))
    packed = DSprites(tmp_path / "p.npz").open()
    assert torch.equal(packed.images(torch.arange(N)), torch.from_numpy(small)[:, None] * 255)
    assert repr(packed) == f"{N} dSprites of {tmp_path}/p.npz, 64 x 64 gray, kept in memory as bits"


def test_missing(tmp_path):
    name = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    site = "github.com/google-deepmind/dsprites-dataset"
    with pytest.raises(FileNotFoundError) as caught:
        DSprites().open()
    assert str(caught.value).startswith(f"DSprites: no path was given; give the file {name} of {site}, wherever")
    with pytest.raises(FileNotFoundError) as caught:
        DSprites(tmp_path / "no.npz").open()
    assert str(caught.value).startswith(f"DSprites: {tmp_path}/no.npz does not exist; give the file {name} of {site}")
    with pytest.raises(FileNotFoundError) as caught:
        DSprites(tmp_path).open()
    assert str(caught.value).startswith(f"DSprites: {tmp_path}/{name} does not exist; give the file {name} of {site}")


def refused(path):
    with pytest.raises(ValueError, match="is not dSprites") as caught:
        DSprites(path).open()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith("; give the file dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz")
    return text


def test_not_dsprites(small, tmp_path):
    path = tmp_path / "d.npz"
    path.write_bytes(b"not a zip")
    assert "File is not a zip file" in refused(path)
    np.savez(path, x=np.zeros(3))
    assert "There is no item named 'imgs.npy' in the archive" in refused(path)
    write(path, small[:-1])
    assert f"its imgs are uint8 of shape ({N - 1}, 64, 64), not uint8 of shape ({N}, 64, 64)" in refused(path)
    write(path, small.astype(np.float32))
    assert "its imgs are float32" in refused(path)
    write(path, np.asfortranarray(small))
    assert "its imgs are in column order" in refused(path)
    classes = np.concatenate([np.zeros((N, 1), np.int64), np.indices(SMALL).reshape(5, -1).T], axis=1)
    write(path, small, latents_classes=classes[::-1])
    assert "its latents_classes do not count through the factors in order" in refused(path)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_damaged_file(small, tmp_path, keep):
    path = tmp_path / "d.npz"
    write(path, small)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path)


def test_damaged_member(small, tmp_path):
    path = tmp_path / "d.npz"
    write(path, small)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(data)
    refused(path)


def test_member_that_ends_early(small, tmp_path):
    path = tmp_path / "d.npz"
    np.save(tmp_path / "imgs.npy", small)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("imgs.npy", (tmp_path / "imgs.npy").read_bytes()[:-5000])
    assert "it ends after 718 of 720 frames" in refused(path)


def test_json_round_trip():
    assert from_json(to_json(DSprites("a.npz"))) == DSprites("a.npz")


# ---------------------------------------------------------------------------------------------- the whole set
@pytest.fixture(scope="module")
def whole(shared_data):
    return DSprites(shared_data / "dsprites_redrawn.npz").open()


def test_whole_set(whole):
    assert len(whole) == 737_280
    first = whole.images(torch.tensor([0]))[0, 0]
    assert set(first.unique().tolist()) == {0, 255}
    ys, xs = torch.nonzero(first, as_tuple=True)
    # the smallest square, upright, at the upper left: center 16, side 19.2 x 0.5 (pixel centers at i + 0.5)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (11, 20, 11, 20)
    right, down = whole.images(torch.tensor([31 * 32, 31]))[:, 0]
    assert torch.equal(right[:, 32:52], first[:, :20])
    assert torch.equal(down[32:52], first[:20])


@settings(max_examples=40)
@given(st.integers(0, 737_279))
def test_reader_finds_every_frame(whole, i):
    index = torch.tensor([i])
    images = whole.images(index)
    values, confidence = whole.read_factors(to_float(images))
    assert torch.equal(whole.images(whole.index(values)), images)
    assert values[0, [0, 1, 3, 4]].tolist() == whole.factors(index)[0, [0, 1, 3, 4]].tolist()
    assert (confidence == 1).all()


def test_reader_is_calm_about_noise_color_and_nothing(whole):
    rng = torch.Generator().manual_seed(0)
    index = torch.randint(len(whole), (20,), generator=rng)
    images = to_float(whole.images(index))
    noisy = (images * 0.6 + 0.2 * torch.randn(images.shape, generator=rng)).clamp(-1, 1)
    colored = (images + 1) * torch.tensor([0.2, 0.9, 0.6])[:, None, None] - 1
    for changed in (noisy, colored):
        values, confidence = whole.read_factors(changed)
        assert (values[:, [0, 3, 4]] == whole.factors(index)[:, [0, 3, 4]]).all()
        assert (confidence > 0.85).all()
    values, confidence = whole.read_factors(torch.full((2, 1, 64, 64), -1.0))
    assert (confidence == 0).all()
    assert values.shape == (2, 5)
    with pytest.raises(ValueError, match=r"images of shape \(1, 1, 32, 32\) were given; dSprites are \(n, c, 64, 64\)"):
        whole.read_factors(torch.zeros(1, 1, 32, 32))
