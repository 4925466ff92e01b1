import math

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.conditioning import conditioning
from orthogen.rules.conditioning_monitor import LOGGED


def train(net, optimizer, steps, rng, shape=(16, 3, 8, 8)):
    logs = []
    for _ in range(steps):
        x = torch.randn(shape, generator=rng)
        for _ in range(2):  # only the first pass after a step is looked at
            optimizer.zero_grad()
            net(x).square().mean().backward()
            x = 100 * x
        optimizer.step()
        logs.append(x / 1e4)
    return logs


def stem():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 4, 1))


def test_it_sees_the_weights_and_the_batch_of_the_step(rng):
    net = stem()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    monitor = og.ConditioningMonitor(every=3).bind(net).attach(optimizer)
    for step in range(7):
        before = [p.detach().clone() for p in net.parameters()]
        x = train(net, optimizer, 1, rng)[0]
        if step % 3:
            assert monitor.log == {}
            continue
        rows = torch.nn.functional.conv2d(x, before[0], before[1]).movedim(1, -1).flatten(0, -2)
        found = conditioning(before[0], rows.double().T.cov())
        assert found["rank"] == 27
        expected = {key: found[key] for key in LOGGED[:3]} | {
            key: value for key, value in conditioning(net[0].weight, rows.T.cov()).items() if key in LOGGED[3:]
        }
        assert monitor.log == pytest.approx(expected, rel=1e-3)


def test_what_is_seen_without_gradients_between_two_steps_is_passed_over(rng):
    logs = []
    for tested in (False, True):
        net, rng = stem(), torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        monitor = og.ConditioningMonitor(every=1).bind(net).attach(optimizer)
        for _ in range(2):
            if tested:
                with torch.no_grad():
                    net.eval()(torch.ones(4, 3, 8, 8).cumsum(3))
            train(net.train(), optimizer, 1, rng)
            logs.append(monitor.log)
    assert logs[:2] == logs[2:]


def test_several_layers_by_pattern_and_steps_without_a_pass(rng):
    net = stem()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    monitor = og.ConditioningMonitor(("*",), every=1).bind(net).attach(optimizer)
    train(net, optimizer, 1, rng)
    assert set(monitor.log) == {f"{layer}/{key}" for layer in "03" for key in LOGGED}
    optimizer.step()
    assert monitor.log == {}
    net(torch.full((2, 3, 8, 8), math.nan)).sum().backward()
    optimizer.step()
    assert monitor.log == {}  # for the loop's own check to find


def test_a_resumed_run_logs_at_the_same_steps(rng):
    net, due = stem(), []
    optimizer = torch.optim.Adam(net.parameters())
    monitor = og.ConditioningMonitor(every=4).bind(net).attach(optimizer)
    for step in range(11):
        if step == 6:
            states = net.state_dict(), optimizer.state_dict()
            net = stem()
            optimizer = torch.optim.Adam(net.parameters())
            net.load_state_dict(states[0])
            optimizer.load_state_dict(states[1])
            monitor = og.ConditioningMonitor(every=4).bind(net).attach(optimizer)
        train(net, optimizer, 1, rng)
        due += [step] if monitor.log else []
    assert due == [0, 4, 8]


def test_it_changes_nothing_not_even_a_power_iteration(rng):
    ends = []
    for watched in (True, False):
        net = stem()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            nn.utils.parametrizations.spectral_norm(net[0])
        optimizer = torch.optim.Adam(net.parameters())
        if watched:
            og.ConditioningMonitor(every=1).bind(net).attach(optimizer)
        train(net, optimizer, 3, torch.Generator().manual_seed(1))
        ends.append(net.state_dict())
        assert net[0].training
    assert all(torch.equal(x, ends[1][name]) for name, x in ends[0].items())


def test_mistakes():
    with pytest.raises(ValueError, match="give an interval of at least 1 step, and a ridge above 0"):
        og.ConditioningMonitor(every=0)
    with pytest.raises(ValueError, match="ridge above 0"):
        og.ConditioningMonitor(eps=0.0)
    with pytest.raises(ValueError, match=r"ConditioningMonitor: no layer .* is named '1'; near it are "):
        og.ConditioningMonitor(("1",)).bind(stem())
