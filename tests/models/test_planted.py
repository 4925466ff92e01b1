import pytest
import torch

import orthogen as og
from orthogen.models.planted import PlantedLinear, PlantedShapes


def build(model, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = model.build()["generator"]
    return model.adapt(network), model.planted(network)


def change(G, along, step):
    z = G.latent.sample(64, rng=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return (G(z + step * along) - G(z)).flatten(1)


def test_the_linear_answer_is_the_svd_of_the_map():
    G, planted = build(PlantedLinear())
    weight = G.module.linear.weight.detach().double()
    _, s, V = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(s.float(), planted.strength)
    agreement = (V @ planted.basis.double().T).abs()
    torch.testing.assert_close(agreement, torch.eye(8, dtype=torch.float64), atol=1e-5, rtol=0)


def test_a_step_along_a_linear_direction_has_the_planted_length_whatever_the_latent():
    G, planted = build(PlantedLinear())
    for q, s in zip(planted.basis, planted.strength, strict=True):
        torch.testing.assert_close(change(G, q, 2.0).norm(dim=1), (2 * s).expand(64), rtol=1e-5, atol=1e-5)


def test_linear_images_stay_in_range():
    G, _ = build(PlantedLinear())
    images = G.sample(2000, rng=torch.Generator().manual_seed(0))
    assert (images.abs() > 1).float().mean() < 0.001


def test_shapes_move_along_planted_directions_only():
    G, planted = build(PlantedShapes())
    assert planted.names == ("x", "y", "size", "angle", "color", "background")
    rest = torch.linalg.qr(planted.basis.T, mode="complete").Q.T[6:]
    torch.testing.assert_close(planted.basis @ planted.basis.T, torch.eye(6), atol=1e-5, rtol=0)
    for q in planted.basis:
        assert change(G, q, 1.0).square().mean() > 1e-3
    for q in rest:
        assert change(G, q, 1.0).abs().max() < 1e-4


def test_each_factor_does_what_its_name_says():
    G, planted = build(PlantedShapes())
    named = dict(zip(planted.names, planted.basis, strict=True))
    with torch.no_grad():
        base = G(torch.zeros(1, 10))[0]

        def at(name, amount=1.0):
            return G(amount * named[name][None])[0]

        def center(image):
            ink = (image - base[:, :1, :1]).abs().sum(0)
            axis = torch.linspace(-1, 1, 32)
            return (ink.sum(0) @ axis / ink.sum()).item(), (ink.sum(1) @ axis / ink.sum()).item()

        x, y = center(base)
        assert center(at("x"))[0] - x > 0.2
        assert center(at("x"))[1] == pytest.approx(y, abs=1e-3)
        assert center(at("y"))[1] - y > 0.2
        assert (at("size") - base).abs().sum() > 1
        assert at("color")[2].max() > base[2].max()  # bluer
        assert at("color")[0].max() < base[0].max()  # less red
        assert at("background")[:, 0, 0].mean() - base[:, 0, 0].mean() > 0.3
        torch.testing.assert_close(at("angle").flip(2), at("angle", -1.0), atol=1e-4, rtol=0)


def test_shapes_are_smooth():
    G, planted = build(PlantedShapes())
    basis, z = planted.basis.double(), torch.zeros(3, 6, dtype=torch.float64)
    G.module.double()
    f = og.along(
        og.probe(G), torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), basis
    )
    v = torch.ones(1, 3, 6, dtype=torch.float64)
    exact = og.Exact().along(f, z, v, 2)[0][0]
    difference = og.FiniteDifference(1e-4).along(f, z, v, 2)[0][0]
    torch.testing.assert_close(exact, difference, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", [PlantedLinear(), PlantedShapes()])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_shared_seed_does_not_give_the_answer_away(model, seed):
    G, planted = build(model, seed)
    for method in (og.Random(), og.PenaltyDescent(steps=1, batch=1)):
        found = method.fit(G, rng=torch.Generator().manual_seed(seed))
        assert (found.basis @ planted.basis.T).abs().amax(0).mean() < 0.8


def test_both_fit_their_contract_in_other_sizes():
    G, planted = build(PlantedShapes(og.Uniform(6), resolution=16))
    assert G.sample(2).shape == (2, 3, 16, 16)
    assert planted.basis.shape == (6, 6)
    G, planted = build(PlantedLinear(og.Normal(4), resolution=8))
    assert G.sample(2).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlantedShapes(og.Normal(5)), "6 factors need as many dimensions"),
        (lambda: PlantedLinear(og.Normal(5), resolution=2), "5 directions need as many pixels"),
        (lambda: PlantedLinear(ratio=1.0), "a ratio between 0 and 1, so that the strengths differ"),
        (lambda: PlantedLinear(contrast=0.0), "give a positive contrast"),
    ],
)
def test_what_cannot_be_planted_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("model", [PlantedLinear(), PlantedShapes()])
def test_another_generator_has_no_planted_answer(model):
    with pytest.raises(TypeError, match="was given Identity; give the generator it built"):
        model.planted(torch.nn.Identity())
