import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor, nn

import orthogen as og
from linear_generator import linear_generator
from orthogen.reporting import traversal as files


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_traverse_writes_strips_and_a_loop(tmp_path):
    G = linear_generator()
    names = ("turn", "grow", "a direction with a name far too long for the margin of a picture")
    directions = og.Directions(torch.eye(3), names=names, provenance={"method": "SeFa"})
    written = og.traverse(G, directions, to=tmp_path, samples=2, steps=5, frames=8, fps=10.0)
    assert [path.name for path in written] == ["sefa.png", "sefa.gif"]
    width, height = size_of(written[0])
    assert width > 5 * 64
    assert height > 6 * 64
    with Image.open(written[1]) as loop:
        assert loop.info["loop"] == 0
        assert loop.info["duration"] == 100
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(loop)]
    assert len(frames) == 8
    steps = [abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert steps[-1] <= max(steps[:-1]) + 1  # no jump where the loop closes
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_films_follow_the_path_asked_for(tmp_path):
    seen: list[float] = []

    def call(module: nn.Module, z: Tensor) -> Tensor:
        seen.extend(z[:, 0].tolist())
        return z[:, :1, None, None].expand(-1, 1, 2, 2) / 3

    G = og.adapt(nn.Identity(), og.Normal(1), call=call)
    lengths = {}
    for path in ("pingpong", "linear", "smooth_center"):
        seen.clear()
        (film,) = og.traverse(G, to=tmp_path / path, samples=1, grid=False, path=path, extent=3.0)
        with Image.open(film) as frames:
            lengths[path] = frames.n_frames
        assert min(seen) == pytest.approx(-3, abs=0.03)
        assert max(seen) == pytest.approx(3, abs=1e-5)
    assert lengths == {"pingpong": 48, "linear": 48, "smooth_center": 180}
    with pytest.raises(ValueError, match="path='there': a film can follow pingpong, linear, smooth_center"):
        og.traverse(G, to=tmp_path, path="there")
    with pytest.raises(ValueError, match="frames=90: smooth_center takes a positive multiple of 4, such as 180"):
        og.traverse(G, to=tmp_path, path="smooth_center", frames=90)


def test_few_colors_stay_as_they_are_in_the_loop(tmp_path):
    def call(module: nn.Module, z: Tensor) -> Tensor:
        return z.sign()[:, :1, None, None].expand(-1, 3, 2, 2) * torch.tensor([0.2, 0.6, -1.0]).view(3, 1, 1)

    (path,) = og.traverse(og.adapt(nn.Identity(), og.Normal(1), call=call), to=tmp_path, frames=4, grid=False)
    with Image.open(path) as loop:
        colors = {color for f in ImageSequence.Iterator(loop) for _, color in f.convert("RGB").getcolors(4096)}
    assert {(153, 204, 0), (102, 51, 255)} <= colors


def test_one_seed_gives_the_same_pictures_again(tmp_path):
    G = linear_generator()
    first, again, other = (
        og.traverse(G, to=tmp_path / str(i), gif=False, samples=1, seed=seed)[0].read_bytes()
        for i, seed in enumerate((3, 3, 4))
    )
    assert first == again != other


def test_a_run_gets_its_traversals_in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "load", lambda path: linear_generator())
    directions = tmp_path / "run" / "directions" / "found.safetensors"
    og.Directions(torch.eye(3)[:2]).save(directions)
    (path,) = og.traverse(tmp_path / "run", directions, samples=1, gif=False)
    assert path == tmp_path / "run" / "traversals" / "found.png"


def test_published_matrices_are_read_too(tmp_path):
    torch.save(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)), tmp_path / "our_goldens_mid.pt")
    G = linear_generator(120)
    only = ["color", 1]
    (path,) = og.traverse(G, tmp_path / "our_goldens_mid.pt", only=only, to=tmp_path, samples=1, gif=False)
    assert path.name == "our_goldens_mid.png"


def test_files_stay_in_the_folder_whatever_the_method_is_called(tmp_path):
    away = og.Directions(torch.eye(3), provenance={"method": "../../Away/../x"})
    (path,) = og.traverse(linear_generator(), away, to=tmp_path / "a" / "b", samples=1, gif=False)
    assert path == tmp_path / "a" / "b" / "_.._away_.._x.png"


# ------------------------------------------------------------------------------------------------ which directions
def test_rows_limits_the_directions(tmp_path):
    G = linear_generator()
    heights = [size_of(og.traverse(G, to=tmp_path, rows=n, samples=1, gif=False)[-1])[1] for n in (1, 2, None)]
    assert heights[1] - heights[0] == heights[2] - heights[1] == 66
    for wrong in ({"rows": 0}, {"per_file": 0}):
        with pytest.raises(ValueError, match=r"(rows|per_file)=0: give how many directions to draw, at least 1"):
            og.traverse(G, to=tmp_path, **wrong)


def test_directions_can_be_named_or_numbered(tmp_path):
    G = linear_generator()
    z, seen = og.Directions(torch.eye(3), names=("a", "b", "c")), []
    call = lambda module, latents: seen.append(latents) or module(latents)  # noqa: E731
    G = og.adapt(G.module, G.latent, call=call)
    og.traverse(G, z, only=["c", 0], to=tmp_path, samples=1, steps=2, gif=False, rows=1, extent=9.0)
    ends = torch.cat(seen)
    assert ends[:2, 2].tolist() == pytest.approx([-9.0, 9.0], abs=1e-5)
    assert ends[2:, 0].tolist() == pytest.approx([-9.0, 9.0], abs=1e-5)
    with pytest.raises(ValueError, match=r"there is no direction d; give 0 to 2, or by name: a, b, c"):
        og.traverse(G, z, only=["d"], to=tmp_path)


def test_more_directions_than_a_file_shows_go_to_more_files(tmp_path):
    G = linear_generator(8)
    directions = og.Directions(torch.eye(8)).renamed({2: "pose/light!", 7: "end"})
    written = og.traverse(G, directions, to=tmp_path, rows=None, per_file=3, samples=1, frames=4)
    assert [path.name for path in written] == [
        f"directions_{name}.{kind}"
        for name in ("000_Q000-pose_light_", "001_Q003-Q005", "002_Q006-end")
        for kind in ("png", "gif")
    ]
    heights = [size_of(path)[1] for path in written[::2]]
    assert heights[0] == heights[1] == heights[2] + 66
    whole = og.traverse(G, directions, to=tmp_path / "whole", rows=None, samples=1, gif=False)
    strips = [np.asarray(Image.open(path))[34:100, -200:] for path in (written[2], whole[0])]
    assert strips[0].shape == strips[1].shape


def test_the_contact_sheet_shows_what_the_strips_leave_out(tmp_path):
    G = linear_generator(20)
    few = og.traverse(G, to=tmp_path, samples=1, gif=False)
    assert [path.name for path in few] == ["coordinates_contact.png", "coordinates.png"]
    assert [path.name for path in og.traverse(G, to=tmp_path, rows=None, per_file=20, samples=1, gif=False)] == [
        "coordinates.png"
    ]
    chosen = og.traverse(G, to=tmp_path / "chosen", only=[3, 4], samples=1, gif=False, contact=True)
    assert size_of(few[0])[0] * size_of(few[0])[1] > 5 * size_of(chosen[0])[0] * size_of(chosen[0])[1]
    assert len(og.traverse(G, to=tmp_path, only=[3, 4], samples=1, gif=False)) == 1


def test_directions_of_another_generator_are_drawn_with_a_warning(tmp_path):
    found = og.SeFa().fit(linear_generator())
    other = linear_generator()
    with torch.no_grad():
        other.module[0].weight.mul_(2)
    with pytest.warns(UserWarning, match="found by SeFa in a generator with other weights"):
        og.traverse(other, found, to=tmp_path, samples=1, gif=False)


# ------------------------------------------------------------------------------------------------ classes
def test_classes_are_drawn_with_the_seed_or_fixed(tmp_path):
    seen: list[int] = []

    def call(module: nn.Module, z: Tensor, label: Tensor) -> Tensor:
        seen.extend(label.tolist())
        return z[:, :1, None, None].expand(-1, 1, 2, 2)

    G = og.adapt(nn.Identity(), og.Normal(2), call=call, classes=1000)
    drawn = []
    for seed in (0, 0, 1):
        seen.clear()
        og.traverse(G, to=tmp_path, seed=seed, samples=4, frames=4)
        drawn.append(sorted(set(seen)))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4
    seen.clear()
    named = og.traverse(G, to=tmp_path / "named", samples=2, gif=False)
    plain = og.traverse(G, to=tmp_path / "plain", samples=2, gif=False, fix_class=207)
    assert set(seen[-10:]) == {207}
    assert size_of(named[0])[0] > size_of(plain[0])[0] + 40  # "class 207" beside each line
    with pytest.raises(ValueError, match="class 1000 was asked for; this generator has the classes 0 to 999"):
        og.traverse(G, to=tmp_path, fix_class=1000)
    with pytest.raises(ValueError, match="this generator takes no class labels"):
        og.traverse(linear_generator(), to=tmp_path, fix_class=1)


# ------------------------------------------------------------------------------------------------ videos
def test_a_video_has_every_frame(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    arguments = {"samples": 1, "frames": 6, "fps": 12, "grid": False, "gif": False, "mp4": True}
    (path,) = og.traverse(linear_generator(), to=tmp_path, **arguments)
    assert path.suffix == ".mp4"
    frames, seconds = ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6
    assert seconds == pytest.approx(0.5, abs=0.02)


def test_the_released_layout_plays_at_the_released_rate(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    (path,) = og.traverse(
        linear_generator(2), to=tmp_path, samples=1, path="smooth_center", grid=False, gif=False, mp4=True
    )
    frames, seconds = ffmpeg.count_frames_and_secs(str(path))
    assert frames == 180
    assert seconds == pytest.approx(3.0, abs=0.02)


def test_a_video_without_the_extra_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio.v2", None)
    with pytest.raises(ValueError, match=r"an MP4 needs the video extra: pip install 'orthogen\[video\]'"):
        og.traverse(linear_generator(), to=tmp_path, mp4=True)
    assert not list(Path(tmp_path).iterdir())
