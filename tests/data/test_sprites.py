import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.core.record import from_json, to_json
from orthogen.data.sprites import SIZES, Sprites

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "dsprites_sprite_stats.json").read_text())["rows"]
WRONG = {0: 4, 1: 4, 2: 6}  # pixels a frame, by shape


@pytest.fixture(scope="module")
def sprites():
    return Sprites().open()


def some(n, seed=0):
    return torch.randint(math.prod(SIZES), (n,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("row", GOLDEN, ids=lambda r: "-".join(str(r[k]) for k in ("shape", "scale", "orientation")))
def test_frames_match_what_was_measured_on_the_original(sprites, row):
    factors = torch.tensor([[row[name] for name in sprites.factor_names]])
    lit = sprites.draw(factors)[0, 0] == 255
    assert (lit.sum(dim=1) - torch.tensor(row["row_counts"])).abs().sum() <= WRONG[row["shape"]]
    rows, columns = (lit.any(dim=d).nonzero()[:, 0] for d in (1, 0))
    for found, name in ((rows[0], "y0"), (rows[-1], "y1"), (columns[0], "x0"), (columns[-1], "x1")):
        assert abs(int(found) - row[name]) <= 1


def test_all_shapes_and_places_match_the_redrawn_data_set(sprites, shared_data):
    with np.load(shared_data / "dsprites_redrawn.npz") as file:
        packed = file["imgs"]
    index = some(3000)
    theirs = torch.from_numpy(np.unpackbits(packed[index.numpy()], axis=-1).reshape(-1, 64, 64)) > 0
    wrong = ((sprites.images(index)[:, 0] > 0) != theirs).sum(dim=(1, 2))
    shape = sprites.factors(index)[:, 0]
    for kind, limit in WRONG.items():
        # the redrawn frames are themselves not all the original's: one in 10,000 differs by more, at most by 9
        assert (wrong[shape == kind] > limit).float().mean() < 0.002
        assert wrong[shape == kind].max() <= 9
        assert wrong[shape == kind].float().mean() < 1


def test_a_pixel_is_lit_if_and_only_if_its_center_is_inside_the_shape(sprites):
    index = some(60, seed=1)
    for factors, frame in zip(sprites.factors(index).tolist(), sprites.images(index)[:, 0].numpy(), strict=True):
        shape, scale, orientation, x, y = factors
        s, t = 0.5 + 0.1 * scale, 2 * np.pi * orientation / 39
        py, px = np.mgrid[:64, :64] + 0.5
        dx, dy = px - 16 - 32 * x / 31, py - 16 - 32 * y / 31
        u, v = (np.cos(t) * dx - np.sin(t) * dy) / s, (np.sin(t) * dx + np.cos(t) * dy) / s
        if shape == 0:
            inside = (abs(u) <= 9.6) & (abs(v) <= 9.6)
        elif shape == 1:
            inside = (u / 12.8) ** 2 + (v / 7.2) ** 2 <= 1
        else:  # by the winding of the curve, as a polygon of many corners
            p = np.linspace(0, 2 * np.pi, 20_001)
            hu = 9.6 * np.sin(p) ** 3
            hv = -0.665 * (13 * np.cos(p) - 5 * np.cos(2 * p) - 2 * np.cos(3 * p) - np.cos(4 * p)) - 1.4
            inside = _inside_polygon(u, v, hu, hv)
        assert np.array_equal(frame == 255, inside), factors


def _inside_polygon(u, v, hu, hv):
    crossings = np.zeros(u.shape, dtype=int)
    near = np.hypot(u, v) < 15
    for at in np.argwhere(near):
        a, b = u[tuple(at)], v[tuple(at)]
        spans = (hv[:-1] > b) != (hv[1:] > b)
        at_u = hu[:-1][spans] + (b - hv[:-1][spans]) / np.diff(hv)[spans] * np.diff(hu)[spans]
        crossings[tuple(at)] = (at_u > a).sum()
    return crossings % 2 == 1


def test_factors_come_in_the_order_of_the_original(sprites):
    assert sprites.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    assert sprites.factor_sizes == (3, 6, 40, 32, 32)
    assert len(sprites) == 737_280
    assert (sprites.channels, sprites.resolution, sprites.classes) == (1, 64, ())
    assert sprites.factors(torch.tensor([0, 33, 737_279])).tolist() == [[0] * 5, [0, 0, 0, 1, 1], [2, 5, 39, 31, 31]]


@given(st.integers(0, 737_279), st.sampled_from([16, 33, 64, 200, 256]))
@settings(max_examples=40)
def test_every_sprite_lies_whole_within_the_frame_at_any_resolution(index, resolution):
    frame = Sprites(resolution).open().images(torch.tensor([index]))
    assert frame.shape == (1, 1, resolution, resolution)
    lit = frame[0, 0] > 0
    margin = 2.4 / 64 * resolution - 1
    rows, columns = lit.nonzero().unbind(dim=1)
    assert lit.any()
    assert min(rows.min(), columns.min()) >= margin
    assert max(rows.max(), columns.max()) <= resolution - 1 - margin


def test_the_geometry_scales_with_the_resolution():
    index = some(100)
    small, large = (Sprites(r).open().images(index).float().mean(dim=(1, 2, 3)) for r in (64, 256))
    torch.testing.assert_close(small, large, rtol=0.1, atol=0.05)


def test_the_last_orientation_is_the_first(sprites):
    rows = torch.cartesian_prod(
        torch.arange(3), torch.arange(6), torch.tensor([0]), torch.tensor([3]), torch.tensor([17])
    )
    last = rows.clone()
    last[:, 2] = 39
    assert torch.equal(sprites.draw(rows), sprites.draw(last))


@pytest.mark.parametrize("look", [None, "color", "noisy"])
def test_a_frame_does_not_depend_on_its_batch(look):
    sprites, index = Sprites(64, look).open(), some(150)
    together = sprites.images(index)
    assert torch.equal(together, torch.cat([sprites.images(index[:1]), sprites.images(index[1:])]))
    assert torch.equal(together, sprites.draw(sprites.factors(index)))
    assert together.dtype == torch.uint8


def test_no_frames_are_no_error(sprites):
    assert sprites.images(torch.tensor([], dtype=torch.long)).shape == (0, 1, 64, 64)
    assert sprites.read_factors(torch.zeros(0, 1, 64, 64))[0].shape == (0, 5)


def test_colored_sprites_have_one_bright_color_each():
    index = some(200)
    plain, colored = Sprites().open().images(index), Sprites(look="color").open().images(index)
    assert colored.shape == (200, 3, 64, 64)
    assert not colored[~(plain > 0).expand_as(colored)].any()
    color = colored.amax(dim=(2, 3))
    assert torch.equal(torch.where(plain > 0, color[:, :, None, None], 0), colored)
    assert color.min() >= 127
    assert abs(color.float().mean() / 255 - 0.75) < 0.02
    assert len(color.unique(dim=0)) == 200


def test_noise_fills_the_background_evenly():
    index = some(50)
    lit = (Sprites().open().images(index) > 0).expand(-1, 3, -1, -1)
    noisy = Sprites(look="noisy").open().images(index)
    assert (noisy[lit] == 255).all()
    background = noisy[~lit].float() / 255
    assert abs(background.mean() - 0.5) < 0.005
    assert abs(background.std() - 1 / 12**0.5) < 0.005


@pytest.mark.parametrize("look", ["color", "noisy"])
def test_looks_are_drawn_anew_from_an_rng_and_repeat_with_its_seed(look):
    sprites, index = Sprites(look=look).open(), some(3)
    rng = torch.Generator().manual_seed(5)
    first, second = sprites.images(index, rng=rng), sprites.images(index, rng=rng)
    assert not torch.equal(first, second)
    assert torch.equal(first, sprites.images(index, rng=torch.Generator().manual_seed(5)))


def test_json_round_trip():
    sprites = Sprites(resolution=32, look="color")
    assert from_json(json.loads(json.dumps(to_json(sprites)))) == sprites


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sprites(resolution=8), r"Sprites\(resolution=8\): give a side of 16 to 256 pixels"),
        (lambda: Sprites(resolution=512), r"Sprites\(resolution=512\): give a side of 16 to 256 pixels"),
        (lambda: Sprites(look="scream"), r"Sprites\(look='scream'\): give 'color', 'noisy', or None"),
        (lambda: Sprites().open().images(torch.tensor([737_280])), r"index 737280 .*: this set has frames 0 to 737279"),
        (lambda: Sprites().open().images(torch.tensor([-1])), r"index -1 .*: this set has frames 0 to 737279"),
        (
            lambda: Sprites().open().draw(torch.tensor([[3, 0, 0, 0, 0]])),
            r"no frame of factors \[3, 0, .*shape 0-2, scale",
        ),
    ],
)
def test_mistakes_are_named(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()
