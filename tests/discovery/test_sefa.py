import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import orthogen as og
from hosts import HOSTS
from orthogen.core.linalg import principal_angles
from orthogen.discovery.sefa import SeFa
from orthogen.models.planted import PlantedLinear, PlantedShapes
from vectors import vectors


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def gram(found):
    """A^T A as the directions tell it."""
    return found.basis.T @ (found.strength[:, None] ** 2 * found.basis)


def dcgan(weight):
    """A generator that begins with this transposed convolution of a 1x1 latent."""
    dim, channels, side, _ = weight.shape
    first = nn.ConvTranspose2d(dim, channels, side)
    first.weight.data = weight
    module = nn.Sequential(first, nn.ReLU(), nn.Conv2d(channels, 1, 1))
    return og.adapt(module, og.Normal(dim), call=lambda m, z: m(z[:, :, None, None]))


# ---------------------------------------------------------------------------------------------- golden
def test_equals_the_golden_reweighting_of_the_simple_gan():
    golden = vectors("sefa_reweight")
    found = SeFa().fit(dcgan(torch.from_numpy(golden["w"])))
    torch.testing.assert_close(found.strength.square().diag(), torch.from_numpy(golden["gram_new"]), atol=1e-3, rtol=0)
    # the released code replaces the weight by U S: its outputs along axis i are ours along direction i, up to sign
    moved = torch.einsum("id,dchw->ichw", found.basis, torch.from_numpy(golden["w"])).flatten(1)
    new = torch.from_numpy(golden["w_new"]).flatten(1)
    sign = (moved * new).sum(1, keepdim=True).sign()
    torch.testing.assert_close(sign * moved, new, atol=1e-4, rtol=0)


def test_equals_the_golden_singular_values():
    golden = vectors("sefa_singular_values")
    found = SeFa().fit(dcgan(torch.from_numpy(golden["W"])))
    torch.testing.assert_close(found.strength, torch.from_numpy(golden["singular_values"]), rtol=1e-6, atol=0)
    new = torch.from_numpy(golden["new_W"]).flatten(1)
    torch.testing.assert_close(new @ new.T, found.strength.square().diag(), rtol=1e-5, atol=1e-3)


def test_equals_the_golden_reweighting_of_a_progan_that_normalizes_its_latents():
    golden = vectors("sefa_reweight")
    weight = torch.from_numpy(golden["wd"])  # (dim, outputs)
    dense = nn.Linear(*weight.shape).double()
    dense.weight.data = weight.T.clone()
    normalized = og.adapt(
        nn.Sequential(dense), og.Normal(12), call=lambda m, z: m(z * z.square().mean(1, keepdim=True).rsqrt())
    )
    found = SeFa().fit(normalized)
    moved, new = found.basis.double() @ weight, torch.from_numpy(golden["wd_new"])
    sign = (moved * new).sum(1, keepdim=True).sign()
    torch.testing.assert_close(sign * moved, new, atol=1e-5, rtol=0)


# ---------------------------------------------------------------------------------------------- closed form
def test_finds_the_planted_directions_exactly():
    model = PlantedLinear()
    network = seeded(model.build)["generator"]
    found, planted = SeFa().fit(model.adapt(network)), model.planted(network)
    torch.testing.assert_close(found.strength, planted.strength, rtol=1e-5, atol=0)
    torch.testing.assert_close((found.basis @ planted.basis.T).abs(), torch.eye(8), atol=1e-4, rtol=0)


def test_finds_which_dimensions_matter_behind_a_rotation():
    model = PlantedShapes()
    network = seeded(model.build)["generator"]
    found, planted = SeFa().fit(model.adapt(network)), model.planted(network)
    assert principal_angles(found.basis[:6], planted.basis).max() < 1e-3
    torch.testing.assert_close(found.strength, torch.tensor([1.0] * 6 + [0.0] * 4), atol=1e-3, rtol=0)


class Hierarchical(nn.Module):
    """Latents in parts, beside a class embedding, as in BigGAN."""

    def __init__(self):
        super().__init__()
        self.shared, self.linear = nn.Embedding(5, 3), nn.Linear(2, 4)
        self.gain, self.bias = nn.Linear(3 + 2, 4, bias=False), nn.Linear(3 + 2, 4, bias=False)

    def forward(self, z, label):
        y = torch.cat([self.shared(label), z[:, 2:]], dim=1)
        return torch.tanh(self.linear(z[:, :2])) * (1 + self.gain(y)) + self.bias(y)


def test_layers_that_read_parts_of_the_latent_are_stacked():
    module = seeded(Hierarchical)
    G = og.adapt(module, og.Normal(4), call=lambda m, z, label: m(z, label), classes=5)
    found = SeFa().fit(G)
    assert found.provenance["layers"] == ["linear", "gain", "bias"]
    A = torch.zeros(12, 4)
    A[:4, :2], A[4:8, 2:], A[8:, 2:] = module.linear.weight, module.gain.weight[:, 3:], module.bias.weight[:, 3:]
    torch.testing.assert_close(gram(found), A.T @ A)
    torch.testing.assert_close(found.strength, torch.linalg.svdvals(A), atol=1e-6, rtol=1e-5)
    only = SeFa(layers=("gain",), count=2).fit(G)
    torch.testing.assert_close(only.strength, torch.linalg.svdvals(module.gain.weight[:, 3:]), atol=1e-6, rtol=1e-5)


class Broadcast(nn.Module):
    """Latents at every pixel, beside the pixel's coordinates."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3 + 2, 4, 3, padding=1)

    def forward(self, z):
        grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 6).to(z)] * 2, indexing="ij"))
        tiled = z[:, :, None, None].expand(-1, -1, 6, 6)
        return self.conv(torch.cat([tiled, grid.expand(len(z), -1, -1, -1)], dim=1))


def test_a_latent_at_every_pixel_counts_with_all_of_them():
    module = seeded(Broadcast)
    found = SeFa().fit(og.adapt(module, og.Normal(3)))
    z = torch.zeros(3)
    A = torch.autograd.functional.jacobian(lambda z: module(z[None]).flatten(), z)
    torch.testing.assert_close(gram(found), A.T @ A, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        parametrizations.spectral_norm,
        parametrizations.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.orthogonal,
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_weights_are_taken_as_they_act(wrap, training):
    layer = seeded(lambda: wrap(nn.Linear(4, 7))).train(training)
    found = SeFa().fit(og.adapt(nn.Sequential(layer, nn.Tanh()), og.Normal(4)))
    layer.eval()
    with torch.no_grad():
        effective = (layer(torch.eye(4)) - layer(torch.zeros(1, 4))).T
    torch.testing.assert_close(found.strength, torch.linalg.svdvals(effective), rtol=1e-5, atol=1e-6)


class Equalized(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        return x @ (self.weight * 0.25).T


def test_layers_of_the_users_own_count_too():
    layer = seeded(Equalized)
    found = SeFa().fit(og.adapt(nn.Sequential(layer, nn.Tanh()), og.Normal(4)))
    torch.testing.assert_close(found.strength, torch.linalg.svdvals(0.25 * layer.weight.detach()), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", [name for name, host in HOSTS.items() if not host.labeled and name != "two latents"])
def test_finds_the_first_layer_in_every_host(name):
    G, _ = HOSTS[name].build()
    expected = {"moving average, called twice": "layer", "attention": "first"}.get(name, "0")
    found = SeFa().fit(G, rng=torch.Generator().manual_seed(0))
    assert found.provenance["layers"] == [expected]


def test_two_latents_are_one():
    G, _ = HOSTS["two latents"].build()
    found = SeFa().fit(G)
    assert found.provenance["layers"] == ["a", "b"]
    A = torch.block_diag(G.module.a.weight, G.module.b.weight).detach()
    torch.testing.assert_close(gram(found), A.T @ A)


class Silent(nn.Module):
    """A layer as wide as the latent that gets nothing but zeros."""

    def __init__(self):
        super().__init__()
        self.quiet, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, z):
        return self.quiet(torch.zeros_like(z)) + self.first(z)


def test_zeros_are_not_the_latent():
    assert SeFa().fit(og.adapt(Silent(), og.Normal(4))).provenance["layers"] == ["first"]


# ---------------------------------------------------------------------------------------------- refusals
class Rectifying(nn.Linear):
    def forward(self, x):
        return torch.relu(super().forward(x))


@pytest.mark.parametrize(
    ("module", "method", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), SeFa(layers=("1",)), "layer '1' does not get the latent"),
        (nn.Sequential(nn.Linear(4, 4)), SeFa(layers=("2",)), "no layer is called '2'; generator.layers has all"),
        (nn.Sequential(nn.Tanh(), nn.Linear(4, 4)), SeFa(), "no linear or convolutional layer .* JacobianSvd"),
        (nn.Sequential(Rectifying(4, 4)), SeFa(), "layer '0' reads the latent, but is not affine in it"),
        (nn.Sequential(nn.Linear(4, 4)), SeFa(count=5), r"SeFa\(count=5\): this generator has 1 to 4"),
    ],
)
def test_what_it_cannot_factorize_is_refused(module, method, message):
    with pytest.raises(ValueError, match=message) as error:
        method.fit(og.adapt(module, og.Normal(4)))
    assert "\n" not in str(error.value)


def test_a_label_is_one_of_the_generators():
    G = og.adapt(nn.Linear(4, 4), og.Normal(4))
    with pytest.raises(ValueError, match=r"SeFa\(fix_class=3\): this generator takes no class labels"):
        SeFa(fix_class=3).fit(G)
    with pytest.raises(ValueError, match=r"SeFa\(fix_class=10\): this generator has the classes 0 to 9"):
        SeFa(fix_class=10).fit(og.adapt(nn.Linear(4, 4), og.Normal(4), classes=10))
