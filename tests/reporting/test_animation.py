import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import orthogen as og
from linear_generator import linear_generator
from orthogen.reporting import montage
from orthogen.reporting._reel import Reel, replacing
from orthogen.reporting.animation import write_film

KINDS = ("gif", "webp", "mp4")


def needs(kind: str) -> None:
    if kind == "mp4":
        pytest.importorskip("imageio_ffmpeg")


def moving(count: int = 12) -> list[Image.Image]:
    """A red square that goes from left to right on white paper."""
    frames = []
    for i in range(count):
        pixels = np.full((40, 64, 3), 255, dtype=np.uint8)
        pixels[8:24, 4 * i : 4 * i + 16] = (200, 30, 30)
        frames.append(Image.fromarray(pixels))
    return frames


def seen_in(path: Path) -> list[np.ndarray]:
    if path.suffix == ".mp4":
        from imageio_ffmpeg import get_ffmpeg_exe

        decode = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        pixels = np.frombuffer(subprocess.run(decode, capture_output=True, check=True).stdout, dtype=np.uint8)
        return list(pixels.reshape(-1, 40, 64, 3).astype(int))
    with Image.open(path) as film:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(film)]


@pytest.mark.parametrize(("kind", "off"), [("gif", 0), ("webp", 4), ("mp4", 6)])
def test_a_film_shows_its_frames_in_order(tmp_path, kind, off):
    needs(kind)
    path, frames = tmp_path / f"film.{kind}", moving()
    write_film(path, frames, fps=10)
    seen = seen_in(path)
    assert len(seen) == 12
    for shown, frame in zip(seen, frames, strict=True):
        assert abs(shown - np.asarray(frame)).mean() <= off
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_film_is_endless_and_keeps_its_rate(tmp_path, kind):
    path = tmp_path / f"film.{kind}"
    write_film(path, moving(), fps=25)
    with Image.open(path) as film:
        durations = []
        for frame in ImageSequence.Iterator(film):
            frame.load()
            durations.append(film.info["duration"])
        assert film.info["loop"] == 0
    assert durations == [40] * 12


def test_what_does_not_move_is_not_stored_again(tmp_path):
    still, half = moving(1) * 12, moving()
    for name, frames in (("still", still), ("moving", half), ("one", moving(1))):
        write_film(tmp_path / f"{name}.gif", frames)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["still"] < sizes["one"] + 12 * 30
    assert sizes["moving"] < sizes["one"] + 12 * 200
    assert len(seen_in(tmp_path / "still.gif")) == 12


def test_many_colors_share_one_palette_and_white_paper_stays_white(tmp_path, rng):
    noise = torch.randint(0, 256, (3, 40, 40, 3), generator=rng, dtype=torch.uint8)
    noise[:, :8] = 255
    write_film(tmp_path / "noise.gif", [Image.fromarray(frame.numpy()) for frame in noise])
    frames = seen_in(tmp_path / "noise.gif")
    colors = {tuple(color) for frame in frames for color in frame.reshape(-1, 3).tolist()}
    assert len(colors) <= 255
    assert all((frame[:8] == 255).all() for frame in frames)
    for frame, given in zip(frames, noise.numpy(), strict=True):
        assert abs(frame - given).mean() < 25  # 255 colors for noise that fills the cube


def test_what_is_no_film_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a film is one of gif, webp, mp4"):
        write_film(tmp_path / "film.avi", moving())
    with pytest.raises(ValueError, match=r"film\.gif: a film of no frames was given; it needs at least one"):
        write_film(tmp_path / "film.gif", [])


@pytest.mark.parametrize(("kind", "most"), [("gif", 65535), ("webp", 16383), ("mp4", 16384)])
def test_pictures_larger_than_a_kind_can_hold_are_refused_before_the_second_is_drawn(tmp_path, kind, most):
    with pytest.raises(ValueError, match=f"those of a {kind} have up to {most} a side; show fewer directions"):
        write_film(tmp_path / f"film.{kind}", [Image.new("RGB", (2, most + 1))])
    assert not list(tmp_path.iterdir())
    passes = 0

    def call(module: torch.nn.Module, z: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        passes += 1
        return z[:, :1, None, None].expand(-1, 1, 128, 128)

    G = og.adapt(torch.nn.Identity(), og.Normal(1), call=call)
    kinds: dict[str, bool] = {each: each == kind for each in KINDS}
    with pytest.raises(ValueError, match="or fewer samples"):
        og.traverse(G, to=tmp_path, samples=most // 128, grid=False, max_batch=most // 128, **kinds)
    assert passes <= 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0.0, 0.001, float("inf"), float("nan")])
def test_a_rate_that_no_player_can_keep_is_refused(tmp_path, fps):
    with pytest.raises(ValueError, match=f"fps={fps}: give 0.01 to 1000 frames a second"):
        write_film(tmp_path / "film.gif", moving(), fps=fps)


def test_a_film_that_cannot_be_finished_leaves_nothing_behind(tmp_path):
    path = tmp_path / "film.gif"
    path.write_bytes(b"the one before")

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_bytes(b"half of")
            raise RuntimeError("the disk")

    with pytest.raises(RuntimeError, match="the disk"):
        fail()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"film.gif": b"the one before"}


def test_a_reel_gives_back_what_was_put_in_as_often_as_asked(tmp_path):
    frames = moving(3)
    with Reel(tmp_path / "new", [0, 2, 1, 2]) as reel:
        for frame in frames:
            reel.append(frame)
        assert len(reel) == 4
        assert [shown.tobytes() for shown in reel] == [frames[i].tobytes() for i in (0, 2, 1, 2)]
        assert [shown.tobytes() for shown in reel[1:3]] == [frames[i].tobytes() for i in (2, 1)]
        assert list((tmp_path / "new").iterdir()) == []


# ------------------------------------------------------------------------------------------------ memory
@pytest.mark.parametrize("kind", KINDS)
def test_few_frames_are_alive_at_a_time(tmp_path, monkeypatch, kind):
    needs(kind)
    alive, most = 0, 0

    def counted(page: Image.Image) -> Image.Image:
        nonlocal alive, most

        def gone() -> None:
            nonlocal alive
            alive -= 1

        alive += 1
        most = max(most, alive)
        weakref.finalize(page, gone)
        return page

    class Counting(Reel):
        def __getitem__(self, index):
            return counted(super().__getitem__(index))

    sheet = montage.sheet
    monkeypatch.setattr("orthogen.reporting.traversal.Reel", Counting)
    monkeypatch.setattr("orthogen.reporting.montage.sheet", lambda *given: counted(sheet(*given)))
    kinds: dict[str, bool] = {each: each == kind for each in KINDS}
    og.traverse(linear_generator(), to=tmp_path, samples=1, frames=60, grid=False, **kinds)
    assert 1 <= most <= 8  # six of them make the palette of a GIF


def test_memory_does_not_grow_with_the_length_of_a_film(tmp_path):
    code = textwrap.dedent(f"""
        import resource
        import torch
        import orthogen as og
        torch.set_num_threads(1)
        tile = torch.nn.Upsample(scale_factor=32)
        module = torch.nn.Sequential(torch.nn.Linear(2, 48), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 4, 4)), tile)
        G = og.adapt(module, og.Normal(2))
        def draw(frames):
            og.traverse(G, to={str(tmp_path)!r}, samples=4, frames=frames, grid=False, webp=True, path="linear")
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        short = draw(10)
        print(draw(110) - short)
    """)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown = int(run.stdout) * (1 if sys.platform == "darwin" else 1024)  # bytes there, KiB elsewhere
    kept = 100 * 2 * 4 * 3 * 128**2  # bytes of 100 frames
    assert grown < kept / 2  # the WebP encoder holds the compressed film


def test_frames_are_drawn_once_whatever_films_are_made_of_them(tmp_path):
    drawn = 0

    def call(module: torch.nn.Module, z: torch.Tensor) -> torch.Tensor:
        nonlocal drawn
        drawn += len(z)
        return module(z)

    G = og.adapt(torch.nn.Unflatten(1, (1, 2, 2)), og.Normal(4), call=call)
    written = og.traverse(G, to=tmp_path, samples=2, frames=12, grid=False, gif=True, webp=True)
    assert len(written) == 2
    assert drawn == 4 * 2 * 7  # there and back are 7 values
