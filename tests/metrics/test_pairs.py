import json
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import orthogen as og
from orthogen.metrics import _pair_files
from orthogen.metrics._pair_files import decode
from orthogen.metrics._pairs import moved
from orthogen.metrics.variation_score import Pairs
from vectors import GOLDEN, vectors


def blocks(dim=4, channels=3):
    """A generator whose coordinates are the gray levels of vertical stripes, 4 pixels each."""

    def call(module, z):
        return z.repeat_interleave(4, dim=1)[:, None, None].expand(-1, channels, 4 * dim, -1)

    return og.adapt(nn.Identity(), og.Uniform(dim, -0.5, 0.5), call=call)


@pytest.fixture
def pairs(rng):
    return Pairs.draw(blocks(), 12, rng=rng)


# ---------------------------------------------------------------------------------------------- latents
def test_latents_are_those_of_the_released_script():
    golden = json.loads((GOLDEN / "pair_latents.json").read_text())
    draw = np.random.RandomState(golden["seed"])  # its calls: z1, z2, d
    shape = (golden["batch"], golden["n"])
    z, other = (torch.from_numpy(draw.uniform(-2, 2, shape)) for _ in range(2))
    which = torch.tensor(golden["delta_dim"])
    after, change = moved(z, other, which, torch.eye(golden["n"], dtype=torch.float64), None)
    for ours, theirs in ((z, "z1"), (after, "z2"), (change, "labels")):
        np.testing.assert_allclose(ours, golden[theirs], rtol=0, atol=1e-12)
    images = torch.zeros(len(z), 1, 2, 2, dtype=torch.uint8)
    assert Pairs(images, images, torch.tensor(golden["labels"]).double()).labels.tolist() == golden["cls"]


def test_latents_are_those_of_the_simple_gan():
    golden = {name: torch.from_numpy(value) for name, value in vectors("vp_pairs_simplegan").items()}
    dims = golden["z1"].shape[1]
    after, change = moved(golden["z1"], golden["z2"], golden["dim"], torch.eye(dims, dtype=torch.float64), None)
    torch.testing.assert_close(after, golden["z2"], rtol=0, atol=1e-12)
    torch.testing.assert_close(change, golden["labels"], rtol=0, atol=1e-12)


def test_along_directions_that_component_alone_is_redrawn(rng):
    z, other = torch.randn(2, 50, 4, generator=rng, dtype=torch.float64)
    basis = 3 * torch.linalg.qr(torch.randn(4, 4, generator=rng, dtype=torch.float64)).Q[:3]
    which = torch.randint(3, (50,), generator=rng)
    after, change = moved(z, other, which, basis, None)
    rows = torch.arange(50)
    components = after @ basis.T
    torch.testing.assert_close(components[rows, which], (other @ basis.T)[rows, which])
    torch.testing.assert_close(z - after, change @ basis)
    kept = torch.ones(50, 3, dtype=torch.bool).scatter_(1, which[:, None], False)
    torch.testing.assert_close(components[kept], (z @ basis.T)[kept])
    stepped, change = moved(z, other, which, basis, 5.0)
    torch.testing.assert_close(stepped, z + 5 * basis[which])
    assert (change[rows, which] == -5).all()


def test_a_repeated_value_still_has_a_class():
    z = torch.zeros(3, 2)
    after, change = moved(z, z, torch.tensor([1, 0, 1]), torch.eye(2), None)
    assert torch.equal(after, z)
    assert change.abs().argmax(dim=1).tolist() == [1, 0, 1]


# ---------------------------------------------------------------------------------------------- drawing
def test_a_pair_differs_in_its_class_alone(pairs):
    assert pairs.first.shape == (12, 3, 16, 16)
    assert (pairs.first.dtype, pairs.classes, len(pairs)) == (torch.uint8, 4, 12)
    differs = (pairs.first != pairs.second).unflatten(3, (4, 4)).any(dim=4).any(dim=2).any(dim=1)
    assert torch.equal(differs, nn.functional.one_hot(pairs.labels, 4).bool())
    level = (pairs.first.double() - pairs.second.double())[:, 0, 0, ::4] / 127.5
    torch.testing.assert_close(level, pairs.change, rtol=0, atol=1.1 / 127.5)


def test_classes_and_latents_have_the_laws_of_the_paper(rng):
    drawn = Pairs.draw(blocks(), 4000, rng=rng)
    share = torch.bincount(drawn.labels, minlength=4) / 4000
    assert (share - 0.25).abs().max() < 0.03
    size = drawn.change.abs().amax(dim=1) / 0.5 * 2  # in units of U[-2, 2]
    for bound, expected in ((0.1, 0.049), (0.2, 0.097), (0.4, 0.19)):  # triangular on [0, 4]
        assert (size < bound).double().mean().item() == pytest.approx(expected, abs=0.02)


class Grainy(nn.Module):
    def forward(self, z):
        return 0.1 * z[:, :1, None, None] + 0.3 * torch.randn(len(z), 1, 4, 4)


def test_noise_is_shared_within_a_pair_and_fixed_by_the_seed():
    G = og.adapt(Grainy(), og.Normal(2))

    def draw():
        return Pairs.draw(G, 230, rng=torch.Generator().manual_seed(1))

    before = torch.get_rng_state()
    one = draw()
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)  # the global state has no part in it
    two = draw()
    assert torch.equal(one.first, two.first)
    idle = one.labels == 1  # coordinate 1 does nothing
    assert torch.equal(one.first[idle], one.second[idle])
    grain = one.first.float().flatten(1)
    assert (grain - grain.mean(dim=1, keepdim=True)).unique(dim=0).shape[0] == 230  # and differs between pairs


def test_along_directions_the_classes_are_directions(rng):
    basis = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    drawn = Pairs.draw(blocks(), 20, og.Directions(basis), rng=rng)
    differs = (drawn.first != drawn.second)[:, 0, 0, ::4]
    assert torch.equal(differs, basis[drawn.labels] > 0)
    assert drawn.classes == 2


def test_directions_are_brought_to_length_1(rng):
    basis = torch.tensor([[30.0, 0.0, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0]])
    drawn = Pairs.draw(blocks(), 20, og.Directions(basis), step=0.2, rng=rng)
    level = (drawn.second.double() - drawn.first.double())[torch.arange(20), 0, 0, 4 * drawn.labels]
    torch.testing.assert_close(level / 127.5, torch.full((20,), 0.2).double(), rtol=0, atol=1.1 / 127.5)


def test_the_prior_may_be_given(rng):
    wide = og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z: (z / 4)[:, None, None])
    drawn = Pairs.draw(wide, 2000, prior=(-4.0, 2.0), rng=rng)
    seen = (drawn.first.double() / 127.5 - 1) * 4
    assert seen.min().item() == pytest.approx(-4, abs=0.05)
    assert seen.max().item() == pytest.approx(2, abs=0.05)
    assert seen.mean().item() == pytest.approx(-1, abs=0.1)


def test_a_held_block_is_the_same_in_a_pair_and_no_class(rng):
    latent = og.Blocks(noise=og.Normal(3), layer0=og.Normal(2), layer1=og.Normal(2))
    G = og.adapt(nn.Identity(), latent, call=lambda m, z: (z / 4)[:, None, None])
    drawn = Pairs.draw(G, 3000, prior=(-4.0, 4.0), held={"noise": 0.5}, rng=rng)
    first, second = ((x.double() / 127.5 - 1)[:, 0, 0] * 4 for x in (drawn.first, drawn.second))
    assert drawn.classes == 4
    assert torch.equal(first[:, :3], second[:, :3])
    assert first[:, :3].std().item() == pytest.approx(0.5, rel=0.05)
    assert first[:, 3:].std().item() == pytest.approx(8 / 12**0.5, rel=0.05)
    torch.testing.assert_close((first - second)[:, 3:], drawn.change, rtol=0, atol=2.2 * 4 / 127.5)
    with pytest.raises(ValueError, match="held names the block 'epsilon', and the latent has only noise, layer0, laye"):
        Pairs.draw(G, 4, held={"epsilon": 1.0})


def test_what_cannot_be_drawn(unchecked):
    G = blocks()
    with pytest.raises(ValueError, match="directions are 3 wide, the latent is 4 wide; fit directions"):
        Pairs.draw(G, 4, og.Directions.coordinates(3))
    with pytest.raises(ValueError, match="direction '1' is zero or not finite; leave it out"):
        Pairs.draw(G, 4, og.Directions(torch.tensor([[1.0, 0, 0, 0], [0.0, 0, 0, 0]])))
    with pytest.raises(ValueError, match="one direction was given; a class is one of two directions or more"):
        Pairs.draw(G, 4, og.Directions(torch.ones(1, 4)))
    with pytest.raises(ValueError, match=r"output is \(4, 4\); pairs are of images"):
        Pairs.draw(og.adapt(nn.Identity(), og.Normal(4)), 4)
    nan = og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z: (z / 0 * 0)[:, None, None])
    with pytest.raises(ValueError, match="images are not finite"):
        Pairs.draw(nan, 4)
    image = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"Pairs of shapes \(2, 1, 4, 4\), \(2, 1, 4, 4\), \(3, 2\)"):
        Pairs(image, image, torch.ones(3, 2))
    with pytest.raises(ValueError, match="not finite in row 1"):
        Pairs(image, image, torch.tensor([[1.0, 0.0], [1.0, torch.nan]]))


# ---------------------------------------------------------------------------------------------- on disk
@pytest.mark.parametrize("channels", [1, 3])
def test_png_comes_back_as_it_was(tmp_path, rng, channels):
    drawn = Pairs.draw(blocks(channels=channels), 5, rng=rng)
    drawn.write(tmp_path / "pairs", "png")
    back = Pairs.read(tmp_path / "pairs")
    for name in ("first", "second", "change"):
        assert torch.equal(getattr(back, name), getattr(drawn, name))


def test_the_released_format(tmp_path, pairs):
    pairs.write(tmp_path)
    names = [f"pair_{i:06d}.jpg" for i in range(12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.npy", *names]
    labels = np.load(tmp_path / "labels.npy")
    assert labels.dtype == np.float64
    np.testing.assert_array_equal(labels, pairs.change)
    with Image.open(tmp_path / names[3]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 16))
        left, right = np.hsplit(np.array(image).astype(float), 2)
    np.testing.assert_allclose(left, pairs.first[3].permute(1, 2, 0), atol=12)
    np.testing.assert_allclose(right, pairs.second[3].permute(1, 2, 0), atol=12)
    back, emulated = Pairs.read(tmp_path), pairs.as_jpeg()
    assert torch.equal(back.first, emulated.first)
    assert torch.equal(back.second, emulated.second)
    # the file is what Pillow writes of the strip with its defaults
    strip = Image.fromarray(torch.cat([pairs.first[3], pairs.second[3]], dim=2).permute(1, 2, 0).numpy())
    strip.save(tmp_path / "pillow.jpg")
    assert (tmp_path / "pillow.jpg").read_bytes() == (tmp_path / names[3]).read_bytes()


def test_reads_one_hot_rows_and_whole_numbers(tmp_path, pairs):
    pairs.write(tmp_path, "png")
    np.save(tmp_path / "labels.npy", np.eye(4, dtype=np.int64)[[0, 1, 2, 3] * 3])
    assert Pairs.read(str(tmp_path)).labels.tolist() == [0, 1, 2, 3] * 3


def test_quality(tmp_path, pairs):
    pairs.write(tmp_path / "low", quality=5)
    pairs.write(tmp_path / "high", quality=95)
    low, high = ((Pairs.read(tmp_path / name).first.int() - pairs.first.int()).abs().sum() for name in ("low", "high"))
    assert low > 2 * high


def remove(folder):
    for i in (3, 7):
        (folder / f"pair_{i:06d}.png").unlink()


def add(folder):
    (folder / "pair_000012.png").write_bytes((folder / "pair_000000.png").read_bytes())


def both(folder):
    (folder / "pair_000002.jpg").write_bytes(b"")


def wider(folder):
    Image.new("RGB", (34, 16)).save(folder / "pair_000004.png")


def odd(folder):
    Image.new("RGB", (33, 16)).save(folder / "pair_000000.png")


def gray(folder):
    Image.new("L", (32, 16)).save(folder / "pair_000004.png")


def palette(folder):
    Image.new("P", (32, 16)).save(folder / "pair_000004.png")


def cut(folder):
    path = folder / "pair_000005.png"
    path.write_bytes(path.read_bytes()[:60])


def labels(value):
    return lambda folder: np.save(folder / "labels.npy", value)


def text(folder):
    (folder / "labels.npy").write_text("0 1 0")


def pickled(folder):
    np.save(folder / "labels.npy", np.array([{}, None]), allow_pickle=True)


def archive(folder):
    np.savez(folder / "labels", a=np.ones((12, 4)))
    (folder / "labels.npz").rename(folder / "labels.npy")


ROW = np.arange(12)[:, None] == 5


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove, r"lacks pair_000003\.png and 1 more, but labels\.npy has 12 rows"),
        (add, r"holds pair_000012\.png, but labels\.npy has 12 rows"),
        (both, r"holds both pair_000002\.jpg and pair_000002\.png; remove one"),
        (wider, r"pair_000004\.png and pair_000000\.png differ in .*34 x 16 x 3 and 32 x 16 x 3"),
        (odd, r"pair_000000\.png is 33 pixels wide"),
        (gray, r"pair_000004\.png and pair_000000\.png differ in .*32 x 16 x 1 and 32 x 16 x 3"),
        (palette, r"pair_000004\.png is of mode P; pairs are gray"),
        (cut, r"pair_000005\.png cannot be read as an image"),
        (labels(np.ones(12)), r"labels\.npy holds float64 \(12,\); a table of numbers"),
        (labels(np.ones((12, 1))), r"labels\.npy has shape \(12, 1\); .* 2 classes"),
        (labels(np.array([["a", "b"]] * 12)), r"labels\.npy holds <U1 \(12, 2\)"),
        (labels(np.where(ROW, np.nan, np.eye(4)[[1] * 12])), r"labels\.npy has a value that is not finite in row 5"),
        (labels(np.where(ROW, 0, np.eye(4)[[1] * 12])), r"labels\.npy has nothing but zeros in row 5"),
        (labels(np.ones((11, 4))), r"holds pair_000011\.png, but labels\.npy has 11 rows"),
        (labels(np.ones((0, 4))), r"labels\.npy has no rows"),
        (text, r"labels\.npy is not an array written by numpy\.save"),
        (pickled, r"labels\.npy is not an array written by numpy\.save"),
        (archive, r"labels\.npy holds an archive"),
    ],
)  # fmt: skip
def test_a_bad_folder_is_refused_in_one_line(tmp_path, pairs, harm, message):
    pairs.write(tmp_path, "png")
    harm(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        Pairs.read(tmp_path)
    assert "\n" not in str(error.value)


def test_folders_that_are_not_there_or_not_empty(tmp_path, pairs):
    with pytest.raises(FileNotFoundError, match=r"none does not exist; give a folder of pairs"):
        Pairs.read(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"has no labels\.npy"):
        Pairs.read(tmp_path)
    pairs.write(tmp_path)
    with pytest.raises(FileExistsError, match="holds pairs already; give a new folder"):
        pairs.write(tmp_path)
    two = Pairs(pairs.first[:, :2], pairs.second[:, :2], pairs.change)
    with pytest.raises(ValueError, match=r"pairs of 2 channels .* gray \(1\) or color \(3\)"):
        two.write(tmp_path / "two")


def test_jpeg_needs_no_more_than_the_pairs_twice(pairs, monkeypatch):
    # every decoded strip is copied into its place and let go of
    alive, most = weakref.WeakSet(), []

    def spy(data, name):
        found = decode(data, name)
        alive.add(found)
        most.append(len(alive))
        return found

    monkeypatch.setattr(_pair_files, "decode", spy)
    emulated = pairs.as_jpeg()
    assert len(most) == 12
    assert max(most) <= 2
    assert emulated.first.shape == pairs.first.shape
