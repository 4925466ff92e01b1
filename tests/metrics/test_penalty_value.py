import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.metrics.penalty_value import PenaltyValue


def linear(weight: torch.Tensor) -> og.Generator:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return og.adapt(nn.Sequential(layer, nn.Identity()), og.Normal(weight.shape[1]))


def test_mean_is_the_closed_form(rng):
    weight = torch.randn(5, 3, generator=rng)
    gram = weight.T @ weight
    truth = 2 * (gram - gram.diag().diag()).square().sum().item()
    score = PenaltyValue(samples=100)(linear(weight), rng=rng)
    assert score.stderr == pytest.approx(truth * 0.53 / 10, rel=0.7)  # k = 16 scatters by about half the mean
    assert abs(score.value - truth) < 4 * score.stderr
    assert score.name == "OroJaR"
    assert score.protocol["k"] == 16
    assert score.protocol["penalty"]["k"] == 16


def test_layers_and_their_weights(rng):
    weight = torch.randn(4, 3, generator=rng)
    plain = PenaltyValue(layers=("0", "1"), samples=8)
    weighted = PenaltyValue(og.OroJaR(layer_weights={"1": 3.0}), layers=("0", "1"), samples=8)
    one = plain(linear(weight), rng=torch.Generator().manual_seed(1))
    two = weighted(linear(weight), rng=torch.Generator().manual_seed(1))
    assert one.parts["layers"] == ["0", "1"]
    assert one.parts["value"][0] == pytest.approx(one.parts["value"][1])
    assert one.value == pytest.approx(sum(one.parts["value"]))
    assert two.value == pytest.approx(2 * one.value, rel=1e-5)


def test_along_directions(rng):
    weight = torch.tensor([[1.0, 1.0], [1.0, -1.0]])  # orthogonal columns: nothing to penalize
    assert PenaltyValue(samples=4)(linear(weight), rng=rng).value == pytest.approx(0.0, abs=1e-6)
    skew = og.Directions(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    assert PenaltyValue(samples=4)(linear(weight), skew, rng=rng).value > 0.1


def test_finds_penalties_by_name(rng):
    score = PenaltyValue("HessianPenalty", samples=2)(linear(torch.ones(3, 2)), rng=rng)
    assert score.name == "HessianPenalty"
    assert score.value == pytest.approx(0.0, abs=1e-4)  # linear


def test_leaves_gradients_alone(rng):
    G = linear(torch.ones(3, 2))
    PenaltyValue(samples=2)(G, rng=rng)
    assert all(p.requires_grad and p.grad is None for p in G.module.parameters())


def test_mistakes(rng):
    G = linear(torch.ones(3, 2))
    with pytest.raises(TypeError, match="nothing here is called 'OroJar'; nearest: OroJaR"):
        PenaltyValue("OroJar")(G)
    with pytest.raises(ValueError, match="at least 2 of each are needed"):
        PenaltyValue(k=1)
    batchnorm = og.adapt(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)), og.Normal(2))
    with pytest.raises(ValueError, match=r"samples see each other .* even in evaluation mode"):
        PenaltyValue()(batchnorm)
    for basis, message in (
        (torch.zeros(0, 2), "PenaltyValue was given no directions; give at least one"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "PenaltyValue: direction '1' is zero or not finite; leave it out"),
        (torch.ones(1, 3), "PenaltyValue: the directions are 3 wide, the latent is 2 wide"),
    ):
        with pytest.raises(ValueError, match=message):
            PenaltyValue(samples=2)(G, og.Directions(basis))
    holes = og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z: torch.where(z > 0.3, torch.nan, z))
    with pytest.raises(ValueError, match="PenaltyValue: the generator's images are not finite at some latents"):
        PenaltyValue()(holes)


def test_refuses_what_learns():
    with pytest.raises(ValueError, match="learns a network of its own"):
        PenaltyValue("VariationPredictability")(
            og.SimpleGan(width=0.05, resolution=16).adapt(og.SimpleGan(width=0.05, resolution=16).build()["generator"])
        )
