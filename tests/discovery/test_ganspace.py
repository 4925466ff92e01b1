import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from torch import nn

import orthogen as og
from hosts import HOSTS
from orthogen.discovery.ganspace import GanSpace
from orthogen.discovery.sefa import SeFa
from orthogen.models.planted import PlantedLinear


def mlp():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())


def drawn(n, seed=0):
    return og.Normal(4).sample(n, rng=torch.Generator().manual_seed(seed))


def aligned(a, b):
    return (a * b).sum(1, keepdim=True).sign() * a


@torch.no_grad()
def test_components_equal_sklearns():
    module = mlp()
    found = GanSpace("1", samples=500, space="w", batch=64, count=3).fit(
        og.adapt(module, og.Normal(4)), rng=torch.Generator().manual_seed(0)
    )
    rng = torch.Generator().manual_seed(0)
    z = torch.cat([og.Normal(4).sample(n, rng=rng) for n in [64] * 7 + [52]])
    pca = PCA(3).fit(module[:2](z).double().numpy())
    expected = torch.from_numpy(pca.components_).float()
    torch.testing.assert_close(aligned(found.basis, expected), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        found.strength.double(), torch.from_numpy(pca.explained_variance_).sqrt(), rtol=1e-5, atol=0
    )
    assert found.space == "w"


@torch.no_grad()
def test_the_regression_equals_sklearns():
    module = mlp()
    found = GanSpace("2", samples=400, batch=400).fit(
        og.adapt(module, og.Normal(4)), rng=torch.Generator().manual_seed(0)
    )
    z = drawn(400).double().numpy()
    y = module[:3](torch.from_numpy(z).float()).double().numpy()
    x = PCA(4).fit_transform(y)
    U = LinearRegression().fit(x, z).coef_  # (dim, count)
    expected = torch.from_numpy((U / (U**2).sum(0) ** 0.5).T).float()
    torch.testing.assert_close(aligned(found.basis, expected), expected, atol=1e-4, rtol=0)
    linear = [LinearRegression().fit(z, x[:, i]).score(z, x[:, i]) for i in range(4)]
    assert found.provenance["linear"] == pytest.approx(linear, abs=1e-5)


def test_of_the_first_layer_it_is_sefa_in_the_limit():
    # y = W z with z ~ N(0, I): the components are those of W W^T, and the regression gives W's right singular vectors
    model = PlantedLinear()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = model.build()["generator"]
    G, planted = model.adapt(network), model.planted(network)
    found = GanSpace(samples=20_000).fit(G, rng=torch.Generator().manual_seed(0))
    assert found.provenance["layer"] == "linear"
    assert (found.basis[:4] * planted.basis[:4]).sum(1).abs().min() > 0.99
    torch.testing.assert_close(found.strength, SeFa().fit(G).strength, rtol=0.03, atol=0)
    assert min(found.provenance["linear"]) > 0.999


def test_components_without_variance_are_no_directions(rng):
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    module[0].weight.data[:, 2:] = 0.0
    found = GanSpace("0", samples=200).fit(og.adapt(module, og.Normal(4)), rng=rng)
    assert found.basis.shape == (2, 4)
    with pytest.raises(ValueError, match=r"GanSpace\(count=3\): this generator has 1 to 2 directions to give"):
        GanSpace("0", samples=200, count=3).fit(og.adapt(module, og.Normal(4)), rng=rng)


def test_labels_go_to_the_generator(rng):
    G, _ = HOSTS["conditional"].build()
    found = GanSpace("norm", samples=100, condition="label", classes=3).fit(G, rng=rng)
    assert found.basis.shape == (4, 4)
    fixed = GanSpace("norm", samples=100, condition="label", classes=3, fix_class=1).fit(G, rng=rng)
    assert not torch.allclose(fixed.strength, found.strength)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda: GanSpace(samples=1), "give at least 2 samples, 1 a pass"),
        (lambda: GanSpace("0").fit(og.adapt(nn.Sequential(nn.Linear(4, 9000)), og.Normal(4))), "'0' has 9000 features"),
        (lambda: GanSpace("7").fit(og.adapt(mlp(), og.Normal(4))), "no layer is called '7'"),
    ],
)
def test_what_it_cannot_do_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        method()
