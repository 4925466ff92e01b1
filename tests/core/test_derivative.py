"""Derivatives against closed forms, each other, and double backward."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import orthogen as og
from hosts import HOSTS


def f64(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def smooth() -> og.LatentMap:
    net = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 6), nn.Softplus()).double()
    return og.probe(og.adapt(net, og.Normal(4)), ("1", "output"))


def by_hessian(f: og.LatentMap, z: torch.Tensor, v: torch.Tensor, layer: int, order: int) -> torch.Tensor:
    """J v and v^T H v from dense autograd derivatives, sample by sample."""
    rows = []
    for i in range(len(z)):

        def one(x: torch.Tensor) -> torch.Tensor:
            return f(x[None])[layer][0]

        jacobian = torch.autograd.functional.jacobian(one, z[i], create_graph=True)
        if order == 1:
            rows.append(jacobian @ v[i])
        else:
            rows.append(
                torch.stack(
                    [v[i] @ torch.autograd.functional.hessian(lambda x, o=o: one(x)[o], z[i]) @ v[i] for o in range(6)]
                )
            )
    return torch.stack(rows)


@pytest.mark.parametrize("order", [1, 2])
def test_exact_derivatives_equal_dense_ones(order):
    f, z, v = smooth(), f64(3, 4), f64(2, 3, 4, seed=1)
    got = og.Exact().along(f, z, v, order)
    for j in range(2):
        torch.testing.assert_close(got[j][1], by_hessian(f, z, v[j], 1, order), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("order", "central", "slope"), [(1, False, 1), (1, True, 2), (2, False, 2)])
def test_differences_converge_to_exact_derivatives_with_their_order(order, central, slope):
    f, z, v = smooth(), f64(3, 4), f64(2, 3, 4, seed=1).sign()
    exact = og.Exact().along(f, z, v, order)[0][1]
    errors = [
        (og.FiniteDifference(step, central).along(f, z, v, order)[0][1] - exact).abs().max().item()
        for step in (1e-2, 5e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(2**slope, rel=0.1)


def test_piecewise_linear_nets_grow_like_one_over_the_step():
    # the kinks, which no exact derivative sees: fact of the method, not an error
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32))
    f = og.probe(og.adapt(net.double(), og.Normal(6)))
    z, v = f64(256, 6), f64(2, 256, 6, seed=1).sign()

    def energy(step: float) -> float:
        a, b = (d[0] for d in og.FiniteDifference(step).along(f, z, v, 2))
        return float((a - b).detach().square().mean() / 2)

    assert energy(0.003) * 0.003 == pytest.approx(energy(0.03) * 0.03, rel=0.5)


@pytest.mark.parametrize("max_batch", [1, 3, 7, 64])
@pytest.mark.parametrize("order", [1, 2])
def test_batched_chunked_and_single_passes_agree(max_batch, order):
    _, at = HOSTS["conditional"].build(torch.float64)
    f, z, v = at(5), f64(5, 4), f64(3, 5, 4, seed=1)
    plain = og.FiniteDifference().along(f, z, v, order)
    chunked = og.FiniteDifference(max_batch=max_batch).along(f, z, v, order)
    for a, b in zip(plain, chunked, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_known_base_activations_save_the_base_pass(order):
    G, at = HOSTS["mlp"].build(torch.float64)
    z, v, passes = f64(5, 4), f64(2, 5, 4, seed=1), []
    f = at(5)
    plain = og.FiniteDifference().along(f, z, v, order)
    g = f.at(z)
    G.module[0].register_forward_hook(lambda m, args, out: passes.append(len(out)))
    shared = og.FiniteDifference().along(g, z, v, order)
    assert sum(passes) == 5 * (2 if order == 1 else 4)
    for a, b in zip(plain, shared, strict=True):
        torch.testing.assert_close(a[0], b[0], rtol=1e-12, atol=1e-12)


def test_leaving_out_the_common_term_changes_all_probes_alike():
    _, at = HOSTS["mlp"].build(torch.float64)
    f, z, v = at(5), f64(5, 4), f64(2, 5, 4, seed=1)
    full = og.FiniteDifference().along(f, z, v, 2)
    short = og.FiniteDifference().along(f, z, v, 2, up_to_constant=True)
    torch.testing.assert_close(full[0][2] - full[1][2], short[0][2] - short[1][2], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm(8), nn.Sequential(nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, affine=True), nn.Flatten()),
     nn.BatchNorm1d(8)],
    ids=["layer_norm", "instance_norm", "batch_norm"],
)  # fmt: skip
def test_exact_refuses_norms_whose_forward_mode_gradients_are_wrong(norm):
    net = nn.Sequential(nn.Linear(4, 8), norm, nn.Tanh())
    f, z = og.probe(og.adapt(net, og.Normal(4))), torch.randn(5, 4)
    with pytest.raises(ValueError, match="silently wrong in torch"):
        og.OroJaR(derivative=og.Exact())(f, z)


def test_exact_accepts_batch_norm_on_running_statistics_and_group_norm():
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GroupNorm(2, 8), nn.Tanh()).eval()
    assert og.OroJaR(derivative=og.Exact())(og.probe(og.adapt(net, og.Normal(4))), torch.randn(5, 4)).isfinite()


class Attends(nn.Module):
    """Attention as diffusion models and vision transformers call it: fused, and without a forward-mode derivative."""

    def __init__(self):
        super().__init__()
        self.layer, self.attention = nn.Linear(4, 12), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, z):
        x = self.layer(z).unflatten(1, (3, 4))
        return self.attention(x, x, x, need_weights=False)[0].flatten(1)[:, :6]


@pytest.mark.parametrize("order", [1, 2])
def test_exact_derivatives_go_through_attention(order):
    module = Attends().double().eval()
    f, z, v = og.probe(og.adapt(module, og.Normal(4))), f64(3, 4), f64(1, 3, 4, seed=1)
    with torch.no_grad():  # where attention takes another fast way
        (values,) = og.Exact().along(f, z, v, order)
    (found,) = og.Exact().along(f, z, v, order)
    with sdpa_kernel(SDPBackend.MATH):  # which has the second derivatives that the oracle needs
        expected = by_hessian(f, z, v[0], 0, order)
    for each in (values, found):
        torch.testing.assert_close(each[0], expected, rtol=1e-9, atol=1e-12)
    if order == 1:
        weights = list(module.parameters())
        gradients = [
            torch.autograd.grad(x.square().sum(), weights, materialize_grads=True) for x in (found[0], expected)
        ]
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-10)
    assert torch.backends.mha.get_fastpath_enabled()


def test_exact_refuses_for_the_probed_layers_alone_and_always_alike():
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    f, z = og.probe(og.adapt(module, og.Normal(4)), ("1",)), torch.randn(5, 4)
    values = [og.OroJaR(derivative=og.Exact())(f, z, rng=torch.Generator().manual_seed(0)) for _ in range(2)]
    assert values[0] == values[1]


def test_exact_refuses_a_second_derivative_that_is_identically_zero():
    net = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 3))
    f = og.probe(og.adapt(net, og.Normal(4)), ("0", "output"))
    with pytest.raises(ValueError, match="'0', 'output' is identically zero"):
        og.HessianPenalty(derivative=og.Exact())(f, torch.randn(5, 4))


def test_exact_says_which_operation_has_no_forward_mode():
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    f = og.probe(og.adapt(nn.Identity(), og.Normal(4), call=lambda m, z: Opaque.apply(z)))
    with pytest.raises(ValueError, match=r"no forward-mode derivative here .*; use FiniteDifference"):
        og.OroJaR(derivative=og.Exact())(f, torch.randn(5, 4))


def jacobian_penalty_by_double_backward(
    module: nn.Module, z: torch.Tensor, probes: torch.Tensor, parameters: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Gradients of mean_i Var_v |J v|² with J v = d/du (J^T u) v, by reverse mode alone."""
    norms = []
    for v in probes:
        x = z.clone().requires_grad_()
        out = module(x).flatten(1)
        u = torch.zeros_like(out, requires_grad=True)
        (pulled,) = torch.autograd.grad(out, x, u, create_graph=True)
        (jv,) = torch.autograd.grad(pulled, u, v, create_graph=True)
        norms.append(jv.square().sum(1))
    return torch.autograd.grad(torch.stack(norms).var(0).mean(), parameters)


def norm_layers() -> dict[str, nn.Module]:
    from orthogen.layers.instance_norm import InstanceNorm2d

    return {"InstanceNorm2d": InstanceNorm2d(4)}


@pytest.mark.parametrize("name", ["InstanceNorm2d"])
def test_exact_gradients_through_our_norms_equal_double_backward(name):
    torch.manual_seed(0)
    norm = norm_layers()[name]
    net = nn.Sequential(nn.ConvTranspose2d(5, 4, 4), norm, nn.LeakyReLU(0.2), nn.Conv2d(4, 2, 3), nn.Tanh()).double()
    z, probes = f64(3, 5), f64(2, 3, 5, seed=1).sign()
    f = og.probe(og.adapt(net, og.Normal(5), call=lambda m, z: m(z[:, :, None, None])))
    loss = og.OroJaR(derivative=og.Exact(), reduction="mean")(f, z, probes=probes)
    got = torch.autograd.grad(loss, list(net.parameters()))
    expected = jacobian_penalty_by_double_backward(
        lambda x: net(x[:, :, None, None]), z, probes, list(net.parameters())
    )
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("step", [0.0, -0.1, float("nan"), float("inf")])
def test_a_step_that_is_not_positive_is_refused(step):
    with pytest.raises(ValueError, match=r"the step must be positive; the papers use 0\.1"):
        og.FiniteDifference(step)
