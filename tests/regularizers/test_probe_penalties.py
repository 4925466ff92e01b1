"""Hessian Penalty and OroJaR against the originals' outputs and closed forms."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import orthogen as og
from hosts import HOSTS
from vectors import vectors


def golden(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in vectors(name).items() if value.dtype.kind in "fi"}


def mapping(*functions, dim: int) -> og.LatentMap:
    """A map whose layers are functions of the latent."""

    class Layer(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, z):
            return self.function(z)

    net = nn.ModuleList([Layer(f) for f in functions])
    names = tuple(str(i) for i in range(len(functions)))

    def call(module, z):
        return [layer(z).reshape(len(z), -1) for layer in module]

    return og.probe(og.adapt(net, og.Normal(dim), call=call), names)


def poly() -> og.LatentMap:
    return mapping(lambda z: z[:, 0] * z[:, 1], lambda z: z[:, 0] ** 2 * z[:, 1], dim=2)


# ------------------------------------------------------------------------------------ the originals' outputs
@pytest.mark.parametrize("k", [2, 4, 100])
@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_hessian_penalty_equals_the_portable_original(k, reduction):
    data = golden("hp_poly")
    penalty = og.HessianPenalty(k=k, reduction=reduction)
    terms = penalty.terms(poly(), data["z"], probes=data["V"][:k])
    torch.testing.assert_close(torch.stack(list(terms.values())), data[f"sep_{reduction}_k{k}"], rtol=1e-6, atol=0)
    total = penalty(poly(), data["z"], probes=data["V"][:k])
    torch.testing.assert_close(total, data[f"sum_{reduction}_k{k}"], rtol=1e-6, atol=0)


def test_hessian_penalty_equals_the_numpy_original():
    data = golden("hp_numpy")
    f = mapping(lambda z: z[:, 0] ** 2 * z[:, 1], dim=2)
    got = og.HessianPenalty()(f, data["z"], probes=data["xs"] / 0.1)
    torch.testing.assert_close(got, data["out"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_orojar_equals_the_portable_original(k, reduction):
    data = golden("orojar_linear")
    f = mapping(lambda z: z @ data["W"].T + data["b"], dim=6)
    got = og.OroJaR(k=k, reduction=reduction)(f, data["z"], probes=data["V"][:k])
    torch.testing.assert_close(got, data[f"{reduction}_k{k}"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(("name", "method"), [("hp", og.HessianPenalty), ("orojar", og.OroJaR)])
@pytest.mark.parametrize(("flavor", "variance"), [("torch", "unbiased"), ("tf", "population")])
def test_both_variances_equal_their_original(k, name, method, flavor, variance):
    data = golden("tf_vs_torch_variance")
    f = mapping(
        lambda z: torch.stack([z[:, 0] * z[:, 1], z[:, 2].sin() * z[:, 0], z[:, 1] ** 3], 1),
        lambda z: torch.tanh(0.3 * z @ torch.tensor([[0.0, 1], [2, 3], [4, 5]], dtype=z.dtype)),
        dim=3,
    )
    terms = method(k=k, variance=variance).terms(f, data["z"], probes=data["V"][:k])
    expected = data[f"{name}_{flavor}_k{k}"]
    torch.testing.assert_close(torch.stack(list(terms.values())), expected, rtol=1e-6, atol=0)


def test_both_penalties_equal_the_originals_on_the_simple_gan():
    data = golden("simplegan_nets")
    generator = og.SimpleGan(latent=og.Normal(6)).build()["generator"]
    for i, parameter in enumerate(generator.parameters()):
        j = torch.arange(parameter.numel(), dtype=torch.float64)
        values = (torch.sin(0.1 * j + i) * 0.05).float().view_as(parameter)
        parameter.data.copy_(values)
    names = [str(n) for n in vectors("simplegan_nets")["names_g"]]
    for name, parameter in generator.named_parameters():
        assert name in " ".join(names)
        if name.endswith("instancenorm.weight"):
            parameter.data.add_(1)
    layers = tuple(f"layers.{i}.layers.conv" for i in range(4))
    f = og.probe(og.SimpleGan(latent=og.Normal(6)).adapt(generator), layers)
    z = data["z"]
    hp = torch.stack(list(og.HessianPenalty().terms(f, z, probes=data["V_hp"]).values())).detach()
    oj = torch.stack(list(og.OroJaR().terms(f, z, probes=data["V_orojar"]).values())).detach()
    # layers 0 and 1 are affine in z: rounding of the original over 0.01²; and a floor for the others' rounding
    torch.testing.assert_close(hp[2:], data["hp"][2:], rtol=2e-3, atol=1e-4)
    assert hp[:2].max() < 1e-6
    torch.testing.assert_close(oj, data["orojar"], rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------ closed forms
def every_sign(d: int, batch: int) -> torch.Tensor:
    """All 2^d vectors of ±1: with them the population variance is the expectation."""
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=d)), dtype=torch.float64)
    return signs[:, None].expand(-1, batch, -1)


@settings(max_examples=25)
@given(d=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_over_all_signs_both_penalties_equal_twice_the_off_diagonal_energy(d, seed):
    rng = torch.Generator().manual_seed(seed)
    hessian = torch.randn(d, d, generator=rng, dtype=torch.float64)
    hessian = hessian + hessian.T
    weight = torch.randn(7, d, generator=rng, dtype=torch.float64)
    z = torch.randn(2, d, generator=rng, dtype=torch.float64)
    quadratic = mapping(lambda z: ((z @ hessian) * z).sum(1, keepdim=True) / 2, dim=d)
    linear = mapping(lambda z: z @ weight.T, dim=d)

    def off_diagonal(matrix: torch.Tensor) -> float:
        return float(2 * (matrix.square().sum() - matrix.diagonal().square().sum()))

    probes = every_sign(d, 2)
    for exact in (False, True):
        derivative = og.Exact() if exact else og.FiniteDifference()
        hp = og.HessianPenalty(variance="population", derivative=derivative)(quadratic, z, probes=probes)
        oj = og.OroJaR(variance="population", derivative=derivative)(linear, z, probes=probes)
        assert hp.item() == pytest.approx(off_diagonal(hessian), rel=1e-9, abs=1e-9)
        assert oj.item() == pytest.approx(off_diagonal(weight.T @ weight), rel=1e-10, abs=1e-10)


def test_worked_examples_of_the_paper():
    z = torch.tensor([[0.7, -1.3]], dtype=torch.float64)
    probes = every_sign(2, 1)
    hp = og.HessianPenalty(variance="population", derivative=og.Exact())
    cases = {
        4.0: lambda z: z[:, 0] * z[:, 1],
        16 * 0.7**2: lambda z: z[:, 0] ** 2 * z[:, 1],
        0.0: lambda z: z[:, 0] ** 2 + z[:, 1] ** 2,
        400.0: lambda z: 10 * z[:, 0] * z[:, 1],
    }
    for value, function in cases.items():
        got = hp(mapping(function, dim=2), z, probes=probes).item()
        # v^T H v of z0² z1 also has 2 z1 on the diagonal, which is the same for all v
        assert got == pytest.approx(value, abs=1e-10)


def test_probes_that_differ_in_sign_only_give_zero():
    f, z = HOSTS["mlp"].build(torch.float64)[1](5), torch.randn(5, 4, dtype=torch.float64)
    v = torch.randn(1, 5, 4, dtype=torch.float64).sign()
    for penalty in (og.HessianPenalty(), og.OroJaR(derivative=og.FiniteDifference(central=True))):
        assert penalty(f, z, probes=torch.cat([v, -v])).item() == pytest.approx(0, abs=1e-12)


def test_permuting_latent_components_with_their_probes_changes_nothing():
    weight = torch.randn(9, 4, dtype=torch.float64)
    z, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64).sign()
    order = torch.tensor([2, 0, 3, 1])
    for penalty in (og.HessianPenalty(), og.OroJaR()):
        a = penalty(mapping(lambda z: torch.tanh(z @ weight.T), dim=4), z, probes=v)
        b = penalty(mapping(lambda z: torch.tanh(z @ weight[:, order].T), dim=4), z[:, order], probes=v[..., order])
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_affine_functions_are_invisible_to_one_and_constants_to_the_other():
    z, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64).sign()
    w = torch.randn(4, 5, dtype=torch.float64)
    plain = mapping(lambda z: torch.sin(z @ w), dim=4)
    affine = mapping(lambda z: torch.sin(z @ w) + 3 * z @ w + 1, dim=4)
    shifted = mapping(lambda z: torch.sin(z @ w) + 7, dim=4)
    hp, oj = og.HessianPenalty(), og.OroJaR()
    torch.testing.assert_close(hp(plain, z, probes=v), hp(affine, z, probes=v), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(oj(plain, z, probes=v), oj(shifted, z, probes=v), rtol=1e-8, atol=1e-10)


def test_orojar_makes_the_columns_of_a_linear_layer_orthogonal():
    torch.manual_seed(0)
    layer = nn.Linear(6, 64)
    f = og.probe(og.adapt(layer, og.Normal(6)))
    adam, rng = torch.optim.Adam(layer.parameters(), lr=3e-3, betas=(0.5, 0.999)), torch.Generator().manual_seed(0)

    def defect() -> float:
        gram = layer.weight.detach().T @ layer.weight.detach()
        scale = gram.diagonal().rsqrt()
        return float((gram * scale * scale[:, None] - torch.eye(6)).abs().max())

    before = defect()
    for _ in range(300):
        adam.zero_grad()
        og.OroJaR(reduction="mean", k=4)(f, torch.zeros(16, 6), rng=rng).backward()
        adam.step()
    assert before > 0.2
    assert defect() < 0.02


# ------------------------------------------------------------------------------------ select-max, options, errors
@pytest.mark.parametrize("method", [og.HessianPenalty, og.OroJaR])
@pytest.mark.parametrize("name", ["mlp", "conv", "conditional", "attention", "two latents"])
def test_searching_the_maximum_first_gives_the_same_value_and_gradient(method, name):
    host = HOSTS[name]
    G, at = host.build(torch.float64)
    z = torch.randn(20, 4, dtype=torch.float64)
    v = torch.randn(2, 20, 4, dtype=torch.float64).sign()
    parameters = [p for p in G.module.parameters() if p.requires_grad]

    def gradients(loss):
        return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)

    fast = method()(at(20), z, probes=v)

    # the plain formula, on all samples with gradients
    derivatives = og.FiniteDifference().along(at(20), z, v, method.order)
    plain = sum(
        torch.stack([method().statistic(d[i]) for d in derivatives]).var(0).max() for i in range(len(at(20).layers))
    )
    torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-10)
    for x, y in zip(gradients(fast), gradients(plain), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-8 * float(y.abs().max() + 1e-12) + 1e-12)


def test_only_the_samples_that_hold_a_maximum_are_differentiated():
    G, at = HOSTS["mlp"].build()
    rows = []
    f, z = at(64), torch.randn(64, 4)
    f(z)
    G.module[1].register_forward_hook(lambda m, args, out: rows.append(len(out)) if out.requires_grad else None)
    og.OroJaR()(f, z).backward()
    assert sum(rows) <= 3 * 3  # at most one sample per layer, three passes


def test_batch_statistics_switch_the_search_off_and_give_the_plain_value():
    G, at = HOSTS["batch norm, training"].build(torch.float64)
    z, v = torch.randn(8, 4, dtype=torch.float64), torch.randn(2, 8, 4, dtype=torch.float64).sign()

    def forward(x):
        return torch.nn.functional.batch_norm(
            G.module[0](x), None, None, G.module[1].weight, G.module[1].bias, training=True
        )

    base = forward(z)
    norms = torch.stack([((forward(z + 0.1 * u) - base) / 0.1).square().sum(1) for u in v])
    got = og.OroJaR().terms(at(8), z, probes=v)["1"]
    torch.testing.assert_close(got, norms.var(0).max(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method", [og.HessianPenalty, og.OroJaR])
def test_a_shared_base_pass_changes_neither_value_nor_gradient(method):
    G, at = HOSTS["mlp"].build(torch.float64)
    z, v = torch.randn(6, 4, dtype=torch.float64), torch.randn(2, 6, 4, dtype=torch.float64).sign()
    for reduction in ("max", "mean"):
        penalty = method(reduction=reduction)
        plain, shared = penalty(at(6), z, probes=v), penalty(at(6).at(z), z, probes=v)
        torch.testing.assert_close(plain, shared, rtol=1e-9, atol=1e-12)
        parameters = list(G.module[0].parameters())
        for a, b in zip(torch.autograd.grad(plain, parameters), torch.autograd.grad(shared, parameters), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("method", [og.HessianPenalty, og.OroJaR])
@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_small_passes_change_neither_value_nor_gradient(method, reduction):
    G, at = HOSTS["mlp"].build(torch.float64)
    z, v = torch.randn(13, 4, dtype=torch.float64), torch.randn(2, 13, 4, dtype=torch.float64).sign()
    plain = method(reduction=reduction)(at(13), z, probes=v)
    small = method(reduction=reduction, derivative=og.FiniteDifference(max_batch=11))(at(13), z, probes=v)
    torch.testing.assert_close(plain, small, rtol=1e-9, atol=1e-12)
    parameters = list(G.module[0].parameters())
    for a, b in zip(torch.autograd.grad(plain, parameters), torch.autograd.grad(small, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


def test_normalizing_by_size_is_the_documented_change_of_weight():
    z, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64).sign()
    f = mapping(lambda z: torch.tanh(z @ torch.ones(4, 9, dtype=z.dtype)).view(-1, 1, 3, 3), dim=4)
    for method, power in ((og.HessianPenalty, 1), (og.OroJaR, 2)):
        for reduction in ("max", "mean"):
            raw = method(reduction=reduction)(f, z, probes=v)
            scaled = method(reduction=reduction, normalize="numel")(f, z, probes=v)
            torch.testing.assert_close(scaled * 9**power, raw, rtol=1e-10, atol=1e-14)


def test_layer_weights_weigh_the_sum_and_must_name_layers():
    f, z, v = poly(), torch.randn(3, 2), torch.randn(2, 3, 2).sign()
    terms = og.HessianPenalty().terms(f, z, probes=v)
    weighted = og.HessianPenalty(layer_weights={"0": 3.0, "1": 0.5})(f, z, probes=v)
    torch.testing.assert_close(weighted, 3 * terms["0"] + 0.5 * terms["1"])
    with pytest.raises(ValueError, match=r"layer_weights names \['conv'\]; the map has \['0', '1'\]"):
        og.HessianPenalty(layer_weights={"conv": 1.0})(f, z)


def test_in_direction_coordinates_the_probes_have_the_width_of_the_basis():
    _, at = HOSTS["mlp"].build(torch.float64)
    z, q = torch.randn(5, 4, dtype=torch.float64), torch.linalg.qr(torch.randn(4, 2, dtype=torch.float64)).Q.T
    v = torch.randn(3, 5, 2, dtype=torch.float64).sign()
    zero = torch.zeros(5, 2, dtype=torch.float64)
    along = og.OroJaR(k=3)(og.along(at(5), z, q), zero, probes=v)
    direct = og.OroJaR(k=3)(at(5), z, probes=v @ q)  # a step of 0.1 v in coordinates is 0.1 v q in the latent
    torch.testing.assert_close(along, direct, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method", [og.HessianPenalty, og.OroJaR])
def test_a_seeded_generator_fixes_the_value_and_none_draws_from_a_private_one(method):
    f, z = poly(), torch.randn(3, 2)

    def value(seed):
        return method()(f, z, rng=torch.Generator().manual_seed(seed)).item()

    assert value(3) == value(3)
    state = torch.get_rng_state()
    method()(f, z)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 1}, "a variance over probes needs k of 2 or more"),
        ({"variance": "biased"}, r"OroJaR\(variance='biased'\): 'unbiased' or 'population' is accepted"),
        ({"reduction": "sum"}, "'max' or 'mean' is accepted"),
        ({"normalize": "yes"}, "'none' or 'numel' is accepted"),
    ],
)
def test_fields_outside_their_values_are_refused(unchecked, fields, message):
    with pytest.raises(ValueError, match=message):
        og.OroJaR(**fields)


def test_probes_of_another_shape_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"probes have shape \(2, 4, 2\); \(k >= 2, 3, 2\) is needed"):
        og.OroJaR()(poly(), torch.randn(3, 2), probes=torch.ones(2, 4, 2))
