import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import orthogen as og
from orthogen.augment._operations import OPERATIONS, brightness, contrast, cutout, saturation, translation
from orthogen.core.kinds import Augmentation
from orthogen.core.record import from_json, to_json
from vectors import vectors

FIVE = tuple(OPERATIONS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def arrays(name):
    return {key: torch.from_numpy(value) for key, value in vectors(name).items()}


# ---------------------------------------------------------------------------------------------- the released code
def test_operations_of_eigengans_code_to_the_bit():
    golden = arrays("diffaugment")
    x, u = golden["x"], golden["u"]
    made = {
        "brightness": brightness(x, u),
        "saturation": saturation(x, u),
        "contrast": contrast(x, u),
        "translation": translation(x, golden["trans_x"], golden["trans_y"]),
        "cutout": cutout(x, golden["cut_x"], golden["cut_y"]),
    }
    for name, images in made.items():
        assert torch.equal(images[:, :, ::3, ::3], golden[f"rand_{name}"]), name


def test_the_whole_policy_of_studiogans_code_to_the_bit():
    golden = arrays("diffaug")
    x = golden["x"].requires_grad_()
    draws = [(golden[f"{name}_u"],) for name in ("brightness", "saturation", "contrast")]
    draws += [(golden["shift_rows"], golden["shift_cols"]), (golden["cut_off_rows"], golden["cut_off_cols"])]
    stages = [f"after_{stage}" for stage in ("color0", "color1", "color2", "translation0", "cutout0")]
    images = x
    for name, drawn, stage in zip(og.DiffAugment().operations, draws, stages, strict=True):
        images = OPERATIONS[name].apply(images, *drawn)
        assert torch.equal(images, golden[stage]), name
    probe = torch.arange(6 * x[0].numel()).view(6, *x.shape[1:])[[0, 3]] / (6 * x[0].numel())
    (gradient,) = torch.autograd.grad((images * probe).sum(), x)
    torch.testing.assert_close(gradient, golden["gradx_linear_probe"], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------- operations
@given(data=st.data(), height=st.integers(1, 9), width=st.integers(1, 9))
def test_translation_and_cutout_pixel_by_pixel(data, height, width):
    n = 2
    x = torch.rand(n, 2, height, width, generator=seeded()) + 1
    pairs = st.lists(st.tuples(st.integers(-10, 10), st.integers(-10, 10)), min_size=n, max_size=n)
    shifts = data.draw(pairs)
    moved, cut = np.zeros(x.shape, np.float32), x.numpy().copy()
    centers = [(abs(a) % (height + 1), abs(b) % (width + 1)) for a, b in data.draw(pairs)]
    half_h, half_w = math.floor(height / 2 + 0.5), math.floor(width / 2 + 0.5)
    for k in range(n):
        for r in range(height):
            for s in range(width):
                from_r, from_s = r + shifts[k][0], s + shifts[k][1]
                if 0 <= from_r < height and 0 <= from_s < width:
                    moved[k, :, r, s] = x[k, :, from_r, from_s]
        for i in range(half_h):
            for j in range(half_w):
                r = min(max(centers[k][0] + i - half_h // 2, 0), height - 1)
                s = min(max(centers[k][1] + j - half_w // 2, 0), width - 1)
                cut[k, :, r, s] = 0
    assert np.array_equal(translation(x, *torch.tensor(shifts).unbind(1)).numpy(), moved)
    assert np.array_equal(cutout(x, *torch.tensor(centers).unbind(1)).numpy(), cut)


def test_colors_at_the_middle_of_their_range_change_nothing(rng):
    x, half = torch.randn(3, 3, 4, 4, generator=rng, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64)
    for name in ("brightness", "saturation", "contrast"):
        torch.testing.assert_close(OPERATIONS[name].apply(x, half), x)
    gray, flat = saturation(x, 0 * half), contrast(x, 0 * half - 0.5)
    torch.testing.assert_close(gray, x.mean(1, keepdim=True).expand_as(x))
    torch.testing.assert_close(flat, x.mean((1, 2, 3), keepdim=True).expand_as(x))


@pytest.mark.parametrize("side", [9, 32])
def test_draws_cover_their_ranges(side):
    x = torch.zeros(4000, 3, side, 2 * side)
    for name in ("brightness", "saturation", "contrast"):
        (u,) = OPERATIONS[name].draw(x, seeded())
        assert 0 <= u.min() < 0.01
        assert 0.99 < u.max() < 1
    most = {9: (1, 2), 32: (4, 8)}[side]
    for drawn, m in zip(OPERATIONS["translation"].draw(x, seeded()), most, strict=True):
        assert sorted(set(drawn.tolist())) == list(range(-m, m + 1))
    ends = {9: (9, 18), 32: (33, 65)}[side]  # a hole of 5 rows and 9 columns, or of 16 and 32
    for drawn, end in zip(OPERATIONS["cutout"].draw(x, seeded()), ends, strict=True):
        assert sorted(set(drawn.tolist())) == list(range(end))


# ---------------------------------------------------------------------------------------------- the method
def test_it_is_its_operations_in_order_each_with_draws_of_its_own(rng):
    x, replay = torch.rand(5, 3, 16, 16, generator=rng), seeded(3)
    images = x
    for name in FIVE:
        images = OPERATIONS[name].apply(images, *OPERATIONS[name].draw(images, replay))
    before = torch.get_rng_state()
    assert torch.equal(og.DiffAugment()(x, rng=seeded(3)), images)
    assert torch.equal(og.DiffAugment("brightness,saturation,contrast,translation,cutout")(x, rng=seeded(3)), images)
    assert torch.equal(torch.get_rng_state(), before)
    stream = seeded(3)
    og.DiffAugment()(x, rng=stream)
    assert not torch.equal(og.DiffAugment()(x, rng=stream), images)  # real and fake images draw separately


def test_every_sample_sees_its_own_draws_alone(rng):
    x, other = torch.rand(2, 4, 3, 16, 16, generator=rng)
    mixed = torch.cat([x[:2], other[2:]])
    one, two = (og.DiffAugment()(images, rng=seeded(1)) for images in (x, mixed))
    assert torch.equal(one[:2], two[:2])
    same = og.DiffAugment()(x[:1].expand(4, -1, -1, -1), rng=seeded(1))
    assert len({image.numpy().tobytes() for image in same}) == 4


@pytest.mark.parametrize("name", FIVE)
def test_a_coin_per_operation_and_call(name):
    augment, x, stream = (
        og.DiffAugment(name, probability=0.6),
        torch.rand(8, 3, 8, 8, generator=seeded()) + 1,
        seeded(1),
    )
    tossed = []
    for _ in range(400):
        changed = (augment(x, rng=stream) != x).flatten(1).any(1)
        # a shift of 0 in both axes, one in nine here, changes nothing either
        assert changed.all() or not changed.any() or name == "translation"
        tossed.append(bool(changed.any()))
    assert np.mean(tossed) == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / 400))


def test_coins_are_independent(rng):
    x, stream, augment = torch.rand(1, 3, 4, 4, generator=rng) + 1, seeded(2), og.DiffAugment("color", probability=0.5)
    untouched = np.mean([torch.equal(augment(x, rng=stream), x) for _ in range(600)])
    assert untouched == pytest.approx(1 / 8, abs=4 * math.sqrt(7 / 64 / 600))


def test_probabilities_of_zero_and_one(rng):
    x = torch.rand(3, 3, 16, 16, generator=rng)
    assert torch.equal(og.DiffAugment(probability=0.0)(x, rng=rng), x)
    assert og.DiffAugment.eigengan() == og.DiffAugment("color,translation,cutout", probability=0.6)
    assert og.DiffAugment().probability == 1


@pytest.mark.parametrize("probability", [1.0, 0.6])
def test_gradients_of_both_orders(probability):
    augment = og.DiffAugment(probability=probability)
    x = torch.rand(2, 3, 4, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    for seed in range(2):
        assert torch.autograd.gradcheck(lambda x, seed=seed: augment(x, rng=seeded(seed)), x)
        # R1 differentiates the gradient once more
        assert torch.autograd.gradgradcheck(lambda x, seed=seed: augment(x, rng=seeded(seed)).square(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_precision_and_shape_stay(dtype):
    x = torch.rand(2, 1, 8, 12, generator=seeded(), dtype=torch.float64).to(dtype)
    for augment in (og.DiffAugment(), og.DiffAugment.eigengan()):
        images = augment(x)
        assert (images.dtype, images.shape) == (x.dtype, x.shape)


def test_the_same_draws_in_either_precision():
    x = torch.rand(3, 3, 16, 16, generator=seeded(), dtype=torch.float64)
    single, double = (og.DiffAugment()(x.to(dtype), rng=seeded(5)) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_on_a_gpu_nothing_is_waited_for(where):
    x, rng = torch.rand(4, 3, 16, 16, generator=seeded()), torch.Generator(where).manual_seed(0)
    on_gpu, mode = x.cuda(), torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        images = og.DiffAugment.eigengan()(on_gpu, rng=rng)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    if where == "cpu":  # one seed, one sequence
        torch.testing.assert_close(images.cpu(), og.DiffAugment.eigengan()(x, rng=seeded(0)))


def test_it_is_a_value():
    assert isinstance(og.DiffAugment(), Augmentation)
    assert from_json(to_json(og.DiffAugment.eigengan())) == og.DiffAugment.eigengan()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"policy": "color,rotation"},
            r"DiffAugment\(policy='color,rotation'\): there is no 'rotation'; give some of color, brightness, "
            r"saturation, contrast, translation, cutout",
        ),
        ({"policy": ""}, r"DiffAugment\(policy=''\): there is no ''"),
        ({"policy": "color,contrast"}, r"name each operation once; color is three of them"),
        ({"probability": 1.5}, r"DiffAugment\(probability=1.5\): give a number from 0 to 1"),
        ({"probability": math.nan}, r"give a number from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        og.DiffAugment(**fields)
