import copy
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core import record
from orthogen.core.groups import group_shape, grouped
from orthogen.core.kinds import ImageSet
from orthogen.layers.batch_norm import ConditionalBatchNorm2d
from orthogen.layers.class_vectors import Tables
from orthogen.layers.spectral_norm import SpectralLinear
from traces import trace
from vectors import vectors


class Counted(ImageSet):
    channels, resolution = 3, 32

    def __init__(self, counts, labeled=True):
        self.counts = torch.as_tensor(counts)
        self.classes = tuple(f"kind {k}" for k in range(len(self.counts))) if labeled else ()

    def __len__(self) -> int:
        return int(self.counts.sum())

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def class_counts(self) -> Tensor | None:
        return self.counts if self.classes else None


class Norms(nn.Module):
    """Two norms of each width: tables, or maps of a shared embedding beside a chunk of the latent."""

    def __init__(self, classes=5, widths=(24, 36), linear=None):
        super().__init__()
        self.shared = nn.Embedding(classes, 8) if linear else None
        table = (lambda c: linear(11, c, bias=False)) if linear else lambda c: nn.Embedding(classes, c)
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(table(c), table(c), c) for c in widths for _ in range(2))


def norms(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Norms(**options)


def remembered(penalty, net, data=None, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return penalty.init(net, data)


def oracle(net, weights=None, take=lambda V: V):
    """The definition, class by class and layer by layer, in float64 by singular values."""
    total, layers = torch.zeros((), dtype=torch.float64), 0
    for norm in net.norms:
        layers += 1
        for part in (norm.gain, norm.bias):
            rows = part.weight if net.shared is None else net.shared.weight @ part.weight[:, :8].T
            sigma = torch.linalg.svdvals(grouped(take(rows).double()))[:, 0]
            total = total + ((1 if weights is None else weights) * sigma**2).mean()
    return total / layers


def gradients(net, value):
    net.zero_grad()
    value.backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


# ---------------------------------------------------------------------------------------------- golden vectors
def one_norm(gains, biases):
    norm = ConditionalBatchNorm2d(nn.Embedding(*gains.shape), nn.Embedding(*gains.shape), gains.shape[1])
    norm.gain.weight.data, norm.bias.weight.data = gains.clone(), biases.clone()
    return norm


def tensors(golden):
    return {name: torch.from_numpy(np.asarray(value)) for name, value in golden.items()}


def close(found, expected, tolerance=1e-5):
    assert (found - expected).norm() <= tolerance * expected.norm()


def test_released_and_exact_values_and_gradients_are_those_of_the_released_code():
    golden = tensors(vectors("gsr_sngan_c64_k5"))
    norm = one_norm(golden["embed_gamma"], golden["embed_beta"])
    released = og.GroupSpectral(compat="released")
    memory = released.init(norm, Counted(golden["counts"]))
    memory.u64.copy_(torch.stack([golden["u_gamma_init"], golden["u_beta_init"]]))
    for _ in range(12):  # 40 rounds at the first call, and 4 at the second and third
        released(norm, state=memory)
    value = 0.5 * released(norm, state=memory)
    assert value.item() == pytest.approx(golden["loss_released_call4"].item(), rel=1e-5)
    value.backward()
    close(norm.bias.weight.grad, golden["grad_beta_released"])
    exact = og.GroupSpectral(exact=True)
    value = exact(norm, state=exact.init(norm, Counted(golden["counts"])))
    assert 0.5 * value.item() == pytest.approx(golden["loss_exact"].item(), rel=1e-6)


def test_the_released_sigma_of_biases_is_low_and_that_of_gains_is_not():
    golden = tensors(vectors("gsr_sngan_c64_k5"))
    norm = one_norm(golden["embed_gamma"], golden["embed_beta"])
    shares = []
    for targets in (("gain",), ("bias",)):
        ours = og.GroupSpectral(weights="uniform", targets=targets)
        memory = remembered(ours, norm)
        for _ in range(20):
            value = ours(norm, state=memory)
        released = golden["sigma_gamma_call1" if targets == ("gain",) else "sigma_beta_call1"]
        shares.append((released.square().mean() / value).sqrt().item())
    assert shares[0] == pytest.approx(1, abs=1e-5)
    assert 0.7 < shares[1] < 0.8
    true = golden["sigma_beta_exact"]
    assert ((golden["sigma_beta_call1"] / true) < 0.95).all()


@pytest.mark.parametrize("name", ["gauss_c256_k10", "ortho_c256_k10", "gauss_c64_k5"])
def test_all_golden_tables_of_sngan(shared_golden, name):
    with np.load(shared_golden / "group-spectral" / f"gsr_sngan_{name}.npz") as file:
        golden = tensors(file)
    norm = one_norm(golden["embed_gamma"], golden["embed_beta"])
    width = golden["embed_gamma"].shape[1]
    for penalty, kind in ((og.GroupSpectral(compat="released"), "released"), (og.GroupSpectral(exact=True), "exact")):
        memory = penalty.init(norm, Counted(golden["counts"]))
        torch.testing.assert_close(memory.weights, 2 * golden["lam"].float(), rtol=1e-6, atol=0)
        if kind == "released":
            memory.get_buffer(f"u{width}").copy_(torch.stack([golden["u_gamma_init"], golden["u_beta_init"]]))
            for _ in range(12):
                penalty(norm, state=memory)
        norm.zero_grad()
        value = 0.5 * penalty(norm, state=memory)
        loss = golden["loss_exact" if kind == "exact" else "loss_released_call4"]
        assert value.item() == pytest.approx(loss.item(), rel=1e-5)
        value.backward()
        close(norm.gain.weight.grad, golden[f"grad_gamma_{kind}"])
        close(norm.bias.weight.grad, golden[f"grad_beta_{kind}"])
        if kind == "released":  # the vectors that the file calls after1 to after3 are those after the fourth call
            expected = torch.stack([golden["u_gamma_after1"], golden["u_beta_after1"]])
            torch.testing.assert_close(memory.get_buffer(f"u{width}"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["sn", "nosn"])
def test_golden_maps_of_biggan(shared_golden, kind):
    with np.load(shared_golden / "group-spectral" / f"gsr_biggan_{kind}_c96_k12.npz") as file:
        golden = tensors(file)
    net = nn.Module()
    linear = SpectralLinear if kind == "sn" else nn.Linear
    net.shared = nn.Embedding(12, 32)
    net.norm = ConditionalBatchNorm2d(linear(40, 96, bias=False), linear(40, 96, bias=False), 96)
    net.shared.weight.data = golden["shared"].clone()
    net.norm.gain.weight.data, net.norm.bias.weight.data = golden["gain_w"].clone(), golden["bias_w"].clone()
    if kind == "sn":
        net.norm.gain.u0.copy_(golden["gain_u_before"][None])
        net.norm.bias.u0.copy_(golden["bias_u_before"][None])
    penalty = og.GroupSpectral(weights=tuple(golden["lam"].tolist()), compat="released", iterations=40)
    memory = penalty.init(net)
    memory.u96.copy_(torch.stack([golden["u_gamma_init"], golden["u_beta_init"]]))
    before = trace(net)
    value = penalty(net, state=memory)
    assert trace(net) == before  # the original: one more step of spectral norm
    assert value.item() == pytest.approx(golden["loss"].item(), rel=1e-5)
    value.backward()
    close(net.shared.weight.grad, golden["grad_shared"])
    close(net.norm.gain.weight.grad, golden["grad_gain"])
    close(net.norm.bias.weight.grad, golden["grad_bias"])
    exact = og.GroupSpectral(weights=tuple(golden["lam"].tolist()), exact=True)
    squares = golden["sigma_gamma_exact"] ** 2 + golden["sigma_beta_exact"] ** 2
    value = exact(net, state=exact.init(net))
    assert value.item() == pytest.approx((golden["lam"] * squares).mean().item(), rel=1e-5)


def test_groups_of_every_number_of_channels(shared_golden):
    golden = json.loads((shared_golden / "group-spectral" / "group_dims.json").read_text())
    assert {c: list(group_shape(int(c))) for c in golden} == golden
    assert len(golden) == 2048


# ---------------------------------------------------------------------------------------------- the definition
@pytest.mark.parametrize("linear", [None, nn.Linear])
def test_exact_and_iterated_agree_with_the_definition(linear):
    net = norms(linear=linear)
    counts = Counted([500, 100, 20, 5, 1])
    weights = og_weights(counts)
    expected = gradients(net, oracle(net, weights))
    for penalty in (og.GroupSpectral(exact=True), og.GroupSpectral(iterations=300)):
        value = penalty(net, state=remembered(penalty, net, counts))
        assert value.item() == pytest.approx(oracle(net, weights).item(), rel=1e-5)
        found = gradients(net, value)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def og_weights(counts, beta=0.999):
    inverse = (1 - beta) / (1 - beta ** counts.counts.double())
    return inverse / inverse.mean()


def test_the_iteration_comes_from_below_and_follows_weights_that_move():
    net, penalty = norms(), og.GroupSpectral(weights="uniform")
    memory, rng = remembered(penalty, net), torch.Generator().manual_seed(0)
    for _ in range(50):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(1e-3 * torch.randn(parameter.shape, generator=rng).sign())
        share = penalty(net, state=memory).item() / oracle(net).item()
        assert 0.99 < share < 1 + 1e-6
    assert share > 0.998


def test_mean_of_the_weights_is_one_and_they_are_those_of_the_effective_number():
    counts = Counted([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    net = norms(classes=10)
    weights = remembered(og.GroupSpectral(), net, counts).weights
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    assert 0.5 * weights[0].item() == pytest.approx(0.09059350345959304, rel=1e-6)
    assert 0.5 * weights[-1].item() == pytest.approx(1.8441597064383148, rel=1e-6)
    assert remembered(og.GroupSpectral(weights="uniform"), net).weights.tolist() == [1] * 10
    own = tuple(map(float, range(10)))
    assert remembered(og.GroupSpectral(weights=own), net).weights.tolist() == list(own)


def test_orthogonal_mixing_within_and_of_groups_changes_nothing(rng):
    net, penalty = norms(widths=(24,)), og.GroupSpectral(weights="uniform", exact=True)
    memory = penalty.init(net)
    before = penalty(net, state=memory)
    rows, columns = (torch.linalg.qr(torch.randn(n, n, generator=rng))[0] for n in (4, 6))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((rows @ grouped(parameter) @ columns).flatten(1))
    torch.testing.assert_close(penalty(net, state=memory), before, rtol=1e-5, atol=0)


def test_it_lies_between_the_squared_length_over_groups_and_the_squared_length():
    net = norms()
    value = remembered_value(og.GroupSpectral(weights="uniform", exact=True), net)
    squares = [p.square().sum(1).mean() for p in net.parameters()]
    assert sum(squares) / 4 / 6 <= value <= sum(squares) / 4
    alone = remembered_value(og.GroupSpectral(weights="uniform", groups=1), net)  # one group: the squared length
    torch.testing.assert_close(alone, sum(squares) / 4)


def remembered_value(penalty, net, data=None):
    return penalty(net, state=remembered(penalty, net, data)).detach()


def test_subsets_are_unbiased():
    net, counts = norms(classes=12), Counted(range(1, 13))
    whole = remembered_value(og.GroupSpectral(exact=True, beta=0.5), net, counts)
    penalty = og.GroupSpectral(exact=True, beta=0.5, class_subset=4)
    memory, rng = penalty.init(net, counts), torch.Generator().manual_seed(0)
    values = torch.stack([penalty(net, state=memory, rng=rng).detach() for _ in range(400)])
    assert values.std() > 0
    assert (values.mean() - whole).abs() < 4 * values.std() / 20
    wide = og.GroupSpectral(exact=True, beta=0.5, class_subset=99)
    torch.testing.assert_close(remembered_value(wide, net, counts), whole)


def test_a_subset_moves_the_vectors_and_gradients_of_its_classes_alone():
    net, penalty = norms(classes=12), og.GroupSpectral(weights="uniform", class_subset=3, iterations=1)
    memory = remembered(penalty, net)
    before = memory.u24.clone()
    found = gradients(net, penalty(net, state=memory, rng=torch.Generator().manual_seed(0)))
    moved = (memory.u24 != before).any(2).any(0)
    assert moved.sum() == 3
    for gradient in found.values():
        assert torch.equal(gradient.any(1), moved)


def test_targets_one_and_layers():
    net = norms()
    uniform = og.GroupSpectral(weights="uniform", exact=True)
    parts = [remembered_value(replace(uniform, targets=(each,)), net) for each in ("gain", "bias")]
    torch.testing.assert_close(sum(parts), remembered_value(uniform, net))
    gains = replace(uniform, targets=("gain",), include_one=True)
    for norm in net.norms:
        norm.bias.weight.data.zero_()
    torch.testing.assert_close(remembered_value(gains, net).double(), oracle(net, take=lambda V: V + V.any() * 1))
    first = remembered_value(replace(uniform, layers=("norms.0", "norms.1")), net)
    rest = remembered_value(replace(uniform, layers=("norms.[23]",)), net)
    torch.testing.assert_close((first + rest) / 2, remembered_value(uniform, net))


def test_shuffled_groups_are_the_same_at_every_step_and_for_a_seed():
    net = norms()
    penalty = og.GroupSpectral(weights="uniform", shuffle=0, exact=True)
    value = remembered_value(penalty, net)
    assert value == remembered_value(penalty, net)
    others = {remembered_value(replace(penalty, shuffle=seed), net).item() for seed in (None, 1, 2)}
    assert len(others | {value.item()}) == 4
    memory = penalty.init(net)
    for width in (24, 36):
        order = memory.order(width)
        assert (order.sort(dim=1).values == torch.arange(width)).all()
        assert len(order.unique(dim=0)) == 4  # one of its own for each table
    iterated = replace(penalty, exact=False, iterations=300)
    torch.testing.assert_close(remembered_value(iterated, net), value, rtol=1e-5, atol=0)


def test_a_class_of_zeros_does_not_die():
    net, penalty = norms(), og.GroupSpectral(weights="uniform")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[2] = 0
    memory = remembered(penalty, net)
    found = gradients(net, penalty(net, state=memory))
    assert not any(gradient[2].any() for gradient in found.values())
    torch.testing.assert_close(memory.u24.norm(dim=-1), torch.ones(4, 5))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[2] = torch.randn(parameter.shape[1], generator=torch.Generator().manual_seed(1))
    for _ in range(30):
        value = penalty(net, state=memory)
    assert value.item() == pytest.approx(oracle(net).item(), rel=1e-3)


def test_released_and_fixed_differ_in_the_biases_alone():
    net = norms()
    gains, biases = [], []
    for compat in (None, "released"):
        penalty = og.GroupSpectral(weights="uniform", compat=compat, iterations=200)
        found = gradients(net, penalty(net, state=remembered(penalty, net)))
        gains.append([gradient for name, gradient in found.items() if "gain" in name])
        biases.append([gradient for name, gradient in found.items() if "bias" in name])
    torch.testing.assert_close(gains[0], gains[1], rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(*biases, strict=True):
        assert (ours - theirs).norm() > 0.3 * ours.norm()
        assert theirs.norm() < ours.norm()


def test_a_gradient_is_not_differentiated_again_and_may_be_taken_twice():
    net = norms()
    table = net.norms[0].gain.weight
    for options in ({}, {"exact": True}, {"compat": "released"}):
        penalty = og.GroupSpectral(weights="uniform", **options)
        value = penalty(net, state=remembered(penalty, net))
        (first,) = torch.autograd.grad(value, table, retain_graph=True)
        assert torch.equal(torch.autograd.grad(value, table, retain_graph=True)[0], first)
        # beside a term that has a second derivative, what is missing would not be seen
        (gradient,) = torch.autograd.grad(value + table.pow(3).sum(), table, create_graph=True)
        torch.testing.assert_close(gradient, first + 3 * table**2)
        with pytest.raises(RuntimeError, match="GroupSpectral has a first derivative only; keep it out of a loss"):
            gradient.square().sum().backward()


# ---------------------------------------------------------------------------------------------- state and host
def test_a_memory_goes_on_where_it_was_saved():
    net, penalty = norms(), og.GroupSpectral(weights="uniform", iterations=1, shuffle=3)
    memory = remembered(penalty, net)
    saved = copy.deepcopy(memory.state_dict())
    assert {name: tuple(x.shape) for name, x in saved.items()} == {
        "weights": (5,), "u24": (4, 5, 4), "u36": (4, 5, 6), "order24": (4, 24), "order36": (4, 36)
    }  # fmt: skip
    values = [penalty(net, state=memory).item() for _ in range(3)]
    other = remembered(penalty, net, seed=1)
    other.load_state_dict(saved)
    assert [penalty(net, state=other).item() for _ in range(3)] == values


def test_power_iterations_of_the_host_rest_in_every_form():
    old, new = nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm
    for wrap in (old, new, lambda layer: SpectralLinear(11, layer.out_features, bias=False)):
        net = norms(linear=lambda *sizes, bias, wrap=wrap: wrap(nn.Linear(*sizes, bias=bias)))
        for part in net.modules():
            if isinstance(part, nn.Linear):
                for _ in range(30):
                    part(torch.zeros(1, 11))
        penalty = og.GroupSpectral(weights="uniform", exact=True)
        memory, before = penalty.init(net), trace(net)
        value = penalty(net, state=memory)
        assert trace(net) == before
        acting = [
            grouped(net.shared.weight @ (part(torch.eye(11)).T)[:, :8].T)
            for norm in net.norms
            for part in (norm.gain, norm.bias)
        ]
        expected = sum(torch.linalg.svdvals(W)[:, 0].square().mean() for W in acting) / 4
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
        assert all(gradient.any() for gradient in gradients(net, value).values())


def test_reduced_precision_around_it_changes_nothing():
    net, penalty = norms(linear=nn.Linear), og.GroupSpectral(weights="uniform")
    memory = remembered(penalty, net)
    plain = penalty(net, state=copy.deepcopy(memory))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert penalty(net, state=copy.deepcopy(memory)).item() == plain.item()
    half = remembered_value(penalty, copy.deepcopy(net).bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, plain.detach(), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "model",
    [og.Sngan(width=4), og.BigGan(resolution=32, classes=10, dim=16, shared_dim=8, width=4, attention=()),
     og.BigGan(resolution=32, classes=10, dim=16, shared_dim=8, width=4, attention=(16,), hierarchical=False),
     og.BigGanDeep(resolution=32, classes=10, dim=16, shared_dim=8, width=4, attention=())],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_it_trains_the_conditional_norms_of_our_generators(model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G = model.adapt(model.build()["generator"])
    penalty = og.GroupSpectral()
    memory = remembered(penalty, G, Counted(range(10, 0, -1)))
    optimizer = torch.optim.SGD(G.module.parameters(), lr=5.0)
    first = penalty(G, state=memory)
    for _ in range(10):
        optimizer.zero_grad()
        value = penalty(G, state=memory)
        value.backward()
        optimizer.step()
    assert value < first
    changed = {name for name, p in G.module.named_parameters() if p.grad is not None}
    assert all(".bn" in name or name == "shared.weight" for name in changed)
    assert len(changed) > 10


# ---------------------------------------------------------------------------------------------- others' generators
class Film(nn.Module):
    """A norm of someone else's, with a gain that is no offset."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(1 + torch.randn(7, 12)), nn.Parameter(torch.randn(7, 12))


@dataclass(frozen=True)
class Offsets:
    def __call__(self, module):
        return {name: (part.scale - 1, part.shift) for name, part in module.named_children()}


def test_norms_of_others_by_name_and_by_function():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.ModuleDict({"a": Film(), "b": Film()})
    uniform = og.GroupSpectral(weights="uniform", exact=True)
    scales, shifts = (
        sum(torch.linalg.svdvals(grouped(getattr(net[k], name) - one))[:, 0].square().mean() for k in "ab") / 2
        for name, one in (("scale", 0), ("shift", 0))
    )
    named = replace(uniform, vectors=Tables(("*.scale",), ("*.shift",)))
    torch.testing.assert_close(remembered_value(named, net), (scales + shifts).detach())
    only = replace(uniform, vectors=Tables(biases=("*.shift",)), targets=("bias",))
    torch.testing.assert_close(remembered_value(only, net), shifts.detach())
    found = gradients(net, remembered_with_gradient(replace(uniform, vectors=Offsets()), net))
    assert set(found) == {"a.scale", "a.shift", "b.scale", "b.shift"}
    one = replace(uniform, vectors=Offsets(), include_one=True, targets=("gain",))
    torch.testing.assert_close(remembered_value(one, net), scales.detach())
    assert record.from_json(json.loads(json.dumps(record.to_json(named)))) == named


def remembered_with_gradient(penalty, net):
    return penalty(net, state=remembered(penalty, net))


# ---------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weights": "balanced"},
            "weights='balanced'.: 'effective-number', 'uniform' or a tuple of one",
        ),
        ({"beta": 1.5}, "beta=1.5: give 0 .all classes alike. to 1"),
        ({"compat": "theirs"}, "compat='theirs'.: None or 'released' is accepted"),
        ({"targets": ()}, "'gain', 'bias' or both are accepted, as a tuple"),
        ({"targets": ("gain", "gain")}, "'gain', 'bias' or both are accepted"),
        ({"iterations": 0}, "give 1 or more of each, or None"),
        ({"class_subset": 0}, "give 1 or more of each, or None"),
        ({"compat": "released", "exact": True}, "leave out exact and targets"),
        ({"compat": "released", "targets": ("gain",)}, "leave out exact and targets"),
    ],
)
def test_fields_that_make_no_sense(unchecked, options, message):
    with pytest.raises(ValueError, match=message) as error:
        og.GroupSpectral(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "net", "data", "message"),
    [
        ({}, nn.Linear(2, 2), None, "Linear has no conditional norm of orthogen; for others"),
        ({}, norms(), None, "weighs classes by how many images they have, and no data was given"),
        ({}, norms(), Counted([3, 2], labeled=False), "and data without labels was given to init"),
        ({}, norms(), Counted([3, 2]), "the data has 2 classes and the generator 5; fit one to the other"),
        ({}, norms(), Counted([3, 2, 0, 1, 0]), r"class 2 \(kind 2\) has no images, so it has no weight; leave it out"),
        ({"weights": (1.0, 2.0)}, norms(), None, "2 weights were given for the 5 classes of the generator"),
        ({"weights": (1.0, 2.0, 3.0, 4.0, -1.0)}, norms(), None, "weights are 0 or more, and finite"),
        ({"layers": ("norm.0",)}, norms(), None, "no conditional norm is named 'norm.0'; near it are 'norms.0'"),
        ({"groups": 5}, norms(), Counted([1] * 5), "24 channels cannot be cut into 5 equal groups; give one of"),
        ({"vectors": Tables()}, norms(), None, r"Tables\(\) names nothing; give gains=, biases= or both"),
        ({"vectors": Tables(("*.gain",), ("norms.0.bias",))}, norms(), None, r"4 gains .* and 1 biases .* were found"),
        ({"vectors": Tables(("norms.0.gain",))}, norms(), None, "has no bias; leave it out of targets"),
        ({"vectors": Tables(("norms.0.gain",), ("norms.2.bias",))}, norms(), None, "found: .* 5 x 24 and 5 x 36"),
        ({}, norms(linear=lambda *sizes, bias: nn.Sequential(nn.Linear(*sizes))), None, "is a Sequential, beside"),
    ],
)  # fmt: skip
def test_generators_and_data_that_do_not_fit(options, net, data, message):
    with pytest.raises(ValueError, match=message) as error:
        og.GroupSpectral(**options).init(net, data)
    assert "\n" not in str(error.value)


def test_a_function_may_give_embeddings_and_other_parts_are_refused(unchecked):
    net, uniform = norms(widths=(24,)), og.GroupSpectral(weights="uniform")
    taken = replace(uniform, vectors=lambda net: {"a": (net.norms[0].gain, net.norms[0].bias)})
    assert remembered_value(taken, net) == remembered_value(replace(uniform, layers=("norms.0",)), net)
    with pytest.raises(ValueError, match="ModuleList was given for a vector per class; it is a tensor"):
        replace(uniform, vectors=lambda net: {"a": (net.norms, None)}).init(net)


def test_one_name_is_no_tuple_of_names(unchecked):
    with pytest.raises(TypeError, match=r"'norms.0' is one string; give a tuple of names"):
        og.GroupSpectral(layers="norms.0").init(norms(), Counted([1] * 5))


def test_a_memory_that_is_missing_or_of_another_generator():
    penalty = og.GroupSpectral(weights="uniform")
    with pytest.raises(ValueError, match=r"make them once by memory = penalty.init\(generator, data\)"):
        penalty(norms())
    memory = penalty.init(norms())
    with pytest.raises(ValueError, match=r"the memory is of 5 classes and the generator has 6; make a new one"):
        penalty(norms(classes=6), state=memory)
    with pytest.raises(ValueError, match=r"the memory knows other layers than those of 48 channels"):
        penalty(norms(widths=(48,)), state=memory)
    with pytest.raises(
        ValueError, match=r"a memory of 5 classes was saved, and the generator has 6; go on with"
    ) as error:
        penalty.init(norms(classes=6)).load_state_dict(memory.state_dict())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("made", "used", "words"), [(None, 3, ("out", "")), (3, None, ("", "out"))])
def test_a_memory_of_channels_in_another_order(made, used, words):
    first, second = (og.GroupSpectral(weights="uniform", shuffle=seed) for seed in (made, used))
    memory = first.init(norms())
    with pytest.raises(ValueError, match="memory was made with{} shuffle, and the penalty is with{} it".format(*words)):
        second(norms(), state=memory)
    with pytest.raises(
        ValueError, match="a memory with{} shuffle was saved, and the penalty is with{} it".format(*words)
    ):
        second.init(norms()).load_state_dict(memory.state_dict())


# ---------------------------------------------------------------------------------------------- whole tables
def test_plain_spectral_is_of_full_precision_under_autocast():
    net = norms(linear=nn.Linear)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = og.PlainSpectral()(net)
    assert value.dtype == torch.float32
    assert value.item() == og.PlainSpectral()(net).item()


def test_plain_spectral_is_the_norm_of_whole_tables():
    for linear in (None, nn.Linear):
        net = norms(linear=linear)
        value = og.PlainSpectral()(net)
        rows = [
            part.weight if linear is None else net.shared.weight @ part.weight[:, :8].T
            for norm in net.norms
            for part in (norm.gain, norm.bias)
        ]
        torch.testing.assert_close(value, sum(torch.linalg.matrix_norm(V, 2) for V in rows))
        assert og.PlainSpectral(layers=("norms.0",))(net) < value / 3
