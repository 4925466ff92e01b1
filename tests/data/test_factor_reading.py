import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.core.images import to_float
from orthogen.data.shapes3d import Shapes3d
from orthogen.data.sprites import Sprites

BALLS = Shapes3d(resolution=32, varying=("floor_hue", "wall_hue", "object_hue", "scale"))
# (data, frames, Gaussian blur in pixels, noise on the scale of [-1, 1], largest share of wrong readings of any factor)
CASES = {
    "sprites": (Sprites(), 600, 0.0, 0.0, 0.005),
    "sprites, soft": (Sprites(), 300, 1.0, 0.1, 0.02),
    "sprites, soft and noisy": (Sprites(), 300, 1.0, 0.3, 0.03),
    "sprites at 32": (Sprites(32), 600, 0.0, 0.0, 0.03),
    "colored sprites": (Sprites(look="color"), 300, 0.0, 0.0, 0.01),
    "noisy sprites": (Sprites(look="noisy"), 300, 0.0, 0.0, 0.01),
    "rooms": (Shapes3d(resolution=32), 600, 0.0, 0.0, 0.005),
    "rooms, soft": (Shapes3d(resolution=32), 300, 0.5, 0.1, 0.02),
    "balls": (BALLS, 600, 0.0, 0.0, 0.005),
    "balls, soft and noisy": (BALLS, 300, 1.0, 0.3, 0.02),
}


@pytest.fixture(scope="module")
def opened():
    # the same description is opened once, as its templates take a second or two
    sets = {}
    return lambda data: sets.setdefault(repr(data), data.open())


@pytest.mark.parametrize("case", CASES)
def test_factors_are_read_off_frames(case, opened, rng):
    data, n, blur, noise, limit = CASES[case]
    errors = opened(data).reading_error(n, blur=blur, noise=noise, rng=rng)
    assert tuple(errors) == opened(data).factor_names
    for name, error in errors.items():
        assert error.value <= limit, name
        assert error.n == n
        assert error.stderr > 0
        assert error.protocol == {"blur": blur, "noise": noise, "resolution": data.resolution}


def test_hearts_are_read_exactly(opened, rng):
    sprites = opened(Sprites())
    index = torch.randint(len(sprites), (300,), generator=rng)
    truth = sprites.factors(index)
    hearts = truth[:, 0] == 2
    values, _ = sprites.read_factors(to_float(sprites.images(index)))
    assert torch.equal(values[hearts], sprites.canonical(truth)[hearts])


def test_contrast_does_not_matter(opened):
    sprites = opened(Sprites())
    images = to_float(sprites.images(torch.tensor([700_000])))
    assert torch.equal(sprites.read_factors(0.2 * images + 0.1)[0], sprites.read_factors(images)[0])


def test_three_gray_channels_read_as_one(opened):
    sprites = opened(Sprites())
    images = to_float(sprites.images(torch.tensor([123_456, 700_000])))
    assert torch.equal(sprites.read_factors(images.expand(-1, 3, -1, -1))[0], sprites.read_factors(images)[0])


@pytest.mark.parametrize("data", [Sprites(), BALLS], ids=["sprites", "balls"])
def test_confidence_is_high_on_frames_and_falls_with_noise(data, opened, rng):
    drawn = opened(data)
    images = to_float(drawn.images(torch.randint(len(drawn), (60,), generator=rng)))
    noise = torch.randn(images.shape, generator=rng)
    means = [float(drawn.read_factors(images + noise * level)[1].mean()) for level in (0.0, 0.5, 3.0)]
    assert means[0] > 0.9
    assert means[0] > means[1] > means[2]


@pytest.mark.parametrize("data", [Sprites(), BALLS], ids=["sprites", "balls"])
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_an_empty_image_is_read_with_no_confidence(data, value, opened):
    drawn = opened(data)
    values, confidence = drawn.read_factors(torch.full((2, drawn.channels, data.resolution, data.resolution), value))
    assert (confidence == 0).all()
    assert ((values >= 0) & (values < torch.tensor(drawn.factor_sizes))).all()


def test_a_reading_does_not_depend_on_its_batch(opened):
    drawn = opened(BALLS)
    images = to_float(drawn.images(torch.arange(0, 8000, 97)))
    together = drawn.read_factors(images)
    apart = [drawn.read_factors(image[None]) for image in images]
    assert torch.equal(together[0], torch.cat([values for values, _ in apart]))
    torch.testing.assert_close(together[1], torch.cat([confidence for _, confidence in apart]), atol=1e-3, rtol=0)


@given(st.integers(0, 2), st.integers(0, 39))
@settings()
def test_canonical_orientation_is_in_the_first_period_and_shows_the_same(shape, orientation):
    sprites = Sprites().open()
    factors = torch.tensor([[shape, 2, orientation, 5, 6]])
    canonical = sprites.canonical(factors)
    assert 0 <= canonical[0, 2] < (10, 20, 39)[shape]
    assert sprites.same(canonical, factors).all()
    assert torch.equal(sprites.canonical(canonical), canonical)


def test_orientations_agree_up_to_the_symmetry_of_the_shape():
    sprites = Sprites().open()
    pairs = torch.tensor([[[s, 0, a, 0, 0], [s, 0, b, 0, 0]] for s in range(3) for a, b in ((0, 39), (3, 13), (0, 20))])
    agree = sprites.same(pairs[:, 0], pairs[:, 1])[:, 2].view(3, 3)
    # 0 and 39 are one image; 10 steps are nearly a quarter turn, 20 nearly a half turn
    assert agree.tolist() == [[True, True, True], [True, False, True], [True, False, False]]


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        (Sprites(), (1, 1, 32, 32), r"images of 1 x 32 x 32: this reader takes 1 or 3 channels of 64 x 64 pixels"),
        (Sprites(), (1, 2, 64, 64), r"images of 2 x 64 x 64: this reader takes 1 or 3 channels"),
        (BALLS, (1, 1, 32, 32), r"images of 1 channel: the hues of Shapes3d cannot be read off gray images"),
    ],
)
def test_mistakes_are_named(data, shape, message, opened):
    with pytest.raises(ValueError, match=message):
        opened(data).read_factors(torch.zeros(shape))
