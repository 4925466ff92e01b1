import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from torch import nn

import orthogen as og
from hosts import HOSTS
from orthogen.discovery import _components
from orthogen.discovery.ganspace import GanSpace
from orthogen.discovery.sefa import SeFa
from orthogen.models.planted import PlantedLinear


def mlp():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())


def wide():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 60), nn.Tanh())


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


@pytest.mark.parametrize("space", ["z", "w"])
def test_more_features_than_samples_give_the_same_components(space, monkeypatch):
    """The matrix of samples by samples against that of features by features, on the same 40 samples of 60 features."""
    module = wide()
    G = og.adapt(module, og.Normal(4))
    method = GanSpace("1", samples=40, space=space, batch=16, count=4)
    by_samples = method.fit(G, rng=torch.Generator().manual_seed(0))
    with monkeypatch.context() as patch:
        patch.setattr(
            _components, "_by_samples", lambda batches, n, d, choose: _components._by_features(batches, choose)
        )
        by_features = method.fit(G, rng=torch.Generator().manual_seed(0))
    torch.testing.assert_close(by_samples.basis, by_features.basis, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_samples.strength, by_features.strength, atol=0, rtol=1e-5)
    assert by_samples.provenance.get("linear") == pytest.approx(by_features.provenance.get("linear"), abs=1e-6)
    torch.testing.assert_close(by_samples.basis.norm(dim=1), torch.ones(4))


@torch.no_grad()
def test_more_features_than_samples_equal_sklearns():
    module = wide()
    found = GanSpace("1", samples=40, space="w", batch=16, count=5).fit(
        og.adapt(module, og.Normal(4)), rng=torch.Generator().manual_seed(0)
    )
    rng = torch.Generator().manual_seed(0)
    z = torch.cat([og.Normal(4).sample(n, rng=rng) for n in [16, 16, 8]])
    pca = PCA(5).fit(module(z).double().numpy())
    expected = torch.from_numpy(pca.components_).float()
    torch.testing.assert_close(aligned(found.basis, expected), expected, atol=1e-4, rtol=0)
    variances = torch.from_numpy(pca.explained_variance_)
    torch.testing.assert_close(found.strength.double(), variances.sqrt(), rtol=1e-5, atol=0)
    assert len(GanSpace("1", samples=3, space="w").fit(og.adapt(module, og.Normal(4)))) == 2  # three points, one plane


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
    found = GanSpace("norm", samples=100).fit(G, rng=rng)
    assert found.basis.shape == (4, 4)
    fixed = GanSpace("norm", samples=100, fix_class=1).fit(G, rng=rng)
    assert not torch.allclose(fixed.strength, found.strength)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda: GanSpace(samples=1), "give at least 2 samples, 1 a pass"),
        (
            lambda: GanSpace("0", samples=20_000).fit(og.adapt(nn.Sequential(nn.Linear(4, 10_001)), og.Normal(4))),
            r"GanSpace\(samples=20000\): layer '0' has 10001 features, and the smaller of both numbers is at most",
        ),
        (lambda: GanSpace("7").fit(og.adapt(mlp(), og.Normal(4))), "no layer is called '7'"),
    ],
)
def test_what_it_cannot_do_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        method()


def test_a_space_of_the_latents_width_has_no_deviation_of_the_latents():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 5))
    found = GanSpace(layer="0", samples=50, space="w").fit(og.adapt(module, og.Normal(4)))
    assert (found.space, found.basis.shape, found.deviation) == ("w", (4, 4), None)
    assert GanSpace(layer="0", samples=50).fit(og.adapt(module, og.Normal(4))).deviation.tolist() == pytest.approx(
        [1] * 4
    )
