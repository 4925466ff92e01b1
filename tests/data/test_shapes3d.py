import json

import pytest
import torch

from orthogen.core.record import from_json, to_json
from orthogen.data._room import FLOOR, GLINT, OBJECT, SKY, WALL, render
from orthogen.data.shapes3d import FACTORS, Shapes3d

BALLS = ("floor_hue", "wall_hue", "object_hue", "scale")


def planes(shape, scale=3, orientation=7, resolution=64):
    azimuth = torch.deg2rad(torch.tensor(-30 + 60 / 14 * orientation)).item()
    return render(shape, 0.75 + 0.5 / 7 * scale, azimuth, resolution, 2, torch.device("cpu"))


def extent(shape, scale, orientation=7):
    """Width, height, middle column and last row of the solid, in pixels of 64."""
    solid = planes(shape, scale, orientation)[[OBJECT, GLINT]].sum(dim=0) > 0.2
    rows, columns = solid.any(dim=1).nonzero()[:, 0], solid.any(dim=0).nonzero()[:, 0]
    return len(columns), len(rows), float(columns.float().mean()) + 0.5, int(rows[-1])


def test_factors_come_in_the_order_of_the_original():
    rooms = Shapes3d().open()
    assert rooms.factor_names == ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    assert rooms.factor_sizes == (10, 10, 10, 8, 4, 15)
    assert len(rooms) == 480_000
    assert rooms.factors(torch.tensor([1, 15, 479_999])).tolist() == [
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0],
        [9, 9, 9, 7, 3, 14],
    ]


# what was measured on 25 frames of the original at 64 pixels: (smallest, largest) width and height
@pytest.mark.parametrize(
    ("shape", "width", "height"),
    [(0, (17, 30), (17, 30)), (1, (16, 26), (18, 31)), (2, (17, 30), (17, 30)), (3, (13, 23), (28, 46))],
    ids=["cube", "cylinder", "sphere", "capsule"],
)
def test_solids_have_the_sizes_of_the_original(shape, width, height):
    small, large = extent(shape, 0), extent(shape, 7)
    assert small[0] == pytest.approx(width[0], abs=2)
    assert large[0] == pytest.approx(width[1], abs=2)
    assert small[1] == pytest.approx(height[0], abs=2)
    assert large[1] == pytest.approx(height[1], abs=3)
    for _, _, column, base in (small, large, extent(shape, 3, orientation=0)):
        assert abs(column - 32) <= 1.5
        assert 52 <= base <= 57


@pytest.mark.parametrize("orientation", [0, 4, 7, 10, 14])
def test_walls_lie_where_they_do_in_the_original(orientation):
    sky, wall, floor = planes(2, 0, orientation)[[SKY, WALL, FLOOR]]
    across = wall.amax(dim=0) > 0.8  # the columns of the far wall
    for rows in ((sky > 0.5).sum(dim=0)[across], (floor < 0.05).sum(dim=0)[[0, -1]]):
        assert rows.max() - rows.min() <= 6
    assert 13 <= (sky > 0.5).sum(dim=0).float().mean() <= 19
    assert 39 <= (floor[:, 5] == 0).sum() <= 43


def test_a_darker_wall_enters_at_either_side():
    left, middle, right = (planes(2, 0, orientation)[WALL, 24] for orientation in (0, 7, 14))
    assert middle.std() < 0.02
    for dark, bright in ((left[:8], left[-8:]), (right[-8:], right[:8])):
        assert 0.60 < dark.mean() / bright.mean() < 0.72  # 30 to 35 % darker, and shaded where they meet


def test_the_shadow_falls_to_the_lower_right():
    floor = planes(2, 7)[FLOOR]
    assert floor[54:58, 45:52].mean() < 0.75 * floor[54:58, 12:19].mean()


def test_the_planes_share_every_pixel_out():
    room = planes(0, 4, 3)
    assert room.min() >= 0
    assert room.max() <= 1
    assert room.sum(dim=0).max() <= 1 + 1e-5


def test_the_sky_has_its_color():
    frame = Shapes3d().open().images(torch.tensor([12_345]))[0]
    assert frame[:, 2, 5].tolist() == [153, 226, 249]


def test_hues_color_what_they_name():
    rooms = Shapes3d().open()
    # floor green-ish (0.3), wall blue (0.6), object red (0): pixels of floor, wall, and the middle of the ball
    frame = rooms.draw(torch.tensor([[3, 6, 0, 4, 2, 7]]))[0].float()
    for (row, column), brightest in (((61, 5), 1), ((25, 5), 2), ((42, 32), 0)):
        assert frame[:, row, column].argmax() == brightest
        assert frame[:, row, column].min() < 60


def test_a_frame_does_not_depend_on_its_batch():
    rooms = Shapes3d(varying=BALLS).open()
    index = torch.arange(0, 8000, 61)
    assert torch.equal(rooms.images(index), torch.cat([rooms.images(index[:1]), rooms.images(index[1:])]))


@pytest.mark.parametrize("resolution", [16, 33, 100, 256])
def test_any_resolution_shows_the_same_scene(resolution):
    scene = torch.tensor([[1, 5, 0, 4, 3, 2]])
    frame, reference = (Shapes3d(r).open().draw(scene).float() for r in (resolution, 64))
    assert frame.shape == (1, 3, resolution, resolution)
    small = [torch.nn.functional.interpolate(x, (8, 8), mode="bilinear", antialias=True) for x in (frame, reference)]
    assert (small[0] - small[1]).abs().mean() < 4


def test_only_the_varying_factors_vary():
    balls = Shapes3d(resolution=32, varying=("scale", "wall_hue"), fixed={"shape": 3, "object_hue": 6}).open()
    assert (balls.factor_names, balls.factor_sizes, len(balls)) == (("wall_hue", "scale"), (10, 8), 80)
    full = Shapes3d(resolution=32).open()
    wanted = full.draw(torch.tensor([[1, 9, 6, 2, 3, 7]]))
    assert torch.equal(balls.draw(torch.tensor([[9, 2]])), wanted)


def test_json_round_trip():
    rooms = Shapes3d(resolution=32, varying=BALLS, fixed={"shape": 1})
    assert from_json(json.loads(json.dumps(to_json(rooms)))) == rooms


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolution": 300}, r"Shapes3d\(resolution=300\): give a side of 16 to 256 pixels"),
        ({"varying": ("hue",)}, rf"there is no factor 'hue'; the factors are {', '.join(FACTORS)}"),
        ({"varying": ()}, r"name at least one factor, each once"),
        ({"varying": ("scale", "scale")}, r"name at least one factor, each once"),
        ({"fixed": {"scale": 2}}, r"scale is both varying and fixed; leave it out of one of them"),
        ({"varying": ("scale",), "fixed": {"shape": 4}}, r"shape=4 is outside its range 0 to 3"),
        ({"supersample": 0}, r"Shapes3d\(supersample=0\): give 1 to 8 rays per pixel"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Shapes3d(**settings)
