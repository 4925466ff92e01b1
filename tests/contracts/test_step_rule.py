"""What every rule between backward and step keeps."""

import pytest
import torch
from torch import Tensor, nn

from contracts.examples import Half
from contracts.members import members
from hosts import CONDITIONAL_MAPS, HOSTS
from orthogen.core.kinds import StepRule

every = pytest.mark.parametrize("member", members(StepRule, example=Half))
OBSERVERS = {"ConditioningMonitor", "SpectralMonitor"}  # rules that look on


def setting(member):
    """A module that the rule's default pattern fits, with gradients; the bound rule; an optimizer."""
    refusals = []
    for host in (*HOSTS.values(), CONDITIONAL_MAPS):
        generator, _ = host.build()
        try:
            bound = member().bind(generator.module)
        except ValueError as error:
            refusals.append(error)
        else:
            rng = torch.Generator().manual_seed(0)
            for parameter in generator.module.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=rng)
            return generator.module, bound, torch.optim.Adam(generator.module.parameters(), lr=1e-3)
    raise AssertionError(f"no host suits {member()}: {refusals}")


@every
def test_a_step_stays_finite_and_says_what_to_log(member):
    module, bound, optimizer = setting(member)
    shapes = [p.shape for p in module.parameters()]
    for log in (bound.before(optimizer), optimizer.step(), bound.after(optimizer)):
        for name, number in (log or {}).items():
            assert isinstance(name, str)
            assert isinstance(number, float) or (isinstance(number, Tensor) and number.shape == ())
            assert torch.as_tensor(number).isfinite()
    assert [p.shape for p in module.parameters()] == shapes
    assert all(p.isfinite().all() and p.grad.isfinite().all() for p in module.parameters())


@every
def test_a_step_draws_nothing_and_can_be_repeated(member):
    ends, before = [], torch.get_rng_state()
    for _ in range(2):
        module, bound, optimizer = setting(member)
        bound.before(optimizer)
        optimizer.step()
        bound.after(optimizer)
        ends.append([p.detach().clone() for p in module.parameters()])
    assert all(map(torch.equal, *ends))
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_a_rule_changes_something_and_an_observer_nothing(member):
    ends = []
    for ruled in (True, False):
        module, bound, optimizer = setting(member)
        optimizer.param_groups[0]["lr"] = 1.0
        for parameter in module.parameters():
            parameter.grad.mul_(0.1).add_(parameter.detach())  # along the weight, for rules that look at that
        if ruled:
            bound.attach(optimizer)
        optimizer.step()
        ends.append([x for p in module.parameters() for x in (p.detach(), p.grad)])
        assert optimizer.param_groups[0]["lr"] == 1.0
    assert all(map(torch.equal, *ends)) == (member.__name__ in OBSERVERS)


@every
def test_two_lines_in_ones_own_loop_do_what_a_call_before_and_after_the_step_does(member):
    ends = []
    for attached in (True, False):
        module, bound, optimizer = setting(member)
        if attached:
            assert bound.attach(optimizer) is bound
            bound.attach(optimizer)  # twice is once
            optimizer.step()
            log = bound.log
        else:
            log = bound.before(optimizer)
            optimizer.step()
            log = {**log, **bound.after(optimizer)}
        ends.append([*(p.detach() for p in module.parameters()), *(torch.as_tensor(x) for x in log.values())])
    assert all(map(torch.equal, *ends))


@every
def test_a_closure_is_refused_in_one_line(member):
    _, bound, optimizer = setting(member)
    bound.attach(optimizer)
    with pytest.raises(ValueError, match=r"call backward first, then step\(\) alone") as error:
        optimizer.step(lambda: torch.zeros(()))
    assert "\n" not in str(error.value)


@every
def test_parameters_without_a_gradient_are_passed_over(member):
    module, bound, optimizer = setting(member)
    optimizer.zero_grad()
    parameters = [p.detach().clone() for p in module.parameters()]
    bound.before(optimizer)
    optimizer.step()
    assert all(p.isfinite().all() for p in module.parameters())
    assert [p.shape for p in parameters] == [p.shape for p in module.parameters()]


@every
def test_a_pattern_that_matches_nothing_is_an_error_in_one_line(member):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the text is the member's
        member().bind(nn.Identity())
    assert "\n" not in str(error.value)
