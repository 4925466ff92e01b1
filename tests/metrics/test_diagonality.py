import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from given_latents import Given
from orthogen.metrics.diagonality import Diagonality
from vectors import vectors


def host(function, dim: int) -> og.Generator:
    return og.adapt(nn.Identity(), og.Normal(dim), call=lambda m, z: function(z)[:, None, None, :])


def golden_generator() -> tuple[dict[str, np.ndarray], og.Generator]:
    golden = vectors("activeness_diag")
    weight = torch.tensor(golden["Wa"])
    image = lambda m, z: torch.tanh(z @ weight + 0.3 * z**2 @ weight.flip(0)).reshape(-1, 1, 2, 5)  # noqa: E731
    return golden, og.adapt(nn.Identity(), Given(torch.tensor(golden["z"])), call=image)


@pytest.mark.parametrize("batch", [2, 32])
def test_equals_the_golden_numbers(batch):
    golden, G = golden_generator()
    score = Diagonality(samples=3, batch=batch)(G)
    assert score.value == pytest.approx(golden["diagonalness"][0], rel=1e-12)
    assert score.parts["relative_strength"] == pytest.approx(golden["diagonalness"][1], rel=1e-8)
    assert score.parts["flat"] == 0


def test_standard_errors_are_those_of_the_golden_hessians():
    golden, G = golden_generator()
    hessian = np.abs(golden["hessian"]).reshape(3, 10, 4, 4)
    diagonal = np.diagonal(hessian, axis1=2, axis2=3)
    share = (diagonal.max(-1) == hessian.max((-1, -2))).mean(1)
    strength = diagonal.mean(-1) / ((hessian.sum((-1, -2)) - diagonal.sum(-1)) / 12 + 1e-8)
    score = Diagonality(samples=3)(G)
    assert score.stderr == pytest.approx(share.std(ddof=1) / 3**0.5, rel=1e-8)
    assert score.parts["relative_strength_stderr"] == pytest.approx(strength.mean(1).std(ddof=1) / 3**0.5, rel=1e-6)


def test_fixed_points():
    apart = host(torch.sin, 3)
    assert Diagonality(samples=10)(apart).value == 1.0
    assert Diagonality(samples=10)(apart).stderr == 0.0
    mixed = host(lambda z: z[:, :1] * z[:, 1:], 2)
    assert Diagonality(samples=10)(mixed).value == 0.0
    assert Diagonality(samples=10)(mixed).parts["relative_strength"] < 1e-3


def test_along_directions():
    # z0 z1 is (u^2 - v^2) / 2 in the coordinates along the diagonals
    turned = og.Directions(torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5)
    G = host(lambda z: z[:, :1] * z[:, 1:], 2)
    assert Diagonality(samples=10)(G, turned).value == 1.0


def test_entries_without_curvature_are_left_out_and_counted():
    black = host(lambda z: torch.cat([z[:, :1] * z[:, 1:], z.sin(), 0 * z - 1, 3 * z], dim=1), 2)
    score = Diagonality(samples=50)(black)
    assert score.parts["flat"] == pytest.approx(4 / 7, abs=0.01)
    assert score.value == pytest.approx(2 / 3, abs=0.02)


def test_mistakes():
    with pytest.raises(ValueError, match="give at least 2 samples"):
        Diagonality(samples=1)
    with pytest.raises(ValueError, match=r"the step must be positive; the paper uses 0\.1"):
        Diagonality(step=0.0)
    with pytest.raises(ValueError, match="a Hessian has a diagonal from two on"):
        Diagonality()(host(torch.sin, 3), og.Directions(torch.eye(3)[:1]))
    with pytest.raises(ValueError, match="no curvature in any pixel"):
        Diagonality(samples=2)(host(lambda z: 2 * z + 1, 3))
    with pytest.raises(ValueError, match="direction '1' is zero or not finite; leave it out"):
        Diagonality()(host(torch.sin, 2), og.Directions(torch.tensor([[1.0, 0.0], [0.0, 0.0]])))
    with pytest.raises(ValueError, match="was given no directions"):
        Diagonality()(host(torch.sin, 2), og.Directions(torch.zeros(0, 2)))
    norm = og.adapt(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)), og.Normal(2))
    with pytest.raises(ValueError, match=r"samples see each other .* even in evaluation mode"):
        Diagonality()(norm)
    with pytest.raises(ValueError, match="images are not finite at some latents"):
        Diagonality(samples=20)(host(lambda z: torch.where(z > 0.3, torch.nan, z.sin()), 2))
