import pytest
import torch
from torch import nn

import orthogen as og
from hosts import HOSTS, conv
from orthogen.discovery.jacobian_svd import JacobianSvd
from orthogen.models.planted import PlantedLinear, PlantedShapes


def built(model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = model.build()["generator"]
    return model.adapt(network), model.planted(network)


@pytest.mark.parametrize("derivative", [og.FiniteDifference(0.01, central=True), og.Exact()])
def test_finds_the_planted_directions_exactly(derivative):
    G, planted = built(PlantedLinear())
    found = JacobianSvd(samples=3, derivative=derivative).fit(G)
    torch.testing.assert_close(found.strength, planted.strength, rtol=1e-4, atol=0)
    torch.testing.assert_close((found.basis @ planted.basis.T).abs(), torch.eye(8), atol=1e-3, rtol=0)


def test_finds_the_factors_of_shapes(rng):
    G, planted = built(PlantedShapes())
    found = JacobianSvd(samples=200).fit(G, rng=rng)
    cosines = (found.basis[:6] @ planted.basis.T).abs()
    assert cosines.amax(1).min() > 0.97
    assert sorted(cosines.argmax(1).tolist()) == list(range(6))
    assert found.strength[6:].max() < 3e-3 * found.strength[0]


def test_equals_autograd_in_double_precision(rng):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = conv().double()
    G = og.adapt(module, og.Normal(4), call=lambda m, z: m(z[:, :, None, None]))
    found = JacobianSvd(samples=5, derivative=og.FiniteDifference(1e-5, central=True)).fit(G, rng=rng)
    z = og.Normal(4).sample(5, rng=torch.Generator().manual_seed(0)).double()
    grams = []
    for one in z:
        J = torch.autograd.functional.jacobian(lambda z: G(z[None]).flatten(), one)
        grams.append(J.T @ J)
    expected = torch.stack(grams).mean(0).float()
    gram = found.basis.T @ (found.strength[:, None] ** 2 * found.basis)
    torch.testing.assert_close(gram, expected, rtol=1e-4, atol=1e-6)


def test_a_layer_has_a_jacobian_too(rng):
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    found = JacobianSvd(samples=2, layer="0", count=2).fit(og.adapt(module, og.Normal(4)), rng=rng)
    expected = torch.linalg.svdvals(module[0].weight.detach())[:2]
    torch.testing.assert_close(found.strength, expected, rtol=1e-4, atol=1e-5)


def test_labels_stay_with_their_latents(rng):
    G, _ = HOSTS["conditional"].build()
    one, other = (JacobianSvd(samples=8, fix_class=c).fit(G, rng=torch.Generator().manual_seed(0)) for c in (0, 1))
    assert not torch.allclose(one.strength, other.strength)
    assert JacobianSvd(samples=8).fit(G, rng=rng).basis.shape == (4, 4)


@pytest.mark.parametrize("name", ["batch norm, training", "noise"])
def test_samples_that_see_each_other_are_refused(name):
    G, _ = HOSTS[name].build()
    with pytest.raises(ValueError, match="samples see each other") as error:
        JacobianSvd(samples=2).fit(G)
    assert "\n" not in str(error.value)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="give at least 1 latent"):
        JacobianSvd(samples=0)
