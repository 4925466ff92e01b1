"""What both rules keep: their order, whom they act on, and that nothing waits for the device."""

import copy
import gc
import itertools
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import orthogen as og
from orthogen.core.linalg import PolarExpress
from rules.small_nets import OPTIMIZERS, layer

RULES = [og.NearestOrthogonalGradient, og.OptimalLearningRate]
PLACES = list(itertools.product(["gradient", "update"], repeat=2))


@pytest.mark.parametrize("name", ["momentum", "adam"])
@pytest.mark.parametrize(("nog_on", "olr_on"), PLACES)
def test_whichever_is_named_first_nog_acts_first(rng, name, nog_on, olr_on):
    w = 0.1 * torch.randn(4, 6, generator=rng)
    gradients = [20 * w + torch.randn(4, 6, generator=rng) for _ in range(3)]
    rules = [og.NearestOrthogonalGradient(("weight",), nog_on), og.OptimalLearningRate(("weight",), olr_on)]
    ends, rates = [], []
    for order in (rules, rules[::-1], rules[:1], rules[1:], []):
        net = layer(w, None)
        optimizer = OPTIMIZERS[name](net.parameters(), 0.5)
        bound = [rule.bind(net).attach(optimizer) for rule in order]
        for gradient in gradients:
            net.weight.grad = gradient.clone()
            optimizer.step()
        ends.append(net.weight.detach())
        rates.append([float(rule.log["rate"]) for rule in bound if "rate" in rule.log])
    assert torch.equal(ends[0], ends[1])
    assert rates[0] == rates[1]
    others = itertools.combinations([ends[0], *ends[2:]], 2)
    assert not any(torch.equal(a, b) for a, b in others)  # together they are neither alone, and not nothing


def test_the_rate_belongs_to_the_gradient_that_nog_left():
    w = torch.eye(2, 3)
    net = layer(w, torch.tensor([[5.0, 0, 0], [0, 0.1, 0]]))  # whose polar factor is w
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    olr = og.OptimalLearningRate().bind(net).attach(optimizer)
    og.NearestOrthogonalGradient().bind(net).attach(optimizer)
    optimizer.step()
    assert olr.log["rate"].item() == pytest.approx(1 / 3)
    assert net.weight.detach() == pytest.approx(2 / 3 * w, abs=1e-6)


class NoWaiting(TorchDispatchMode):
    """Refuses what needs a value on the host."""

    WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in self.WAITS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["float", "tensor"])
@pytest.mark.parametrize("on", ["gradient", "update"])
@pytest.mark.parametrize("rule", RULES)
def test_nothing_waits_for_the_device(rng, rule, on, rate):
    net = nn.ParameterList(torch.randn(4, 6, generator=rng) for _ in range(3))
    for parameter in net:
        parameter.grad = torch.randn(4, 6, generator=rng)
    method = {"method": PolarExpress()} if rule is og.NearestOrthogonalGradient else {}
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    bound = rule(("*",), on=on, **method).bind(net)
    with NoWaiting():
        log = bound.before(optimizer)
    optimizer.step()
    with NoWaiting():
        log |= bound.after(optimizer)
    assert log
    assert all(isinstance(value, torch.Tensor) for value in log.values())
    with pytest.raises(AssertionError), NoWaiting():
        float(net[0].sum())


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_acts_once_on_what_was_accumulated_and_clipped(rng, rule):
    x, y = torch.randn(12, 5, generator=rng), torch.randn(12, 3, generator=rng)
    ends = []
    for parts in (1, 3):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Linear(5, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
        bound = rule().bind(net).attach(optimizer)
        for _ in range(3):
            for rows, wanted in zip(x.chunk(parts), y.chunk(parts), strict=True):
                ((net(rows) - wanted).square().mean() / parts).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.2)
            optimizer.step()
            optimizer.zero_grad()
        ends.append((net.weight.detach(), {key: float(value) for key, value in bound.log.items()}))
    assert torch.allclose(ends[0][0], ends[1][0], atol=1e-5)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_other_layers_and_the_optimizer_do_not_know_of_it(rng, rule):
    w, g = torch.randn(2, 4, 6, generator=rng)
    ruled, free = layer(w, g), layer(w, g)
    made = [torch.optim.Adam(net.parameters(), lr=0.1) for net in (ruled, free)]
    rule(on="update").bind(ruled).attach(made[0])
    for optimizer in made:
        optimizer.step()
    assert torch.equal(ruled.bias, free.bias)
    assert torch.equal(ruled.weight.grad, free.weight.grad)
    states = [optimizer.state_dict() for optimizer in made]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for mine, theirs in zip(states[0]["state"].values(), states[1]["state"].values(), strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("rule", RULES)
def test_a_loss_scale_has_to_be_gone(rng, rule):
    ends = []
    for scaled in (True, False):
        net = layer(torch.ones(3, 3) / 3, None)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
        rule().bind(net).attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        x = torch.arange(9.0).view(3, 3)
        if scaled:
            scaler.scale((net.weight * x).sum()).backward()
            with pytest.raises(ValueError, match=r"call scaler\.unscale_\(optimizer\) before") as error:
                scaler.step(optimizer)
            assert "\n" not in str(error.value)
            del optimizer.grad_scale, optimizer.found_inf  # as GradScaler does after a step
            net.weight.grad = None
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        scaler.scale((net.weight * x).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        ends.append(net.weight.detach())
    assert torch.allclose(*ends)


@pytest.mark.parametrize("rule", RULES)
def test_what_it_cannot_act_on_is_refused_in_one_line(rule):
    net = nn.Embedding(5, 3, sparse=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    rule().bind(net).attach(optimizer)
    net(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(TypeError, match=r"the gradient of 'weight' is sparse; make it dense \(sparse=False\)"):
        optimizer.step()
    # the released OLR wrote its rate into a group without parameters
    with pytest.raises(ValueError, match="the optimizer does not have 'weight'; bind the rule to the module that") as e:
        rule().bind(net).before(torch.optim.SGD([torch.zeros(3)], lr=0.1))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("rule", RULES)
def test_parameters_are_held_by_reference_and_optimizers_are_not(rng, rule):
    net = layer(torch.randn(3, 4, generator=rng), None)
    first, second = (torch.optim.SGD(net.parameters(), lr=0.1) for _ in range(2))
    bound = rule().bind(net).attach(first).attach(second)
    net.weight.data = torch.ones(3, 4)  # moved, loaded, cast: the same parameter
    for optimizer in (first, second, copy.deepcopy(second)):
        bound.log = {}
        net.weight.grad = torch.ones(3, 4)
        optimizer.step()
        assert bool(bound.log) == (optimizer in (first, second))  # a copy has no hooks, and other parameters
    gone = weakref.ref(first)
    del first, optimizer
    gc.collect()
    assert gone() is None


def test_a_group_of_its_own_and_a_scheduler_are_followed():
    w = torch.eye(3)
    net = layer(w, None)
    optimizer = torch.optim.SGD([{"params": [net.bias], "lr": 5.0}, {"params": [net.weight], "lr": 0.1}])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    olr = og.OptimalLearningRate(("weight",)).bind(net).attach(optimizer)
    used = []
    for k in (20.0, 20.0, 0.1):
        net.weight.data.copy_(w)
        net.weight.grad = k * w
        optimizer.step()
        scheduler.step()
        used.append(olr.log["rate"].item())
    assert used == pytest.approx([1 / 60, 0.01, 0.001])
    assert scheduler.get_last_lr() == pytest.approx([5e-3, 1e-4])
