import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthogen.reporting.paths import linear, smooth_center, smooth_left_to_right, there_and_back, traversal_latents

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def released() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "direction_paths.npz") as file:
        return dict(file)


@pytest.mark.parametrize("frames", [180, 24])
def test_smooth_center_is_the_released_path(released, frames):
    np.testing.assert_allclose(smooth_center(frames).numpy(), released[f"steps{frames}"], atol=5e-7)


def test_left_to_right_is_the_released_path(released):
    np.testing.assert_allclose(smooth_left_to_right(24).numpy(), released["ltr24"], atol=5e-7)


@pytest.mark.parametrize(("mode", "key"), [("replace", "z_out"), ("add", "z_out_noproj")])
def test_latents_are_the_released_ones_in_their_order(released, mode, key):
    z, q, steps = (torch.from_numpy(released[name]) for name in ("z", "Q", "step_vals"))
    # the released tool multiplies the steps by one size per direction
    parts = [
        traversal_latents(z, q[i : i + 1], steps * size, mode) for i, size in enumerate(released["path_sizes"].tolist())
    ]
    ours = torch.cat(parts).flatten(0, 2)
    np.testing.assert_allclose(ours.numpy(), released[key], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["raw", "normed"])
def test_coordinates_are_progans(kind):
    with np.load(GOLDEN / "interp_zs.npz") as file:
        expected = torch.from_numpy(file[kind])
    # each base latent appears whole once two of its components are read where a third one moves
    base = torch.stack([expected.view(3, 2, 5, 3)[1, :, 0, 0], *expected.view(3, 2, 5, 3)[0, :, 0, 1:].T], dim=1)
    ours = traversal_latents(base, torch.eye(3, dtype=torch.float64), linear(-2, 2, 5).double())
    torch.testing.assert_close(ours.flatten(0, 2), expected, rtol=0, atol=1e-12)


def test_coordinates_are_variation_predictabilitys():
    case = json.loads((GOLDEN / "traversal_grid.json").read_text())["case1"]
    expected = torch.tensor(case["latents"], dtype=torch.float64)
    base = torch.stack([expected[10, 0], expected[0, 1], expected[0, 2]])[None]
    values = -2 + 0.4 * torch.arange(10, dtype=torch.float64)  # the upper end is left out there
    ours = traversal_latents(base, torch.eye(3, dtype=torch.float64), values)
    torch.testing.assert_close(ours.flatten(0, 2), expected, rtol=0, atol=1e-12)


@given(st.integers(1, 200), st.floats(-10, 0), st.floats(0.5, 10))
def test_linear_reaches_both_ends_in_equal_steps(steps, low, width):
    values = linear(low, low + width, steps)
    assert len(values) == steps
    if steps == 1:
        assert values.item() == pytest.approx(low + width / 2, abs=1e-5)
    else:
        assert values[0].item() == pytest.approx(low, abs=1e-6)
        assert values[-1].item() == pytest.approx(low + width, abs=1e-5)
        torch.testing.assert_close(values.diff(), torch.full((steps - 1,), width / (steps - 1)), rtol=1e-3, atol=1e-5)


def test_the_middle_of_a_symmetric_path_is_exactly_zero():
    assert all(linear(-2, 2, steps)[steps // 2] == 0 for steps in range(1, 40, 2))


@given(st.integers(1, 100), st.floats(-5, -0.5), st.floats(0.5, 5))
def test_there_and_back_is_a_loop_without_a_seam(half, low, high):
    path = there_and_back(low, high, 2 * half)
    assert path.min().item() == pytest.approx(low, rel=1e-5)
    assert path.max().item() == pytest.approx(high, rel=1e-5)
    seam = path.diff(append=path[:1]).abs()
    assert seam.max() <= (high - low) * math.sin(math.pi / (2 * half)) + 1e-5  # the longest step of a sine
    assert len(path.unique()) == half + 1  # the way back repeats the way there


@given(st.integers(0, 2**31), st.floats(-3, 3))
def test_replacing_sets_the_coordinate_and_leaves_what_is_orthogonal(seed, a):
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(2, 5, generator=rng, dtype=torch.float64)
    q = torch.nn.functional.normalize(torch.randn(3, 5, generator=rng, dtype=torch.float64), dim=1)
    moved = traversal_latents(z, q, torch.tensor([a], dtype=torch.float64))[:, :, 0]
    coordinate = torch.einsum("nbd,nd->nb", moved, q)
    torch.testing.assert_close(coordinate, torch.full_like(coordinate, a))
    rest = moved - coordinate[..., None] * q[:, None]
    torch.testing.assert_close(rest, z - (z @ q.T).T[..., None] * q[:, None])


def test_a_direction_of_any_length_counts_in_its_own_unit():
    z = torch.tensor([[3.0, 1.0]])
    moved = traversal_latents(z, torch.tensor([[2.0, 0.0]]), torch.tensor([1.0]))
    assert moved.flatten().tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: linear(0, 1, 0), "steps=0: give at least 1"),
        (lambda: there_and_back(0, 1, 7), "frames=7: a way there and back has an even number of frames"),
        (lambda: there_and_back(0, 1, 0), "frames=0: give at least 2"),
        (lambda: smooth_center(22), "frames=22: smooth_center takes a positive multiple of 4, such as 180"),
        (
            lambda: traversal_latents(torch.zeros(1, 3), torch.eye(3), torch.zeros(2), "swap"),
            "mode='swap': a traversal can 'replace' the coordinate along a direction, or 'add' to it",
        ),
        (
            lambda: traversal_latents(torch.zeros(1, 2), torch.tensor([[1.0, 0], [0, 0]]), torch.zeros(2)),
            "direction 1 is zero: nothing to replace; leave it out, or use mode='add'",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(call, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared whole)
        call()
    assert str(caught.value) == text


def test_widths_must_agree():
    # shapes are checked under pytest, so the function's own words come from its body
    inner = getattr(traversal_latents, "__wrapped__", traversal_latents)
    with pytest.raises(ValueError, match="directions are 2 wide and latents 3; they must be the same"):
        inner(torch.zeros(1, 3), torch.eye(2), torch.zeros(2))
