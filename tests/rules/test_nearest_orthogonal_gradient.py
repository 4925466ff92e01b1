import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

import orthogen as og
from orthogen.core import record
from orthogen.core.linalg import PolarExpress
from rules.small_nets import OPTIMIZERS, layer
from vectors import vectors

BOTH = ["gradient", "update"]


def nog(net, optimizer=None, **fields):
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=1.0)
    return og.NearestOrthogonalGradient(("weight",), **fields).bind(net).attach(optimizer), optimizer


def polar(G):
    U, _, Vt = np.linalg.svd(G.double().flatten(1).numpy(), full_matrices=False)
    return torch.from_numpy(U @ Vt).view(G.shape)


@pytest.mark.parametrize("case", [0, 1])
def test_equals_the_released_step_of_decorrelated_batch_norm(case):
    golden = vectors("dbn_nog_olr")
    W, L = (torch.from_numpy(golden[name][case]) for name in "WL")
    net = layer(W, L)
    rule, optimizer = nog(net)
    optimizer.step()
    assert net.weight.grad == pytest.approx(golden["nog"][case], abs=1e-5)
    P = net.weight.grad.flatten(1)  # 64 x 27
    assert P.T @ P == pytest.approx(torch.eye(27), abs=1e-5)
    nuclear = torch.linalg.matrix_norm(L.flatten(1), "nuc").item()
    assert (P * L.flatten(1)).sum().item() == pytest.approx(nuclear, rel=1e-5)
    assert rule.log["norm"] == pytest.approx(L.norm().item(), rel=1e-5)


def test_equals_the_released_step_of_eigengan():
    golden = vectors("eigengan_nog")
    net = nn.ParameterDict({f"U{i}": torch.zeros(golden[f"gradient{i}"].shape) for i in range(2)})
    for i in range(2):
        net[f"U{i}"].grad = torch.from_numpy(golden[f"gradient{i}"])
    bound = og.NearestOrthogonalGradient(("U*",)).bind(net)
    bound.before(torch.optim.Adam(net.parameters()))
    for i in range(2):
        P = net[f"U{i}"].grad
        assert P == pytest.approx(golden[f"nog{i}"], abs=1e-5)
        assert P @ P.T == pytest.approx(torch.eye(3), abs=1e-5)


@given(k=st.floats(1e-12, 1e12), seed=st.integers(0, 99))
def test_only_the_direction_of_the_gradient_matters(k, seed):
    rng = torch.Generator().manual_seed(seed)
    G = torch.randn(5, 3, 2, 2, generator=rng, dtype=torch.float64)
    found = []
    for scale in (1.0, k):
        net = layer(torch.zeros_like(G), scale * G)
        nog(net)[1].step()
        found.append(net.weight.grad)
    assert found[0] == pytest.approx(found[1], abs=1e-9)
    assert found[0] == pytest.approx(polar(G), abs=1e-9)


def test_a_gradient_without_full_rank_gives_a_partial_isometry(rng):
    # as in EigenGAN with a batch smaller than the basis; a thin SVD would make up directions
    z, outer = torch.randn(2, 6, generator=rng), torch.randn(2, 40, generator=rng)
    net = layer(torch.zeros(6, 40), z.T @ outer)
    rule, optimizer = nog(net)
    optimizer.step()
    values = torch.linalg.svdvals(net.weight.grad)
    assert values == pytest.approx(torch.tensor([1.0, 1, 0, 0, 0, 0]), abs=1e-5)
    assert rule.log["cosine"] <= 1


@pytest.mark.parametrize("on", BOTH)
def test_what_is_logged(on):
    G = torch.tensor([[3.0, 0, 0], [0, 4.0, 0]])
    net = layer(torch.zeros(2, 3), G)
    rule, optimizer = nog(net, torch.optim.SGD(net.parameters(), lr=0.1), on=on)
    optimizer.step()
    assert rule.log == {"norm": pytest.approx(5.0), "cosine": pytest.approx(7 / (5 * math.sqrt(2)))}
    net.weight.grad = 2 * torch.eye(2, 3)  # orthogonal already
    net.weight.data.zero_()
    optimizer.step()
    assert rule.log == {"norm": pytest.approx(8**0.5), "cosine": pytest.approx(1.0)}


@pytest.mark.parametrize("on", BOTH)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_left_for_the_loop_to_find(rng, on, bad):
    G = torch.randn(3, 4, generator=rng)
    G[1, 2] = bad
    ends = []
    for ruled in (True, False):
        net = layer(torch.ones(3, 4), G)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        if ruled:
            rule, _ = nog(net, optimizer, on=on)
        optimizer.step()
        ends.append(net)
    assert torch.equal(ends[0].weight.grad.nan_to_num(7), ends[1].weight.grad.nan_to_num(7))
    assert torch.equal(ends[0].weight.nan_to_num(7), ends[1].weight.nan_to_num(7))
    assert rule.log == {"norm": 0.0, "cosine": 0.0}


@pytest.mark.parametrize("on", BOTH)
def test_no_gradient_and_none_of_any_length(on):
    for gradient in (None, torch.zeros(3, 4)):
        net = layer(torch.ones(3, 4), gradient)
        rule, optimizer = nog(net, on=on)
        optimizer.step()
        assert torch.equal(net.weight, torch.ones(3, 4))
        assert rule.log == ({} if gradient is None else {"norm": 0.0, "cosine": 0.0})


def test_on_plain_sgd_gradient_and_update_are_the_same(rng):
    W, G = torch.randn(2, 4, 9, generator=rng, dtype=torch.float64)
    ends = []
    for on in BOTH:
        net = layer(W, G)
        _, optimizer = nog(net, torch.optim.SGD(net.parameters(), lr=0.3), on=on)
        optimizer.step()
        ends.append(net.weight.detach())
    assert ends[0] == pytest.approx(W - 0.3 * polar(G), abs=1e-12)
    assert ends[1] == pytest.approx(ends[0], abs=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_on_update_every_step_is_an_orthogonal_one_of_the_learning_rate(rng, name):
    W = torch.randn(4, 9, generator=rng, dtype=torch.float64)
    net, free = layer(W, None), layer(W, None)
    _, optimizer = nog(net, OPTIMIZERS[name](net.parameters(), 0.01), on="update")
    plain = OPTIMIZERS[name](free.parameters(), 0.01)
    for _ in range(4):
        old = net.weight.detach().clone()
        free.weight.data.copy_(old)
        free.weight.grad = net.weight.grad = torch.randn(4, 9, generator=rng, dtype=torch.float64)
        optimizer.step()
        plain.step()
        move = (net.weight - old) / 0.01
        assert move.detach() == pytest.approx(polar(free.weight.detach() - old), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("on", BOTH)
def test_half_types(rng, dtype, on):
    W, G = torch.randn(2, 4, 9, generator=rng)
    net = layer(W, G, dtype)
    _, optimizer = nog(net, torch.optim.SGD(net.parameters(), lr=1.0), on=on)
    optimizer.step()
    assert net.weight.dtype == net.weight.grad.dtype == dtype
    # an update in a half type is as coarse as its weights
    assert net.weight.detach().double() == pytest.approx(W - polar(G), abs=0.02 if on == "gradient" else 0.05)


def test_layers_of_one_short_side_and_others_in_one_step(rng):
    shapes = [(3, 7), (2, 3, 3), (7, 3), (70, 80)]
    net = nn.ParameterList(torch.zeros(*shape) for shape in shapes)
    for parameter in net:
        parameter.grad = torch.randn(parameter.shape, generator=rng)
    expected = [polar(parameter.grad) for parameter in net]
    og.NearestOrthogonalGradient(("*",)).bind(net).before(torch.optim.SGD(net.parameters(), lr=1.0))
    for parameter, P in zip(net, expected, strict=True):
        assert parameter.grad == pytest.approx(P, abs=2e-3)


def test_it_is_a_value_with_a_method_of_choice(rng, unchecked):
    G = torch.randn(6, 30, generator=rng)
    net = layer(torch.zeros(6, 30), G)
    _, optimizer = nog(net, method=PolarExpress())
    optimizer.step()
    assert net.weight.grad == pytest.approx(polar(G), abs=1e-5)
    rule = og.NearestOrthogonalGradient(("a", "b.*"), "update", PolarExpress(steps=7))
    assert record.from_json(record.to_json(rule)) == rule
    with pytest.raises(ValueError, match=r"NearestOrthogonalGradient\(on='both'\): 'gradient' or 'update' is accepted"):
        og.NearestOrthogonalGradient(on="both")
