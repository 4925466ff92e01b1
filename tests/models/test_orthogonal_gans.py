"""Orthogonal weights as a switch of the two GANs: what stays as it is, and what stays orthonormal."""

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.checkpoints import load, save_generator
from orthogen.core.record import from_json, to_json

BASES = og.EigenGan(resolution=16, n_basis=3, noise_dim=8, base_channels=4, max_channels=8, basis="orthogonal")
FREE = og.EigenGan(resolution=16, n_basis=3, noise_dim=8, base_channels=4, max_channels=8)


def simple(first: str) -> og.SimpleGan:
    return og.SimpleGan(og.Normal(5), 3, 16, width=0.05, first=first)


def built(model: og.EigenGan | og.SimpleGan, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model.build()["generator"]


def trained(model: og.EigenGan | og.SimpleGan, *rules: og.NearestOrthogonalGradient | og.OptimalLearningRate):
    """Some steps of Adam towards a picture."""
    generator = built(model)
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.05)
    for rule in rules:
        rule.bind(generator).attach(optimizer)
    z = model.latent.sample(8, rng=torch.Generator().manual_seed(1))
    for _ in range(4):
        optimizer.zero_grad()
        (generator(z) - z[:, -1, None, None, None].tanh()).square().mean().backward()
        optimizer.step()
    return generator.eval()


def sizes(weight: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svdvals(weight.detach().flatten(1))


def bases(generator: nn.Module) -> list[torch.Tensor]:
    return [subspace.U for subspace in generator.subspaces]


def test_free_weights_are_the_default_and_keep_their_names():
    assert og.EigenGan().basis == og.SimpleGan().first == "free"
    assert not any("parametrizations" in name for name in built(FREE).state_dict())
    assert not any("parametrizations" in name for name in built(simple("free")).state_dict())


@torch.no_grad()
def test_orthogonal_bases_start_as_free_ones_do():
    z = FREE.latent.sample(4, rng=torch.Generator().manual_seed(1))
    torch.testing.assert_close(built(BASES)(z), built(FREE)(z), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("with_rules", [False, True])
def test_bases_stay_orthonormal_whatever_acts_on_what_is_learned(with_rules):
    rules = (og.NearestOrthogonalGradient(BASES.subspaces), og.OptimalLearningRate(BASES.subspaces))
    generator = trained(BASES, *(rules if with_rules else ()))
    for U, before in zip(bases(generator), bases(built(BASES)), strict=True):
        torch.testing.assert_close(sizes(U), torch.ones(3))
        assert not torch.allclose(U, before, atol=1e-3)
    assert all((sizes(U) - 1).abs().max() > 1e-2 for U in bases(trained(FREE)))


def test_rules_and_penalties_find_what_is_learned():
    generator = built(BASES)
    for rule in (og.NearestOrthogonalGradient(BASES.subspaces), og.OptimalLearningRate(BASES.subspaces)):
        bound = rule.bind(generator)
        assert tuple(bound.parameters) == BASES.subspaces == FREE.subspaces
    learned = generator.blocks[1].projection.parametrizations.U.original
    assert bound.parameters["blocks.1.projection.U"] is learned
    penalty = og.SoftOrthogonality(BASES.subspaces)
    assert penalty(BASES.adapt(generator)).item() < 1e-10
    learned.data *= 2  # W W^T = 4: a mean over 9 entries of two weights of 3 x 9
    assert penalty(BASES.adapt(generator)).item() == pytest.approx(3 * 9 / 9 / 2, rel=1e-5)


def test_directions_reach_as_far_as_their_scales_say():
    found = BASES.directions(trained(BASES))
    scales = torch.cat([part.L.detach().abs().sort(descending=True).values for part in trained(BASES).subspaces])
    torch.testing.assert_close(found.strength, scales)
    assert found.names == FREE.directions(built(FREE)).names


@pytest.mark.parametrize("model", [BASES, simple("orthogonal"), simple("spectral")], ids=lambda model: str(model)[-30:])
def test_they_are_written_and_read(tmp_path, model):
    assert from_json(to_json(model)) == model
    generator = trained(model)
    save_generator(tmp_path / "g.safetensors", model, generator)
    z = model.latent.sample(3, rng=torch.Generator().manual_seed(2))
    again = load(tmp_path / "g.safetensors")
    again.module.eval()
    with torch.no_grad():
        assert torch.equal(again(z), generator(z))


@pytest.mark.parametrize("first", ["free", "orthogonal", "spectral"])
def test_the_first_weight_of_the_simple_gan(first):
    model = simple(first)
    for rule in (og.NearestOrthogonalGradient((model.first_weight,)), og.OptimalLearningRate((model.first_weight,))):
        assert list(rule.bind(built(model)).parameters) == ["layers.0.layers.conv.weight"]
    rule = og.NearestOrthogonalGradient((model.first_weight,))
    layer = trained(model, rule).train().layers[0].layers.conv
    for _ in range(50):  # a power iteration each, where the weight has a spectral norm
        found = sizes(layer.weight)
    if first == "orthogonal":
        torch.testing.assert_close(found, torch.ones(5))
    elif first == "spectral":
        assert found[0].item() == pytest.approx(1, abs=1e-4)
        assert found[-1] < 0.98
    else:
        assert (found - 1).abs().max() > 0.1


def test_penalties_see_the_same_layers(rng):
    model = simple("orthogonal")
    f = og.probe(model.adapt(built(model)), model.regularized_layers)
    z = model.latent.sample(4, rng=rng)
    assert og.OroJaR()(f, z, rng=rng).isfinite()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: og.EigenGan(basis="cayley"), r"EigenGan\(basis='cayley'\): 'free' or 'orthogonal' is accepted"),
        (
            lambda: og.SimpleGan(first="skew"),
            r"SimpleGan\(first='skew'\): 'free' or 'orthogonal' or 'spectral' is accepted",
        ),
    ],
)
def test_another_word_is_refused(unchecked, make, message):
    with pytest.raises(ValueError, match=message):
        make()
