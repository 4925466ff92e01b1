"""The two searches that train a network beside the directions."""

import pytest
import torch
from torch import nn

import orthogen as og
from hosts import HOSTS, painted
from orthogen.discovery.latent_regressor import LatentRegressor
from orthogen.discovery.variation_directions import VariationDirections
from orthogen.models.planted import PlantedLinear
from traces import trace

EVERY = pytest.mark.parametrize("method", [LatentRegressor, VariationDirections])


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(dtype=torch.float32, channels=1):
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 64 * channels), nn.Tanh(), nn.Unflatten(1, (channels, 8, 8))))
    return og.adapt(module.to(dtype), og.Normal(4))


# ---------------------------------------------------------------------------------------------- the losses
def test_the_regressors_loss_is_the_papers():
    G = pictures(torch.float64)
    method = LatentRegressor(batch=6, count=3, width=4, hidden=8)
    search = method.search(G, rng=rng())
    network, basis, source = search.network, search.basis().detach(), rng()
    source.set_state(search.rng.get_state())
    search.step()

    z = og.Normal(4).sample(6, rng=source).double()
    k = torch.randint(3, (6,), generator=source)
    e = 6 * (2 * torch.rand(6, generator=source).double() - 1)
    e = e.sign() * e.abs().clamp_min(0.5)
    network.load_state_dict(
        LatentRegressor(batch=6, count=3, width=4, hidden=8).search(G, rng=rng()).network.state_dict()
    )
    with torch.no_grad():
        outputs = network(torch.cat([G(z), G(z + e[:, None] * basis[k])], dim=1))
        expected = nn.functional.cross_entropy(outputs[:, :3], k) + 0.25 * (outputs[:, 3] - e).abs().mean()
    torch.testing.assert_close(search.log[0]["loss"], expected)
    torch.testing.assert_close(search.log[0]["error"], (outputs[:, 3] - e).abs().mean())
    torch.testing.assert_close(search.log[0]["accuracy"], (outputs[:, :3].argmax(1) == k).double().mean())


def test_variation_directions_move_one_coordinate_of_the_rotated_latent():
    G = pictures(torch.float64)
    method = VariationDirections(batch=5)
    search = method.search(G, rng=rng())
    basis, source = search.basis().detach().requires_grad_(), rng()
    source.set_state(search.rng.get_state())
    (terms,) = method.losses(search, basis)
    terms["loss"].backward()

    # by hand: z' has the component of another latent along a random direction
    z = og.Normal(4).sample(5, rng=source).double()
    d = torch.randint(4, (5,), generator=source)
    other = (torch.arange(5) + torch.randint(1, 5, (5,), generator=source)) % 5
    Q = basis.detach().clone().requires_grad_()
    a = (z @ Q.T).detach()
    step = a[other, d] - a[torch.arange(5), d]
    logits = search.network(G(z) - G(z + step[:, None] * Q[d]))
    expected = nn.functional.cross_entropy(logits, d)
    torch.testing.assert_close(terms["loss"], expected)
    (grad,) = torch.autograd.grad(expected, Q)
    torch.testing.assert_close(basis.grad, grad)


# ---------------------------------------------------------------------------------------------- what they find
@pytest.mark.parametrize(
    "method",
    [
        LatentRegressor(steps=300, lr=5e-3, width=8, hidden=32, reach=2.0, count=3),
        VariationDirections(og.VariationPredictability(width=16, hidden=32), steps=300, lr=5e-3, count=3),
    ],
    ids=lambda method: type(method).__name__,
)
def test_directions_turn_to_where_the_image_changes(method):
    # of eight dimensions three are seen, and at most one direction can be told by nothing having changed
    model = PlantedLinear(og.Normal(8), resolution=8)
    module = seeded(model.build)["generator"]
    live = model.planted(module).basis[:3]
    with torch.no_grad():
        module.linear.weight.copy_(module.linear.weight @ live.T @ live)
    G = model.adapt(module)

    def seen(directions):
        return (directions.basis @ live.T).square().sum(1)

    found = method.fit(G, rng=rng())
    assert seen(method.search(G, rng=rng()).directions()).max() < 0.8
    assert (seen(found) > 0.95).sum() >= 2
    assert sum(found.provenance["log"]["loss"][-10:]) / 10 < 0.1


# ---------------------------------------------------------------------------------------------- as any search
@EVERY
@pytest.mark.parametrize("space", [None, (1, 4)])
def test_directions_are_orthonormal_in_their_slice(method, space):
    found = method(steps=3, batch=4, search_space=space, count=2).fit(pictures(), rng=rng())
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(2), atol=1e-5, rtol=0)
    assert space is None or not found.basis[:, 0].any()


@EVERY
def test_an_interrupted_search_goes_on_to_the_last_bit(method):
    G = pictures()
    through = method(batch=4).search(G, rng=rng())
    for _ in range(4):
        through.step()
    first = method(batch=4).search(G, rng=rng())
    for _ in range(2):
        first.step()
    second = method(batch=4).search(G, rng=rng(5))
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        second.step()
    assert torch.equal(second.A, through.A)
    assert all(map(torch.equal, second.network.parameters(), through.network.parameters()))


@EVERY
def test_networks_follow_from_the_seed_and_nothing_else_is_drawn(method):
    G, before = pictures(), torch.get_rng_state()
    one, same, other = (method().search(G, rng=rng(seed)).network for seed in (0, 0, 1))
    assert all(map(torch.equal, one.parameters(), same.parameters()))
    assert not all(map(torch.equal, one.parameters(), other.parameters()))
    assert torch.equal(before, torch.get_rng_state())


@EVERY
def test_labels_and_other_precisions_are_taken(method):
    G, _ = painted(HOSTS["conditional"]).build(torch.float64)
    found = method(steps=2, batch=4).fit(G, rng=rng())
    assert found.basis.dtype == torch.float32
    assert found.basis.isfinite().all()


@EVERY
@pytest.mark.parametrize("name", ["batch norm, training", "noise", "spectral norm, training"])
def test_leaves_no_trace(method, name):
    G, _ = painted(HOSTS[name]).build()
    before = trace(G.module)
    method(steps=2, batch=4).fit(G, rng=rng())
    assert trace(G.module) == before
    assert all(p.grad is None for p in G.module.parameters())


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 16, 16), (1, 20, 36)])
def test_the_regressor_sees_images_of_any_size(shape):
    c, h, w = shape
    G = og.adapt(nn.Sequential(nn.Linear(4, c * h * w), nn.Unflatten(1, shape)), og.Normal(4))
    assert LatentRegressor(steps=1, batch=2, width=2, hidden=4).fit(G, rng=rng()).basis.shape == (4, 4)


# ---------------------------------------------------------------------------------------------- refusals
@EVERY
def test_what_is_no_image_is_refused(method):
    with pytest.raises(ValueError, match=r"\(n, c, h, w\)"):
        method().fit(og.adapt(nn.Linear(4, 3), og.Normal(4)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LatentRegressor(least=7.0), ValueError, "give 0 <= least <= reach"),
        (lambda: LatentRegressor(weight=-1.0), ValueError, "the weight is not negative"),
        (lambda: VariationDirections("OroJaR").fit(pictures()), ValueError, r"use PenaltyDescent\('OroJaR'\)"),
        (lambda: VariationDirections("OroJar3").fit(pictures()), TypeError, "nothing here is called 'OroJar3'"),
        (lambda: VariationDirections(og.R1()).fit(pictures()), TypeError, "it takes a penalty on latents"),
    ],
)
def test_what_they_cannot_do_is_refused(unchecked, make, error, message):
    with pytest.raises(error, match=message):
        make()
