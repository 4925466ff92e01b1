"""Maps of a penalty over an image, and the matrices behind them."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from given_latents import Given
from vectors import vectors


def host(function, dim: int, channels: int = 1) -> og.Generator:
    call = lambda m, z: function(z).unflatten(1, (channels, 1, -1))  # noqa: E731
    return og.adapt(nn.Identity(), og.Normal(dim), call=call)


def test_the_hessian_penaltys_matrix_is_the_golden_hessian_of_the_largest_entry():
    golden = vectors("activeness_diag")
    weight = torch.tensor(golden["Wa"])
    image = lambda m, z: torch.tanh(z @ weight + 0.3 * z**2 @ weight.flip(0)).reshape(-1, 1, 2, 5)  # noqa: E731
    G = og.adapt(nn.Identity(), Given(torch.tensor(golden["z"])), call=image)
    found = og.penalty_maps(G, samples=3, k=400)
    hessian = golden["hessian"][:, 0]  # (samples, 2, 5, 4, 4)
    off = (hessian**2).sum((-1, -2)) - (np.diagonal(hessian, axis1=-2, axis2=-1) ** 2).sum(-1)
    for i, (row, column) in enumerate(found.places):
        assert found.maps[i, row, column] == found.maps[i].max()
        np.testing.assert_allclose(found.matrices[i], np.abs(hessian[i, row, column]), rtol=1e-8, atol=1e-10)
        # a step of 0.1 sqrt(4) and 400 probes: the map is near 2 sum of H_ab^2, and its largest entry near the largest
        assert off[i, row, column] > 0.5 * off[i].max()
        assert np.corrcoef(found.maps[i].flatten(), off[i].flatten())[0, 1] > 0.9


def test_the_hessian_penaltys_map_is_its_variance_and_the_largest_channel_counts():
    def pixels(z: torch.Tensor) -> torch.Tensor:
        zero = 0 * z[:, 0]
        red, green = (z[:, 0] * z[:, 1], z[:, 0] ** 2), (3 * z[:, 0] * z[:, 2], zero)
        return torch.stack([*red, *green, zero, zero], dim=1)

    G = host(pixels, 3, channels=3)  # 2 sum H_ab^2 of the left pixel is 4 in red and 36 in green
    found = og.penalty_maps(G, samples=4, k=2000)
    assert found.images.shape == (4, 3, 1, 2)
    torch.testing.assert_close(found.maps[:, 0], torch.tensor([[36.0, 0.0]]).double().expand(4, 2), rtol=0.1, atol=0.1)
    assert set(found.places) == {(0, 0)}
    torch.testing.assert_close(
        found.matrices[0], torch.tensor([[0.0, 0, 3], [0, 0, 0], [3, 0, 0]]).double(), atol=0.01, rtol=0
    )


def test_orojars_matrix_and_map_are_those_of_the_jacobian():
    weight = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    G = host(lambda z: z @ weight.to(z), 5, channels=3)  # three channels of two pixels
    found = og.penalty_maps(G, "OroJaR", samples=2)
    for matrix in found.matrices:
        torch.testing.assert_close(matrix, (weight @ weight.T).abs(), rtol=1e-4, atol=1e-4)
    by_pixel = weight.view(5, 3, 2)
    for pixel in range(2):
        gram = by_pixel[:, :, pixel] @ by_pixel[:, :, pixel].T
        probes = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)), dtype=torch.float64)
        exact = torch.einsum("ka,ab,kb->k", probes, gram, probes).var(correction=0)
        assert found.maps[:, 0, pixel].tolist() == pytest.approx([exact.item()] * 2, rel=1e-4)


def test_along_directions_and_with_other_derivatives():
    turned = og.Directions(torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5, names=("sum", "difference"))
    G = host(lambda z: torch.stack([z[:, 0] * z[:, 1], z[:, 0] * 0], 1), 2)
    found = og.penalty_maps(G, "HessianPenalty", turned, samples=2, k=16)
    assert found.names == ("sum", "difference")
    torch.testing.assert_close(
        found.matrices, torch.eye(2).double().expand(2, 2, 2), atol=1e-3, rtol=0
    )  # (u^2 - v^2) / 2
    assert found.maps.max() < 1e-3
    exact = og.penalty_maps(G, og.HessianPenalty(derivative=og.Exact()), samples=1, k=500)
    assert exact.maps.max().item() == pytest.approx(4, rel=0.1)


def test_one_seed_gives_the_latents_of_traversals():
    seen = []
    call = lambda m, z: seen.append(z) or z[:, None, None, :].tanh()  # noqa: E731
    G = og.adapt(nn.Identity(), og.Normal(3), call=call)
    one, two = (og.penalty_maps(G, samples=2, k=4, seed=1) for _ in range(2))
    assert torch.equal(one.maps, two.maps)
    expected = og.Normal(3).sample(2, rng=og.core.rng.generator(1, "traversal"))
    assert any(torch.equal(z, expected) for z in seen if z.shape == expected.shape)


def test_mistakes():
    G = host(torch.sin, 3)
    for wrong in ("FidScore", "R1"):
        with pytest.raises(ValueError, match="give a penalty on derivatives, HessianPenalty or OroJaR"):
            og.penalty_maps(G, wrong)
    with pytest.raises(ValueError, match="give at least 1 sample, 2 probes and a positive step"):
        og.penalty_maps(G, k=1)
    with pytest.raises(ValueError, match="1 directions 3 wide for a latent 3 wide: at least two"):
        og.penalty_maps(G, directions=og.Directions.coordinates(3).take([0]))
    with pytest.raises(ValueError, match=r"the generator gives \(8, 3\); heat maps are of finite images"):
        og.penalty_maps(og.adapt(nn.Identity(), og.Normal(3)))
    with pytest.raises(ValueError, match="this generator takes class labels; choose one"):
        og.penalty_maps(og.adapt(nn.Identity(), og.Normal(3), classes=4))
    norm = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Unflatten(1, (1, 2, 2)))
    with pytest.raises(ValueError, match="samples see each other"):
        og.penalty_maps(og.adapt(norm, og.Normal(3)))


def test_rounding_is_no_curvature():
    weight = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    found = og.penalty_maps(host(lambda z: z @ weight, 4, channels=3), samples=3, k=4)
    assert not found.maps.any()
    assert not found.matrices.any()
