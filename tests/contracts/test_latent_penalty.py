"""What every penalty on a latent map keeps, on every host."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from contracts.members import members
from hosts import HOSTS, painted
from orthogen.core.kinds import ImageSet, LatentPenalty
from traces import trace

MEMBERS = members(LatentPenalty)
LEARNING = [case for case in MEMBERS if case.values[0].init is not LatentPenalty.init]

every = pytest.mark.parametrize("member", MEMBERS)
learning = pytest.mark.parametrize("member", LEARNING)
everywhere = pytest.mark.parametrize("name", HOSTS)
# one of each habit that matters where the host's own ways do not
somewhere = pytest.mark.parametrize("name", ["mlp", "conv", "batch norm, training", "dropout"])


class Pictures(ImageSet):
    """What a painted host shows, as data: a conditional generator cannot be asked for an image without conditions."""

    channels, resolution = 1, 8

    def __len__(self) -> int:
        return 0

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return torch.zeros(len(index), 1, 8, 8, dtype=torch.uint8)


@dataclass
class Scene:
    """A penalty with its memory, and something to look at: the image for those that learn, else a host's layers."""

    penalty: LatentPenalty
    generator: og.Generator
    f: og.LatentMap
    z: Tensor
    state: nn.Module | None

    def value(self, f: og.LatentMap | None = None, z: Tensor | None = None, seed: int = 3, **options: Any) -> Tensor:
        """The penalty with a fresh copy of its memory, which it may change."""
        rng = torch.Generator().manual_seed(seed)
        f, z = self.f if f is None else f, self.z if z is None else z
        return self.penalty(f, z, state=copy.deepcopy(self.state), rng=rng, **options)

    @property
    def takes_probes(self) -> bool:
        """Whether what is drawn can be handed in."""
        try:
            self.value(probes=torch.ones(2, *self.z.shape, dtype=self.z.dtype))
        except ValueError as error:
            if "probes" not in str(error):
                raise
            return False
        return True

    @property
    def random(self) -> bool:
        """Whether the host draws something in a pass, such as dropout."""
        seen = []
        for seed in (0, 1):
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(seed)
                seen.append(self.f(self.z)[-1])
        return not torch.equal(*seen)


def scene(member: type[LatentPenalty], name: str = "mlp", dtype: torch.dtype = torch.float32) -> Scene:
    penalty, host = member(), HOSTS[name]
    if member.init is not LatentPenalty.init:
        host = painted(host)
    generator, at = host.build(dtype)
    # of very different lengths, so that a weight on some sample would show
    z = torch.tensor([[0.2], [0.5], [1], [2], [3]]) * torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        # the old hook form of spectral norm sets attributes in its first pass
        generator(z.to(dtype), **({"label": torch.arange(5) % 3} if host.labeled else {}))
        state = penalty.init(generator, Pictures() if host.labeled else None)
    return Scene(penalty, generator, at(5), z.to(dtype), state)


@every
@everywhere
def test_is_a_finite_scalar_whose_gradient_reaches_generator_and_memory(member, name):
    s = scene(member, name)
    value = s.penalty(s.f, s.z, state=s.state, rng=torch.Generator().manual_seed(3))
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    for network in (s.generator.module, s.state):
        learned = [] if network is None else [p for p in network.parameters() if p.requires_grad]
        gradients = [p.grad for p in learned if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients)
        assert not learned or any(g.any() for g in gradients)


@every
@everywhere
def test_a_seed_fixes_the_value_and_the_global_generator_is_not_touched(member, name):
    s = scene(member, name)
    before = torch.get_rng_state()
    assert s.value().item() == s.value().item()
    s.penalty(s.f, s.z, state=s.state)  # draws from the private generator
    assert torch.equal(torch.get_rng_state(), before)


@every
@everywhere
def test_the_order_of_the_samples_does_not_matter(member, name):
    s = scene(member, name, torch.float64)
    if s.random:
        pytest.skip("the host draws something else for each place in the batch")
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = {"f": s.f.take(order), "z": s.z[order]}
    if s.takes_probes:
        probes = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).sign()
        plain, moved = s.value(probes=probes), s.value(**shuffled, probes=probes[:, order])
        torch.testing.assert_close(moved, plain, rtol=1e-8, atol=1e-10)
        return
    # what is drawn belongs to a place in the batch: the two agree in the mean over draws
    with torch.no_grad():
        a, b = (torch.stack([s.value(**at, seed=seed) for seed in range(12)]) for at in ({}, shuffled))
    error = (a.var() / 12 + b.var() / 12).sqrt()
    assert (a.mean() - b.mean()).abs() <= 4 * error + 1e-8 * a.mean().abs()


@every
@everywhere
def test_float32_and_float64_agree(member, name):
    single, double = scene(member, name), scene(member, name, torch.float64)
    assert single.value().dtype == torch.float32
    assert double.value().dtype == torch.float64
    if not double.random:  # torch draws other numbers in float64
        assert single.value().item() == pytest.approx(double.value().item(), rel=1e-2, abs=1e-4)


@every
@everywhere
def test_it_leaves_no_trace_in_the_host(member, name):
    s = scene(member, name)
    before = trace(s.generator.module)
    loss = s.penalty(s.f, s.z, state=s.state, rng=torch.Generator().manual_seed(3))
    assert trace(s.generator.module) == before
    loss.backward()
    assert trace(s.generator.module) == before


@every
@somewhere
def test_autocast_changes_nothing(member, name):
    s = scene(member, name)
    plain = s.value()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = s.value()
    assert low.dtype == torch.float32
    assert low.item() == plain.item()


@every
@somewhere
def test_without_gradients_the_value_is_the_same(member, name):
    s = scene(member, name, torch.float64)
    with torch.no_grad():
        value = s.value()
    assert not value.requires_grad
    assert value.item() == pytest.approx(s.value().item(), rel=1e-8, abs=1e-10)


@every
@somewhere
def test_one_term_per_layer_and_their_weighted_sum(member, name):
    s = scene(member, name, torch.float64)
    rng = torch.Generator().manual_seed(3)
    terms = s.penalty.terms(s.f, s.z, state=copy.deepcopy(s.state), rng=rng)
    assert tuple(terms) == s.f.layers
    assert all(term.shape == () for term in terms.values())
    total = sum(s.penalty.layer_weight(layer) * term.item() for layer, term in terms.items())
    assert s.value().item() == pytest.approx(total, rel=1e-9)


@every
def test_conditions_reach_the_generator(member):
    s = scene(member, "conditional", torch.float64)
    others = [s.value(f=og.given(s.f, label=torch.full((5,), i))).item() for i in range(3)]
    assert len({s.value().item(), *others}) == 4


@every
def test_direction_coordinates(member):
    s = scene(member, dtype=torch.float64)
    zero, axes = torch.zeros_like(s.z), torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(s.value(f=og.along(s.f, zero, axes)), s.value(), rtol=1e-8, atol=1e-10)
    rng = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=rng)).Q.requires_grad_()
    s.value(f=og.along(s.f, s.z, basis), z=0.1 * s.z).backward()
    assert basis.grad.isfinite().all()
    assert basis.grad.any()


@every
def test_gradients_reach_the_latents(member):
    s = scene(member, dtype=torch.float64)
    z = s.z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(s.value(z=z), z)
    assert gradient.any()
    step = 1e-6 * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    difference = (s.value(z=s.z + step) - s.value(z=s.z - step)) / 2
    assert difference.item() == pytest.approx((gradient * step).sum().item(), rel=1e-4)


@learning
def test_memory_survives_a_state_dict(member):
    s = scene(member)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        other = s.penalty.init(s.generator)
    first, expected = s.state, s.value()
    s.state = other
    assert s.value() != expected
    other.load_state_dict(first.state_dict())
    assert s.value() == expected


@learning
def test_a_conditional_generator_takes_the_shape_from_the_data(member):
    generator, _ = painted(HOSTS["conditional"]).build()
    with pytest.raises(TypeError, match=r"takes conditions.*penalty\.init\(generator, data\)"):
        member().init(generator)


@learning
def test_a_memory_that_is_missing_is_asked_for(member):
    s = scene(member)
    s.state = None
    with pytest.raises(ValueError, match="state"):
        s.value()


@learning
def test_making_the_memory_leaves_no_trace_in_the_host(member):
    s = scene(member)
    before = trace(s.generator.module)
    with torch.random.fork_rng():  # modules start from torch's own generator
        s.penalty.init(s.generator)
    assert trace(s.generator.module) == before
