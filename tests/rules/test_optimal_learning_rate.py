import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

import orthogen as og
from orthogen.rules._rate import optimal_rate
from rules.small_nets import OPTIMIZERS, layer
from vectors import vectors

DECADES = ("share/0.1", "share/0.01", "share/0.001", "share/0.0001", "share/0")


def eta(w, l):  # noqa: E741
    w, l = (x.double().numpy().ravel() for x in (w, l))  # noqa: E741
    a, b, c = w @ w, l @ w, l @ l
    return a * b / (a * c + 2 * b * b)


def olr(net, optimizer, **fields):
    return og.OptimalLearningRate(("weight",), **fields).bind(net).attach(optimizer)


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("after_nog", [False, True])
def test_equals_the_released_step_of_decorrelated_batch_norm(case, after_nog):
    golden = vectors("dbn_nog_olr")
    W, L = (torch.from_numpy(golden[name][case]) for name in "WL")
    base, prefix = float(golden["base_lr"]), "nogolr" if after_nog else "olr"
    net = layer(W, L)
    optimizer = torch.optim.SGD(net.parameters(), lr=base, momentum=0.9, weight_decay=5e-4)
    rule = olr(net, optimizer)
    if after_nog:
        og.NearestOrthogonalGradient().bind(net).attach(optimizer)
    optimizer.step()
    assert rule.log["rate"] == pytest.approx(golden[f"{prefix}_used"][case], rel=1e-5)
    raw = optimal_rate(W, net.weight.grad).item()
    assert raw == pytest.approx(golden[f"{prefix}_raw"][case], rel=1e-5)
    assert rule.log["at_base"] == (golden[f"{prefix}_used"][case] == base)
    assert optimizer.param_groups[0]["lr"] == base


@given(k=st.floats(1e-15, 1e15), seed=st.integers(0, 99))
def test_it_grows_with_the_weight_and_shrinks_with_the_gradient(k, seed):
    w, g = torch.randn(2, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    one = optimal_rate(w, g).item()
    assert one == pytest.approx(eta(w, g))
    assert optimal_rate(k * w, g).item() == pytest.approx(k * one)
    assert optimal_rate(w, k * g).item() == pytest.approx(one / k)
    assert optimal_rate((k * w).float(), g.float()).item() == pytest.approx(k * one, rel=1e-4)


def test_closed_forms():
    w = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    assert optimal_rate(w, 2 * w).item() == pytest.approx(1 / 6)
    assert optimal_rate(w, -w).item() == pytest.approx(-1 / 3)
    assert optimal_rate(w, torch.tensor([[2.0, -1.0], [0.5, 1.0]])).item() == 0.0
    # cos² = 1/2:  b / c = 1/2, damped by 1 + 2 cos²
    assert optimal_rate(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).item() == pytest.approx(1 / 4)
    assert not optimal_rate(w, 0 * w).isfinite()
    assert not optimal_rate(0 * w, w).isfinite()


@pytest.mark.parametrize("on", ["gradient", "update"])
@pytest.mark.parametrize(
    ("factor", "used"),
    [(2.0, 1 / 6), (-1.0, 0.5), (0.5, 0.5), (0.0, 0.5), (float("nan"), 0.5), (float("inf"), 0.5)],
)
def test_the_rate_is_taken_between_zero_and_the_scheduled_one_only(rng, on, factor, used):
    w, ends = torch.randn(4, 3, generator=rng), []
    for ruled in (True, False):
        net = layer(w, factor * w)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        if ruled:
            rule = olr(net, optimizer, on=on)
        optimizer.step()
        ends.append(net)
    assert rule.log["rate"].item() == pytest.approx(used, rel=1e-6)
    assert rule.log["at_base"] == float(used == 0.5)
    same = torch.equal(ends[0].weight.nan_to_num(7), ends[1].weight.nan_to_num(7))
    assert same == (used == 0.5)  # bit by bit
    assert torch.equal(ends[0].bias, ends[1].bias)
    if not same:
        assert ends[0].weight.detach() == pytest.approx(w - used * factor * w, abs=1e-6)


KINDS = [{}, {"foreach": False}, {"foreach": True}, {"fused": True}]


@pytest.mark.parametrize("tensor_rate", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=["default", "for loop", "foreach", "fused"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_is_the_optimizer_at_that_rate(rng, name, kind, tensor_rate):
    """Six steps with a falling rate, against setting the learning rate of the layer's own group, as the original."""
    if name == "rmsprop" and "fused" in kind:
        pytest.skip("torch has no fused RMSprop")
    if tensor_rate and kind.get("foreach") and name not in ("sgd", "momentum", "nesterov"):
        pytest.skip("torch refuses a tensor learning rate with foreach, unless capturable")

    def rate(value):
        return torch.tensor(value, dtype=torch.float64) if tensor_rate else value

    w = torch.randn(5, 3, 2, generator=rng, dtype=torch.float64)
    ruled, manual = layer(w, None), layer(w, None)
    optimizer = OPTIMIZERS[name](ruled.parameters(), rate(0.4), **kind)
    rule = olr(ruled, optimizer)
    groups = [{"params": [manual.weight]}, {"params": [manual.bias]}]
    by_hand = OPTIMIZERS[name](groups, 0.4, foreach=False)
    own = 0
    for step in range(6):
        base = 0.4 * 0.9**step
        along = (2, 2, -1)[step % 3] * ruled.weight.detach()
        g = along + 0.3 * torch.randn(5, 3, 2, generator=rng, dtype=torch.float64)
        for net, chosen in ((ruled, optimizer), (manual, by_hand)):
            net.weight.grad = g.clone()
            net.bias.grad = torch.full_like(net.bias, step - 2.5)
            for group in chosen.param_groups:
                group["lr"] = rate(base) if chosen is optimizer else base
        best = eta(manual.weight.detach(), g)
        used = best if 0 < best < base else base
        by_hand.param_groups[0]["lr"] = used
        own += used != base
        optimizer.step()
        by_hand.step()
        assert rule.log["rate"].item() == pytest.approx(used, rel=1e-9)
        assert float(optimizer.param_groups[0]["lr"]) == base
        assert torch.allclose(ruled.weight, manual.weight, rtol=1e-9, atol=1e-12)
        assert torch.allclose(ruled.bias, manual.bias, rtol=1e-9, atol=1e-12)
    assert own == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_on_update_the_step_itself_is_the_gradient(rng, name):
    w = 0.5 * torch.randn(4, 6, generator=rng, dtype=torch.float64)
    ruled, free = layer(w, None), layer(w, None)
    optimizer, plain = (OPTIMIZERS[name](net.parameters(), 0.9) for net in (ruled, free))
    rule, own = olr(ruled, optimizer, on="update"), 0
    for _ in range(5):
        old = ruled.weight.detach().clone()
        free.weight.data.copy_(old)
        ruled.weight.grad = free.weight.grad = 3 * old + torch.randn(4, 6, generator=rng, dtype=torch.float64)
        optimizer.step()
        plain.step()
        applied = (old - free.weight.detach()) / 0.9
        best = eta(old, applied)
        used = best if 0 < best < 0.9 else 0.9
        own += used != 0.9
        assert rule.log["rate"].item() == pytest.approx(used, rel=1e-9)
        assert torch.allclose(ruled.weight.detach(), old - used * applied, rtol=1e-9)
    assert own


def test_several_layers_have_a_rate_each(rng):
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2), torch.nn.Linear(2, 2))
    for k, part in zip((2.0, -1.0), net, strict=False):
        part.weight.grad = k * part.weight.detach()
    rule = og.OptimalLearningRate(("*.weight",)).bind(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    log = rule.before(optimizer)
    optimizer.step()
    log |= rule.after(optimizer)
    rates = {"rate/0.weight": pytest.approx(1 / 6), "rate/1.weight": 1.0}  # the third has no gradient
    assert log == {"rate": pytest.approx(7 / 12), **rates, "at_base": 0.5, **dict.fromkeys(DECADES, 0), DECADES[0]: 0.5}


@pytest.mark.parametrize(
    ("used", "name"), [(0.5, 0), (0.1001, 0), (0.0999, 1), (2e-3, 2), (2e-4, 3), (2e-5, 4), (1e-20, 4)]
)
def test_the_share_of_each_decade_is_logged(used, name):
    net = layer(torch.ones(2, 3), torch.ones(2, 3) / 3)  # l = w / 3: eta* = 1
    optimizer = torch.optim.SGD(net.parameters(), lr=1 / used)
    rule = olr(net, optimizer)
    optimizer.step()
    logged = {key: float(value) for key, value in rule.log.items() if key in (*DECADES, "at_base")}
    assert logged == {"at_base": 0.0, **dict.fromkeys(DECADES, 0.0), DECADES[name]: 1.0}


def test_a_rate_of_zero_goes_nowhere():
    w = torch.ones(2, 3)
    for on in ("gradient", "update"):
        net = layer(w, w)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        rule = olr(net, optimizer, on=on)
        optimizer.step()
        assert torch.equal(net.weight, w)
        assert rule.log == {"rate": 0.0, "at_base": 1.0, **dict.fromkeys(DECADES, 0.0)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types(rng, dtype):
    w = torch.randn(64, 27, generator=rng)
    net = layer(w, 300 * w, dtype)  # squares that float16 does not hold
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    rule = olr(net, optimizer)
    optimizer.step()
    assert rule.log["rate"].item() == pytest.approx(1 / 900, rel=0.01)
    assert net.weight.dtype == dtype
    assert net.weight.detach().float() == pytest.approx(2 / 3 * w, abs=0.2)


def test_values_are_json_and_words_are_checked(unchecked):
    with pytest.raises(ValueError, match="'gradient' or 'update' is accepted"):
        og.OptimalLearningRate(on="both")
    assert og.OptimalLearningRate(("a",), "update") == og.OptimalLearningRate(layers=("a",), on="update")
    assert np.isfinite(optimal_rate(torch.ones(1, 1), torch.ones(1, 1)).item())
