import math
from typing import ClassVar

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.metrics.jacobian_spectrum import JacobianSpectrum


def linear(weight: torch.Tensor) -> og.Generator:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data = weight
    return og.adapt(layer, og.Normal(weight.shape[1]), call=lambda m, z: m(z)[:, None, None, :])


def matrix(singular: list[float], rng: torch.Generator) -> torch.Tensor:
    n = len(singular)
    u, v = (torch.linalg.qr(torch.randn(k, k, generator=rng, dtype=torch.float64)).Q for k in (n + 2, n))
    return (u[:, :n] * torch.tensor(singular) @ v.T).float()


@pytest.mark.parametrize("derivative", [og.FiniteDifference(0.01, central=True), og.FiniteDifference(0.1), og.Exact()])
def test_linear_maps_have_closed_forms(rng, derivative):
    singular = [8.0, 4.0, 2.0, 0.5]
    weight = matrix(singular, rng)
    score = JacobianSpectrum(samples=3, derivative=derivative)(linear(weight))
    unit = weight / weight.norm(dim=0)
    cosines = (unit.T @ unit).abs()
    parts = score.parts
    assert score.value == pytest.approx(cosines[torch.ones(4, 4).triu(1) > 0].mean().item(), abs=1e-4)
    assert score.stderr == pytest.approx(0.0, abs=1e-4)
    assert parts["singular_values"] == pytest.approx(singular, rel=1e-3)
    assert parts["log_singular_values"] == pytest.approx([math.log(s) for s in singular], abs=1e-3)
    assert parts["condition"] == pytest.approx(16.0, rel=1e-3)
    assert parts["rank"] == 4
    share = [s / 14.5 for s in singular]
    assert parts["effective_rank"] == pytest.approx(math.exp(-sum(p * math.log(p) for p in share)), rel=1e-4)
    assert parts["norms"] == pytest.approx(weight.norm(dim=0).tolist(), rel=1e-4)
    assert torch.tensor(parts["cosines"]) == pytest.approx(cosines, abs=1e-4)
    assert score.name == "Jacobian |cos|"


def test_orthogonal_columns_score_zero_and_equal_ones_one(rng):
    orthogonal = matrix([1.0] * 4, rng) * torch.tensor([1.0, 5.0, 2.0, 0.1])
    assert JacobianSpectrum(samples=2)(linear(orthogonal)).value == pytest.approx(0.0, abs=1e-4)
    same = torch.ones(6, 3) * torch.tensor([1.0, -2.0, 3.0])
    score = JacobianSpectrum(samples=2)(linear(same))
    assert score.value == pytest.approx(1.0, abs=1e-5)
    assert score.parts["rank"] == 1
    assert score.parts["effective_rank"] == pytest.approx(1.0, abs=0.02)
    assert score.parts["condition"] == 1.0


def test_dead_columns_are_left_out_and_named(rng):
    weight = matrix([3.0, 2.0, 1.0], rng)
    padded = torch.cat([weight[:, :1], torch.zeros(5, 1), weight[:, 1:]], dim=1)
    one, two = (JacobianSpectrum(samples=2)(linear(w)) for w in (weight, padded))
    assert two.value == pytest.approx(one.value, abs=1e-4)
    assert two.parts["dead"] == ["1"]
    assert two.parts["cosines"][1] == [None] * 4
    assert two.parts["rank"] == 3
    assert two.parts["condition"] == pytest.approx(3.0, rel=1e-3)


def test_along_directions(rng):
    weight = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    singular = torch.linalg.svd(weight)
    score = JacobianSpectrum(samples=2)(linear(weight), og.Directions(singular.Vh))
    assert score.value == pytest.approx(0.0, abs=1e-4)
    assert score.parts["norms"] == pytest.approx(singular.S.tolist(), rel=1e-4)


def test_is_the_dense_jacobian_of_a_network(rng):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 12), nn.Unflatten(1, (3, 2, 2)))
    G = og.adapt(net, og.Normal(3))
    z = G.latent.sample(20, rng=torch.Generator().manual_seed(5))
    dense = torch.stack([torch.autograd.functional.jacobian(net, one[None]).reshape(12, 3) for one in z])
    score = JacobianSpectrum(samples=20)(G, rng=torch.Generator().manual_seed(5))
    assert score.parts["singular_values"] == pytest.approx(torch.linalg.svdvals(dense).mean(0).tolist(), rel=1e-3)
    unit = dense / dense.norm(dim=1, keepdim=True)
    cosines = (unit.mT @ unit).abs()
    each = cosines[:, torch.ones(3, 3).triu(1) > 0].mean(dim=1)
    assert score.value == pytest.approx(each.mean().item(), rel=1e-3)
    assert score.stderr == pytest.approx(each.std().item() / 20**0.5, rel=1e-2)


class Counting(og.FiniteDifference):
    """Notes how many columns it is asked for at once."""

    asked: ClassVar[list[int]] = []

    def along(self, f, z, vectors, order, *, up_to_constant=False):
        self.asked.append(len(vectors))
        return super().along(f, z, vectors, order, up_to_constant=up_to_constant)


def test_no_more_columns_are_taken_at_once_than_it_says(rng):
    weight = torch.randn(90, 70, generator=rng)
    score = JacobianSpectrum(samples=2, derivative=Counting(0.01, central=True))(linear(weight))
    assert Counting.asked == [32, 32, 6] * 2
    assert score.parts["singular_values"] == pytest.approx(torch.linalg.svdvals(weight).tolist(), rel=1e-3)


def test_mistakes(rng):
    with pytest.raises(ValueError, match="at least 2 samples are needed"):
        JacobianSpectrum(samples=1)
    with pytest.raises(ValueError, match="give a share of the largest value"):
        JacobianSpectrum(cut=0.0)
    with pytest.raises(ValueError, match="1 of 3 directions move the image; an angle needs at least two"):
        JacobianSpectrum(samples=2)(linear(torch.tensor([[1.0, 0.0, 0.0]])))
    with pytest.raises(ValueError, match="not finite"):
        JacobianSpectrum(samples=2)(og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z: z / 0))
    norm = og.adapt(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)), og.Normal(2))
    with pytest.raises(ValueError, match=r"samples see each other .* even in evaluation mode"):
        JacobianSpectrum()(norm)
