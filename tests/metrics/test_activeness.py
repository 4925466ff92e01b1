import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from given_latents import Given
from orthogen.metrics.activeness import Activeness
from vectors import vectors


def test_equals_the_golden_scores():
    golden = vectors("activeness_diag")
    weight, z = torch.tensor(golden["Wa"]), torch.tensor(golden["z"])
    G = og.adapt(
        nn.Identity(),
        Given(z),
        call=lambda m, z: torch.tanh(z @ weight + 0.3 * z**2 @ weight.flip(0)).reshape(-1, 1, 2, 5),
    )
    score = Activeness(samples=30, batch=7)(G)
    np.testing.assert_allclose(score.parts["activeness"], golden["activeness"], rtol=1e-10)
    assert score.value == pytest.approx(golden["activeness"].mean())


def test_equals_the_other_golden_scores():
    golden = vectors("activeness")
    weight, z = torch.tensor(golden["W"]), torch.tensor(golden["z"])
    G = og.adapt(nn.Identity(), Given(z), call=lambda m, z: torch.tanh(z @ weight).reshape(-1, 3, 4, 4))
    found = Activeness()(G).parts["activeness"]
    np.testing.assert_allclose(found, golden["scores"], rtol=2e-6, atol=1e-12)


def image(scale: torch.Tensor) -> og.Generator:
    return og.adapt(nn.Identity(), og.Normal(len(scale)), call=lambda m, z: (z * scale)[:, None, None, :])


def test_linear_generator_has_a_closed_form():
    scale = torch.tensor([1.0, 3.0, 0.0, 2.0])
    score = Activeness(samples=10)(image(scale))
    # -2 s, 0, 2 s in one of four pixels: variance 4 s² / 4
    assert score.parts["activeness"] == pytest.approx((scale**2).tolist(), rel=1e-5)
    assert score.parts["stderr"] == pytest.approx([0.0] * 4, abs=1e-5)
    assert score.parts["effective"] == pytest.approx(14**2 / (1 + 81 + 16), rel=1e-5)
    assert score.protocol["points"] == [-2.0, 0.0, 2.0]
    assert (score.n, score.name) == (10, "Activeness")


def test_along_directions():
    scale = torch.tensor([1.0, 3.0])
    axes = Activeness(samples=5)(image(scale))
    along = Activeness(samples=5)(image(scale), og.Directions(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), names=("b", "a")))
    assert along.parts["activeness"] == pytest.approx(axes.parts["activeness"][::-1], rel=1e-5)
    assert along.parts["directions"] == ["b", "a"]
    # the component along a diagonal moves both pixels by 2 s / sqrt 2 to either side
    diagonal = og.Directions(torch.tensor([[1.0, 1.0]]) / 2**0.5)
    assert Activeness(samples=5)(image(scale), diagonal).value == pytest.approx((2 * 1 + 2 * 9) / 2, rel=1e-5)


def test_span_and_reproducible():
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Unflatten(1, (2, 2, 2)))
    G = og.adapt(net, og.Uniform(3, 0.0, 1.0))
    assert Activeness(samples=4)(G).protocol["points"] == [0.0, 0.5, 1.0]
    assert Activeness(samples=4, span=(-1.0, 1.0))(G).protocol["points"] == [-1.0, 0.0, 1.0]
    one, two = (Activeness(samples=20, batch=b)(G, rng=torch.Generator().manual_seed(3)) for b in (3, 20))
    assert one.value == pytest.approx(two.value, rel=1e-5)
    assert one.stderr == pytest.approx(two.stderr, rel=1e-4)
    assert one.stderr > 0


def test_mistakes():
    with pytest.raises(ValueError, match="give at least 2 samples"):
        Activeness(samples=1)
    with pytest.raises(ValueError, match="directions are 3 wide, the latent is 2 wide"):
        Activeness()(image(torch.ones(2)), og.Directions.coordinates(3))
    with pytest.raises(ValueError, match="direction 'b' is zero or not finite; leave it out"):
        Activeness()(image(torch.ones(2)), og.Directions(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), names=("a", "b")))
    with pytest.raises(ValueError, match="images are not finite at some latents; use an earlier checkpoint"):
        Activeness(samples=2)(image(torch.tensor([1.0, float("nan")])))
