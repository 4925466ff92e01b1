import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import nn

import orthogen as og
from orthogen.core.images import to_uint8
from orthogen.core.rng import generator
from orthogen.reporting import traversal as files
from orthogen.reporting.animation import gif
from orthogen.reporting.drawing import reach, traversal
from orthogen.reporting.montage import fit, grid, sheet
from orthogen.reporting.paths import traversal_latents


def linear_generator(dim: int = 3, side: int = 4, channels: int = 3) -> og.Generator:
    module = nn.Sequential(nn.Linear(dim, channels * side * side), nn.Tanh(), nn.Unflatten(1, (channels, side, side)))
    with torch.no_grad():
        module[0].weight.copy_(torch.linspace(-1, 1, module[0].weight.numel()).view_as(module[0].weight))
        module[0].bias.zero_()
    return og.adapt(module, og.Normal(dim))


@pytest.mark.parametrize("max_batch", [1, 5, 7, 1000])
@pytest.mark.parametrize("mode", ["replace", "add"])
def test_pictures_are_those_of_the_latents_in_passes_of_any_size(max_batch, mode, rng):
    G = linear_generator()
    z = torch.randn(2, 3, generator=rng)
    directions = og.Directions(torch.linalg.qr(torch.randn(3, 3, generator=rng)).Q[:2])
    drawn = traversal(G, directions, z=z, steps=5, extent=1.5, mode=mode, max_batch=max_batch)
    latents = traversal_latents(z, directions.basis, torch.linspace(-1.5, 1.5, 5), mode)
    expected = to_uint8(G(latents.flatten(0, 2))).view(2, 2, 5, 3, 4, 4)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (2, 2, 5, 3, 4, 4)
    assert (drawn.int() - expected.int()).abs().max() <= 1  # sums in another order, then rounding


def test_no_pass_is_larger_than_asked():
    sizes = []
    G = og.adapt(nn.Unflatten(1, (1, 2, 2)), og.Normal(4), call=lambda m, z: sizes.append(len(z)) or m(z))
    traversal(G, n=3, steps=5, max_batch=8)
    assert max(sizes) == 8
    assert sum(sizes) == 4 * 3 * 5


def test_the_span_of_the_latent_is_the_default_extent(rng):
    G = og.adapt(nn.Unflatten(1, (1, 1, 2)), og.Uniform(2, low=-0.5, high=1.0))
    ends = traversal(G, n=1, steps=2, rng=rng)
    assert ends[0, 0, :, 0, 0, 0].tolist() == to_uint8(torch.tensor([-0.5, 1.0]).view(2, 1, 1, 1)).flatten().tolist()


def test_base_latents_follow_the_seed():
    G = linear_generator()
    first, again, other = (traversal(G, n=2, steps=3, rng=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_conditions_follow_their_sample():
    G = og.adapt(
        nn.Identity(), og.Normal(2), call=lambda m, z, label: label.view(-1, 1, 1, 1).expand(-1, 1, 2, 2) * 0.5
    )
    drawn = traversal(G, n=3, steps=4, max_batch=5, conditions={"label": torch.tensor([-2.0, 0.0, 2.0])})
    assert drawn[:, :, :, 0, 0, 0].tolist() == [[[level] * 4 for level in (0, 128, 255)]] * 2


def test_the_generator_draws_in_evaluation_mode_and_is_left_as_it_was(rng):
    norm = nn.BatchNorm2d(1)
    module = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), norm, nn.Dropout(0.5).eval())
    module.train()
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    z = torch.randn(2, 4, generator=rng)
    G = og.adapt(module, og.Normal(4))
    whole, split = (traversal(G, z=z, steps=3, max_batch=size) for size in (1000, 1))
    assert torch.equal(whole, split)
    assert [part.training for part in module] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 0}, "n=0: a traversal starts from at least one latent"),
        ({"steps": 0}, "steps=0: give at least 1"),
        ({"extent": -1.0}, "extent=-1.0: give one positive number, or two with the first below the second"),
        ({"extent": (2.0, 1.0)}, "extent=(2.0, 1.0): give one positive number, or two with the first below the second"),
        (
            {"directions": og.Directions(torch.eye(5))},
            "the directions are 5 wide, the generator's latent 3; give directions that were found in this generator",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared whole)
        traversal(linear_generator(), **arguments)
    assert str(caught.value) == text


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"the generator gives \(8, 2, 2, 2\); images are \(batch, .*, gray or RGB"):
        traversal(og.adapt(nn.Unflatten(1, (2, 2, 2)), og.Normal(8)), n=1, steps=1)


def test_reach_takes_a_number_a_pair_or_nothing():
    G = linear_generator()
    assert [reach(G, extent) for extent in (None, 3.0, (-1.0, 4.0))] == [(-2.0, 2.0), (-3.0, 3.0), (-1.0, 4.0)]


# ------------------------------------------------------------------------------------------------ sheets
def test_a_grid_holds_every_pixel_in_its_place(rng):
    images = torch.randint(0, 200, (2, 3, 3, 5, 4), generator=rng, dtype=torch.uint8)
    picture = torch.from_numpy(np.array(grid(images, gutter=1)))
    assert picture.shape == (2 * 6 - 1, 3 * 5 - 1, 3)
    for i in range(2):
        for j in range(3):
            assert torch.equal(picture[i * 6 : i * 6 + 5, j * 5 : j * 5 + 4], images[i, j].permute(1, 2, 0))
    assert bool((picture[5] == 255).all())
    assert bool((picture[:, 4] == 255).all())


def test_a_grid_can_have_transparent_gutters():
    picture = grid(torch.zeros(1, 2, 1, 2, 2, dtype=torch.uint8), gutter=1, paper=(0, 0, 0, 0))
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[0, :, 3].tolist() == [255, 255, 0, 255, 255]


def test_fit_enlarges_by_whole_pixels_and_averages_down(rng):
    small = torch.randint(0, 256, (2, 3, 32, 32), generator=rng, dtype=torch.uint8)
    assert torch.equal(fit(small)[..., ::2, 1::2], small)
    large = torch.zeros(1, 8, 8, dtype=torch.uint8)
    large[:, :, 1::2] = 100
    assert bool((fit(large, largest=4) == 50).all())


def test_a_sheet_marks_its_column():
    images = torch.full((2, 2, 3, 1, 8, 8), 90, dtype=torch.uint8)
    plain, marked = (sheet(images, ("a", "b"), ("-1", "0", "+1"), mark) for mark in (None, 1))
    assert plain.size == marked.size
    assert plain.tobytes() != marked.tobytes()
    with pytest.raises(ValueError, match="1 labels and 0 heads for 2 blocks and 3 columns"):
        sheet(images, ("a",))


def test_a_grid_of_nothing_or_of_odd_channels_is_refused():
    for shape in ((0, 3, 1, 2, 2), (1, 1, 2, 2, 2)):
        with pytest.raises(ValueError, match="a grid needs at least one image, gray or RGB"):
            grid(torch.zeros(shape, dtype=torch.uint8))


# ------------------------------------------------------------------------------------------------ files
def test_traverse_writes_grid_and_loop(tmp_path):
    G = linear_generator()
    names = ("turn", "grow", "a direction with a name far too long for the margin of a picture")
    directions = og.Directions(torch.eye(3), names=names, provenance={"method": "SeFa"})
    written = og.traverse(G, directions, to=tmp_path, samples=2, steps=5, frames=8, fps=10.0)
    assert [path.name for path in written] == ["sefa.png", "sefa.gif"]
    with Image.open(written[0]) as still:
        assert still.width > 5 * 64
        assert still.height > 6 * 64
    with Image.open(written[1]) as loop:
        assert loop.info["loop"] == 0
        assert loop.info["duration"] == 100
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(loop)]
    assert len(frames) == 8
    steps = [abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert steps[-1] <= max(steps[:-1]) + 1  # no jump where the loop closes


def test_few_colors_stay_as_they_are_in_the_loop(tmp_path):
    gray = og.adapt(nn.Sequential(nn.Tanh(), nn.Unflatten(1, (1, 2, 2))), og.Normal(4))
    (path,) = og.traverse(gray, to=tmp_path, samples=1, frames=4, grid=False)
    images = traversal(gray, z=gray.latent.sample(1, rng=generator(0, "traversal")), values=torch.tensor([0.0]))
    with Image.open(path) as loop:
        first = {color for _, color in loop.convert("RGB").getcolors(4096)}
    assert {(level,) * 3 for level in images.flatten().tolist()} <= first


def test_many_colors_share_one_palette_and_white_paper_stays_white(rng):
    noise = torch.randint(0, 256, (2, 40, 40, 3), generator=rng, dtype=torch.uint8)
    noise[:, :8] = 255
    with Image.open(io.BytesIO(gif([Image.fromarray(frame.numpy()) for frame in noise]))) as loop:
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(loop)]
    colors = {tuple(color) for frame in frames for color in frame.reshape(-1, 3).tolist()}
    assert len(colors) <= 256
    assert all((frame[:8] == 255).all() for frame in frames)
    assert abs(frames[1] - noise[1].numpy()).mean() < 25  # 256 colors for noise that fills the cube


def test_one_seed_gives_the_same_pictures_again(tmp_path):
    G = linear_generator()
    first, again, other = (
        og.traverse(G, to=tmp_path / str(i), gif=False, samples=1, seed=seed)[0].read_bytes()
        for i, seed in enumerate((3, 3, 4))
    )
    assert first == again != other


def test_rows_limits_the_directions(tmp_path):
    G = linear_generator()
    heights = []
    for rows in (1, 2, None):
        with Image.open(og.traverse(G, to=tmp_path, rows=rows, samples=1, gif=False)[0]) as picture:
            heights.append(picture.height)
    assert heights[1] - heights[0] == heights[2] - heights[1] == 66
    with pytest.raises(ValueError, match="rows=0: give how many directions to draw, at least 1"):
        og.traverse(G, to=tmp_path, rows=0)


def test_a_run_gets_its_traversals_in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "load", lambda path: linear_generator())
    directions = tmp_path / "run" / "directions" / "found.safetensors"
    og.Directions(torch.eye(3)[:2]).save(directions)
    (path,) = og.traverse(tmp_path / "run", directions, samples=1, gif=False)
    assert path == tmp_path / "run" / "traversals" / "found.png"


def test_a_video_has_every_frame(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    arguments = {"samples": 1, "frames": 6, "fps": 12, "grid": False, "gif": False, "video": True}
    (path,) = og.traverse(linear_generator(), to=tmp_path, **arguments)
    assert path.suffix == ".mp4"
    frames, seconds = ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6
    assert seconds == pytest.approx(0.5, abs=0.02)


def test_a_video_without_the_extra_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio.v2", None)
    with pytest.raises(ValueError, match=r"an MP4 needs the video extra: pip install 'orthogen\[video\]'"):
        og.traverse(linear_generator(), to=tmp_path, video=True)
    assert not list(Path(tmp_path).iterdir())
