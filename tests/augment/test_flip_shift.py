import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import orthogen as og
from orthogen.augment._moves import moved
from vectors import vectors


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def check_golden(golden):
    x, out = (torch.from_numpy(golden[name]).float() for name in ("x", "out"))
    mirrored = torch.from_numpy(golden["flip_u"]) < 0.5
    shifts = (torch.from_numpy(golden[name]) for name in ("shift_rows", "shift_cols"))
    assert torch.equal(moved(x, mirrored, *shifts), out)


def test_the_released_transformation_to_the_bit():
    check_golden(vectors("cr_aug"))


def test_the_released_transformation_on_all_its_images(shared_golden):
    check_golden(vectors(shared_golden / "group-spectral" / "cr_aug"))


@given(data=st.data(), height=st.integers(1, 9), width=st.integers(1, 9))
def test_moves_are_numpys(data, height, width):
    x = torch.rand(2, 2, height, width, generator=seeded())
    rows, columns = (
        data.draw(st.lists(st.integers(1 - side, side - 1), min_size=2, max_size=2)) for side in (height, width)
    )
    mirrored = data.draw(st.lists(st.booleans(), min_size=2, max_size=2))
    turns = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=2)) if height == width else None
    expected = []
    for i, image in enumerate(x.numpy()):
        flipped = image[:, :, ::-1] if mirrored[i] else image
        turned = np.rot90(flipped, turns[i] if turns else 0, axes=(1, 2))
        padded = np.pad(turned, ((0, 0), (height - 1,) * 2, (width - 1,) * 2), mode="reflect")
        r, s = height - 1 + rows[i], width - 1 + columns[i]
        expected.append(padded[:, r : r + height, s : s + width])
    drawn = [torch.tensor(mirrored), torch.tensor(rows), torch.tensor(columns)]
    found = moved(x, *drawn, None if turns is None else torch.tensor(turns))
    assert np.array_equal(found.numpy(), np.stack(expected))


def test_draws_cover_their_ranges_evenly():
    n, side = 6000, 16
    x = torch.arange(side * side).view(1, 1, side, side).expand(n, -1, -1, -1).float()
    y = og.FlipShift()(x, rng=seeded())[:, 0]
    mirrored = y[:, 8, 8] < y[:, 8, 7]
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(4 * n))
    rows = (y[:, 8, 8] // side - 8).long()
    columns = torch.where(mirrored, 7 - y[:, 8, 8] % side, y[:, 8, 8] % side - 8).long()
    for drawn in (rows, columns):
        counts = torch.bincount(drawn + 2, minlength=5)
        assert len(counts) == 5
        assert (counts / n - 0.2).abs().max() < 4 * math.sqrt(0.16 / n)


def test_settings(rng):
    x = torch.rand(3, 3, 7, 16, generator=rng)
    assert torch.equal(og.FlipShift(flip=0.0, shift=0.0)(x), x)
    assert torch.equal(og.FlipShift(flip=1.0, shift=0.0)(x), x.flip(3))
    assert og.FlipShift(flip=0.0)(x).shape == x.shape  # 7 rows: there is no eighth of a whole pixel
    before = torch.get_rng_state()
    assert torch.equal(og.FlipShift()(x, rng=seeded(1)), og.FlipShift()(x, rng=seeded(1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_of_both_orders():
    x = torch.rand(2, 2, 8, 8, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: og.FlipShift()(x, rng=seeded(2)), x)
    assert torch.autograd.gradgradcheck(lambda x: og.FlipShift()(x, rng=seeded(2)).square(), x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flip": 1.5}, r"FlipShift\(flip=1.5\): give a probability from 0 to 1"),
        ({"shift": 1.0}, r"FlipShift\(shift=1.0\): give a share of the side, from 0 to less than 1"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        og.FlipShift(**fields)
