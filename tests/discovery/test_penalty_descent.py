import json

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

import orthogen as og
from hosts import HOSTS
from orthogen.discovery.penalty_descent import PenaltyDescent
from orthogen.models.planted import PlantedLinear, PlantedShapes
from traces import trace
from vectors import vectors


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def network():
    return nn.Sequential(nn.ConvTranspose2d(6, 8, 4), nn.LeakyReLU(0.2), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())


def generator(dtype=torch.float64):
    module = seeded(network).to(dtype).eval()
    return og.adapt(module, og.Normal(6), call=lambda m, z: m(z[:, :, None, None]))


# ---------------------------------------------------------------------------------------------- plain transcription
def gram_schmidt(A):
    rows = []
    for row in A:
        for other in rows:
            row = row - (row @ other) * other
        rows.append(row / row.norm())
    return torch.stack(rows)


def plain_loss(G, name, A, z, w, probes, orthogonal, start):
    """The released step: Gram-Schmidt in a loop, zero padding, separate passes over the whole batch."""
    Q = gram_schmidt(A) if orthogonal == "qr" else A
    padded = torch.zeros(len(Q), z.shape[1], dtype=Q.dtype)
    padded = torch.cat([padded[:, :start], Q, padded[:, start + Q.shape[1] :]], dim=1)

    def image(w):
        return G(z + w @ padded)

    base, values = image(w), []
    for v in probes:
        if name == "OroJaR":
            values.append(((image(w + 0.1 * v) - base) / 0.1).flatten(1).square().sum(1))
        else:
            values.append((image(w + 0.1 * v) - 2 * base + image(w - 0.1 * v)) / 0.1**2)
    return torch.stack(values).var(0, unbiased=True).mean()


def draws(method, n, dim, source):
    """Latents, points and probes in the order of a step."""
    z = og.Normal(dim).sample(method.batch, rng=source).double()
    w = torch.zeros(method.batch, n, dtype=torch.float64)
    if method.base == "random":
        which = torch.randint(n, (method.batch, 1), generator=source)
        far = method.path_size * (2 * torch.rand(method.batch, 1, generator=source) - 1)
        w.scatter_(1, which, far.double())
    probes = torch.randint(0, 2, (2, method.batch, n), generator=source).double() * 2 - 1
    return z, w, probes


@pytest.mark.parametrize("name", ["OroJaR", "HessianPenalty"])
@pytest.mark.parametrize("base", ["origin", "random"])
@pytest.mark.parametrize(("space", "orthogonal"), [(None, "qr"), ((2, 5), "qr"), ((2, 5), "none")])
def test_values_and_matrices_equal_a_plain_transcription(name, base, space, orthogonal):
    G = generator()
    method = PenaltyDescent(name, base=base, search_space=space, orthogonal=orthogonal, count=3, batch=7)
    search = method.search(G, rng=rng())
    A = search.A.detach().clone().requires_grad_()
    adam, source = torch.optim.Adam([A], lr=0.01), rng()
    source.set_state(search.rng.get_state())
    for _ in range(4):
        z, w, probes = draws(method, 3, 6, source)
        loss = plain_loss(G, name, A, z, w, probes, orthogonal, space[0] if space else 0)
        adam.zero_grad()
        loss.backward()
        adam.step()
        search.step()
        torch.testing.assert_close(search.log[-1]["loss"], loss.detach(), rtol=1e-9, atol=0)
        torch.testing.assert_close(search.A.grad, A.grad, rtol=1e-6, atol=1e-9 * A.grad.abs().max().item())
        torch.testing.assert_close(search.log[-1]["norm"], A.detach().square().mean().sqrt())
    torch.testing.assert_close(search.A.detach(), A.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("micro", [1, 3, 4])
def test_parts_of_a_batch_add_up_to_its_gradient(micro):
    G = generator()
    whole, parts = (
        PenaltyDescent("HessianPenalty", base="random", batch=8, micro_batch=m).search(G, rng=rng())
        for m in (None, micro)
    )
    for search in (whole, parts):
        search.step()
    torch.testing.assert_close(parts.log[0]["loss"], whole.log[0]["loss"], rtol=1e-12, atol=0)
    torch.testing.assert_close(parts.A.grad, whole.A.grad, rtol=1e-9, atol=1e-12)


def test_layers_are_penalized_where_asked_for():
    G = generator()
    search = PenaltyDescent(layers=("0", "2"), batch=4).search(G, rng=rng())
    search.step()
    image = PenaltyDescent(batch=4).search(G, rng=rng())
    image.step()
    assert search.log[0]["loss"] != image.log[0]["loss"]


# ---------------------------------------------------------------------------------------------- what it starts from
def test_starts_as_the_papers_do():
    G = og.adapt(nn.Linear(120, 2), og.Normal(120))
    A = PenaltyDescent(search_space=(40, 80)).search(G, rng=rng()).A
    assert A.shape == (40, 40)
    assert A.std().item() == pytest.approx((2 / 40) ** 0.5, rel=0.05)
    eye = PenaltyDescent(init="coordinates", search_space=(40, 80), count=3).search(G)
    assert torch.equal(eye.A.detach(), torch.eye(3, 40))
    basis = eye.directions().basis
    assert torch.equal(basis[:, 40:43], torch.eye(3))
    assert basis.abs().sum() == 3


def test_slices_have_names():
    latent = og.Blocks(coarse=og.Normal(2), fine=og.Normal(4))
    G = og.adapt(seeded(lambda: nn.Linear(6, 5)), latent)
    found = PenaltyDescent(search_space="fine", steps=3).fit(G, rng=rng())
    assert found.basis.shape == (4, 6)
    assert not found.basis[:, :2].any()
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(4), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "start"), [("goldens_mid", 40), ("church_fine", 80)])
def test_directions_are_the_released_gram_schmidt_of_the_matrix(name, start):
    golden = vectors("gram_schmidt")
    G = og.adapt(nn.Linear(120, 2).double(), og.Normal(120))
    search = PenaltyDescent(search_space=(start, start + 40)).search(G, rng=rng())
    search.A.data = torch.from_numpy(golden[f"A_{name}"]).double()
    expected = torch.zeros(40, 120, dtype=torch.float64)
    expected[:, start : start + 40] = torch.from_numpy(golden[f"Q_{name}_f64"])
    torch.testing.assert_close(search.basis().detach(), expected, atol=1e-12, rtol=0)


def test_all_is_the_whole_latent():
    G = og.adapt(seeded(lambda: nn.Linear(6, 5)), og.Blocks(coarse=og.Normal(2), fine=og.Normal(4)))
    named, none = (PenaltyDescent(search_space=s, steps=2).fit(G, rng=rng()) for s in ("all", None))
    assert torch.equal(named.basis, none.basis)


def test_retraction_keeps_the_matrix_orthonormal():
    G = generator(torch.float32)
    kept, free = (PenaltyDescent(orthogonal=o, count=4).search(G, rng=rng()) for o in ("retract", "qr"))
    for search in (kept, free):
        for _ in range(20):
            search.step()
    torch.testing.assert_close(kept.A.detach() @ kept.A.detach().T, torch.eye(4), atol=1e-5, rtol=0)
    assert free.log[-1]["norm"] > free.log[0]["norm"]  # gradients are orthogonal to the rows: Adam only inflates A
    unit = PenaltyDescent(orthogonal="unit", steps=2).fit(G, rng=rng()).basis
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(6))


# ---------------------------------------------------------------------------------------------- what it finds
def test_orojar_finds_the_planted_directions():
    model = PlantedLinear(og.Normal(4), resolution=8)
    module = seeded(model.build)["generator"]
    found = PenaltyDescent(steps=600, orthogonal="retract", batch=16).fit(model.adapt(module), rng=rng())
    cosines = (found.basis @ model.planted(module).basis.T).abs()
    assert cosines.amax(1).min() > 0.99
    log = found.provenance["log"]
    assert log["loss"][-1] < 1e-3 * log["loss"][0]


def test_orojar_finds_factors_of_shapes():
    model = PlantedShapes(resolution=16)
    module = seeded(model.build)["generator"]
    planted = model.planted(module)
    found = PenaltyDescent(steps=400, orthogonal="retract", lr=0.03, batch=16).fit(model.adapt(module), rng=rng())
    at_random = og.Random().fit(model.adapt(module), rng=rng())

    def recovered(directions):
        return (directions.basis @ planted.basis.T).abs().amax(0)

    assert recovered(found).mean() > recovered(at_random).mean() + 0.15
    assert recovered(found).max() > 0.95


def test_fewer_directions_than_dimensions_have_orthogonal_effects():
    weight = torch.randn(9, 5, generator=rng())
    G = og.adapt(nn.Identity(), og.Normal(5), call=lambda m, z: z @ weight.T)
    found = PenaltyDescent(count=2, steps=300).fit(G, rng=rng())
    J = nn.functional.normalize(weight @ found.basis.T, dim=0)
    assert (J[:, 0] @ J[:, 1]).abs() < 0.02


# ---------------------------------------------------------------------------------------------- interruption
@pytest.mark.parametrize("orthogonal", ["qr", "retract"])
def test_an_interrupted_search_goes_on_to_the_last_bit(orthogonal, tmp_path):
    G = generator(torch.float32)
    method = PenaltyDescent("HessianPenalty", base="random", orthogonal=orthogonal, batch=4, steps=6)
    through = method.search(G, rng=rng())
    whole = through.run()
    first = method.search(G, rng=rng())
    for _ in range(3):
        first.step()
    state = load(save(first.state_dict()))
    first.step()  # what was saved does not change with it
    second = method.search(G, rng=rng(99))
    second.load_state_dict(state)
    rest = second.run()
    assert torch.equal(second.A, through.A)
    assert torch.equal(rest.basis, whole.basis)
    assert rest.provenance == whole.provenance
    assert len(second.log) == 6


def test_a_search_may_be_saved_before_its_first_step():
    G = generator(torch.float32)
    method = PenaltyDescent(batch=4)
    one, other = method.search(G, rng=rng()), method.search(G, rng=rng(1))
    other.load_state_dict(one.state_dict())
    for search in (one, other):
        search.step()
    assert torch.equal(one.A, other.A)


def test_gradients_may_be_off_outside():
    with torch.no_grad():
        assert PenaltyDescent(steps=2, batch=4).fit(generator(torch.float32)).basis.isfinite().all()


def test_another_searchs_state_is_refused():
    G = generator(torch.float32)
    state = PenaltyDescent(count=2).search(G).state_dict()
    with pytest.raises(ValueError, match="not that of this search"):
        PenaltyDescent(count=2).search(G).load_state_dict({"A": state["A"]})
    with pytest.raises(ValueError, match=r"not that of this search \(PenaltyDescent, 3 directions in 6 dimensions\)"):
        PenaltyDescent(count=3).search(G).load_state_dict(state)


# ---------------------------------------------------------------------------------------------- hosts
def test_each_step_is_shown_and_logged():
    seen = []
    found = PenaltyDescent(steps=5, batch=4, count=2).fit(
        generator(torch.float32), rng=rng(), each=lambda search: seen.append(len(search.log))
    )
    assert seen == [1, 2, 3, 4, 5]
    assert found.provenance["taken"] == 5
    assert {name: len(values) for name, values in found.provenance["log"].items()} == {"step": 5, "loss": 5, "norm": 5}
    json.dumps(found.provenance, allow_nan=False)


def test_a_long_log_is_thinned():
    search = PenaltyDescent(batch=1, count=1).search(generator(torch.float32))
    search.log = [{"loss": torch.tensor(float(i)), "norm": torch.tensor(torch.nan)} for i in range(1000)]
    log = search.directions().provenance["log"]
    assert len(log["step"]) == 200
    assert (log["step"][0], log["step"][-1], log["loss"][-1], log["norm"][0]) == (1, 1000, 999.0, None)


@pytest.mark.parametrize("fix_class", [None, 1])
def test_labels_are_drawn_or_fixed(fix_class):
    seen = []

    def call(module, z, label):
        seen.append(label.clone())
        return module(z, label)

    G = og.adapt(HOSTS["conditional"].build()[0].module, og.Normal(4), call=call, classes=3)
    PenaltyDescent(steps=8, batch=4, fix_class=fix_class).fit(G, rng=rng())
    labels = set(torch.cat(seen).tolist())
    assert labels == ({0, 1, 2} if fix_class is None else {1})


def test_parts_of_a_batch_keep_their_labels():
    G, _ = HOSTS["conditional"].build(torch.float64)
    grads = []
    for micro in (None, 2):
        method = PenaltyDescent(batch=5, micro_batch=micro)
        search = method.search(G, rng=rng())
        search.step()
        grads.append(search.A.grad)
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["spectral norm, training", "old spectral norm, training", "noise", "weight norm"])
def test_leaves_no_trace(name):
    G, _ = HOSTS[name].build()
    before = trace(G.module)
    PenaltyDescent(steps=2, batch=4).fit(G, rng=rng())
    assert trace(G.module) == before
    assert all(p.grad is None for p in G.module.parameters())


def test_an_error_in_a_step_leaves_the_generator_as_it_was():
    G = generator(torch.float32)
    before = trace(G.module)
    with pytest.raises(ValueError, match="layer_weights"):
        PenaltyDescent(og.OroJaR(reduction="mean", layer_weights={"nothing": 1.0}), steps=1).fit(G)
    assert trace(G.module) == before


# ---------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, "the learning rate must be positive"),
        ({"batch": 0}, "give at least 1 of each"),
        ({"steps": 0}, "give at least 1 of each"),
        ({"path_size": -1.0}, "a distance is not negative"),
        ({"micro_batch": 0}, "give at least 1 latent, or None"),
        ({"orthogonal": "svd"}, "'qr' or 'retract' or 'unit' or 'none' is accepted"),
        ({"init": "zero"}, "'normal' or 'coordinates' is accepted"),
        ({"base": "paper"}, "'origin' or 'random' is accepted"),
    ],
)
def test_fields_out_of_range_are_refused(unchecked, fields, message):
    with pytest.raises(ValueError, match=message):
        PenaltyDescent(**fields)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (PenaltyDescent(count=7), r"PenaltyDescent\(count=7\): this generator has 1 to 6 directions to give"),
        (PenaltyDescent(search_space="fine"), r"the latent has no such block; give columns, such as \(0, 3\)"),
        (PenaltyDescent(search_space=(3, 9)), r"give columns \(start, stop\) of the latent's 6"),
        (PenaltyDescent("VariationPredictability"), r"use VariationDirections\('VariationPredictability'\)"),
        (PenaltyDescent(og.OroJaR(), micro_batch=4), r"another penalty; use OroJaR\(reduction='mean'\)"),
    ],
)
def test_what_it_cannot_search_is_refused(method, message):
    with pytest.raises(ValueError, match=message) as error:
        method.fit(generator(torch.float32))
    assert "\n" not in str(error.value)


def test_a_block_of_another_name_is_refused():
    G = og.adapt(nn.Linear(6, 2), og.Blocks(coarse=og.Normal(2), fine=og.Normal(4)))
    with pytest.raises(ValueError, match="no such block; its blocks are coarse, fine"):
        PenaltyDescent(search_space="mid").fit(G)


def test_parts_of_a_batch_that_see_each_other_are_refused():
    G, _ = HOSTS["batch norm, training"].build()
    with pytest.raises(ValueError, match=r"samples see each other .* leave micro_batch out"):
        PenaltyDescent(batch=8, micro_batch=4).fit(G)
    assert PenaltyDescent(batch=8, steps=1).fit(G).basis.isfinite().all()


@pytest.mark.parametrize("penalty", ["Orojar2", og.Sprites(), 3])
def test_what_is_no_penalty_is_refused(penalty):
    with pytest.raises(TypeError, match="PenaltyDescent"):
        PenaltyDescent(penalty).fit(generator(torch.float32))


@pytest.mark.parametrize("name", ["PenaltyDescent", "LatentRegressor", "VariationDirections"])
def test_noise_in_the_generator_is_the_seeds(name):
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 48), nn.Dropout(0.3), nn.Unflatten(1, (3, 4, 4)))).train()
    method = getattr(og, name)(steps=3, batch=4)
    found = []
    for host in (1, 2):  # what the process drew before is nothing to the search
        with torch.random.fork_rng():
            torch.manual_seed(host)
            before = torch.get_rng_state()
            found.append(method.fit(og.adapt(module, og.Normal(4)), rng=rng()).basis)
            assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*found)
    assert not torch.equal(found[0], method.fit(og.adapt(module, og.Normal(4)), rng=rng(1)).basis)


@pytest.mark.parametrize(
    "damaged",
    [
        {"log/loss": torch.zeros(3)},
        {"log/loss": torch.zeros(2, 1)},
        {"adam/0/exp_avg": torch.zeros(7)},
        {"adam/0/exp_avg": None},
        {"adam/0/extra": torch.zeros(())},
        {"rng": torch.zeros(5056, dtype=torch.uint8)},
        {"A": torch.zeros(6, 6)},
        {"log/loss": None, "log/norm": None},
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(damaged):
    method = PenaltyDescent(steps=4, batch=2)
    search = method.search(generator(), rng=rng())
    search.step()
    search.step()
    state = {name: value for name, value in {**search.state_dict(), **damaged}.items() if value is not None}
    fresh = method.search(generator(), rng=rng())
    before = fresh.state_dict()
    with pytest.raises(ValueError, match=r"the state is (not that of this search|damaged)"):
        fresh.load_state_dict(state)
    after = fresh.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
