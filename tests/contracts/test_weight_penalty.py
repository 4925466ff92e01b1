"""What every penalty on a generator's weights keeps."""

import copy

import pytest
import torch
from torch import Tensor

import orthogen as og
from contracts.examples import Stretch
from contracts.members import members
from hosts import CONDITIONAL_MAPS, HOSTS
from orthogen.core.kinds import ImageSet, WeightPenalty
from traces import trace

every = pytest.mark.parametrize("member", members(WeightPenalty, example=Stretch))


class Labeled(ImageSet):
    """Three classes, some rarer than others; for penalties that weigh them."""

    channels, resolution, classes = 1, 8, ("a", "b", "c")

    def __len__(self) -> int:
        return 6

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return torch.zeros(len(index), 1, 8, 8, dtype=torch.uint8)

    def labels(self, index: Tensor) -> Tensor:
        return torch.tensor([0, 0, 0, 1, 1, 2])[index]


def setting(member, dtype=torch.float32, seed=1):
    """The penalty, the first host it takes (not every generator has the weights it is about), and its memory."""
    penalty, refusals = member(), []
    for host in (*HOSTS.values(), CONDITIONAL_MAPS):
        generator, _ = host.build(dtype)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                state = penalty.init(generator, Labeled())
                penalty(generator, state=copy.deepcopy(state))
            except ValueError as error:
                refusals.append(error)
            else:
                return penalty, generator, state
    raise AssertionError(f"no host suits {penalty}: {refusals}")


def value(penalty, generator, state, seed=3):
    return penalty(generator, state=copy.deepcopy(state), rng=torch.Generator().manual_seed(seed))


@every
def test_is_a_finite_scalar_whose_gradient_reaches_the_generator(member):
    penalty, generator, state = setting(member)
    result = value(penalty, generator, state)
    assert result.shape == ()
    assert result.isfinite()
    result.backward()
    gradients = [p.grad for p in generator.module.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


@every
def test_a_seed_fixes_the_value_and_the_global_generator_is_not_touched(member):
    case = setting(member)
    before = torch.get_rng_state()
    assert value(*case).item() == value(*case).item()
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_float32_and_float64_agree(member):
    single, double = value(*setting(member)), value(*setting(member, torch.float64))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert single.item() == pytest.approx(double.item(), rel=1e-3)


@every
def test_it_leaves_no_trace_in_the_generator(member):
    penalty, generator, state = setting(member)
    before = trace(generator.module)
    value(penalty, generator, state).backward()
    assert trace(generator.module) == before


@every
def test_memory_survives_a_state_dict(member):
    penalty, generator, state = setting(member)
    if state is None:
        return
    other = setting(member, seed=2)[2]
    other.load_state_dict(state.state_dict())
    assert value(penalty, generator, other) == value(penalty, generator, state)


@every
def test_a_generator_without_such_weights_is_refused_in_one_line(member):
    generator = og.adapt(torch.nn.Identity(), og.Normal(4))
    penalty = member()
    with pytest.raises(ValueError) as error:  # noqa: PT011, the text is the member's
        penalty(generator, state=penalty.init(generator))
    assert "\n" not in str(error.value)
