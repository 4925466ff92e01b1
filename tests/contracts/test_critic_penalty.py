"""What every penalty on the critic keeps."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from contracts.members import members
from hosts import HOSTS, painted
from orthogen.core.kinds import CriticBatch, CriticPenalty
from orthogen.layers.conv_encoder import ConvEncoder
from traces import trace


class Projection(nn.Module):
    """A conditional critic: a body's features, and their product with an embedding of the label."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.rows, self.end = ConvEncoder((1, 8, 8), (4,), 8, 6), nn.Embedding(3, 6), nn.Linear(6, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features = torch.tanh(self.body(images))
        return self.end(features + features * self.rows(labels))


def habits() -> nn.Module:
    """Everything that a pass changes: batch statistics, power iterations, dropout."""
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(256, 1))
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(), nn.Dropout(0.2), nn.Flatten(), spectral
    )


CRITICS: dict[str, Callable[[], nn.Module]] = {
    "simple": lambda: ConvEncoder((1, 8, 8), (4, 6), 8, 1, activation=nn.Softplus, hidden_activation=nn.Tanh),
    "relu": lambda: ConvEncoder((1, 8, 8), (4, 6), 8, 1),
    "batch norm, spectral norm and dropout": habits,
    "conditional": Projection,
}

every = pytest.mark.parametrize("member", members(CriticPenalty))
everywhere = pytest.mark.parametrize("name", CRITICS)
separately = pytest.mark.parametrize("name", ["simple", "relu", "conditional"])


class Scene:
    """A critic, a batch, a penalty with its memory."""

    def __init__(self, member: type[CriticPenalty], name: str, dtype: torch.dtype = torch.float32) -> None:
        self.penalty, generator = member(), painted(HOSTS["mlp"]).build(dtype)[0]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.critic = CRITICS[name]().to(dtype)
            self.state = self.penalty.init(generator, critic=self.critic)
        rng = torch.Generator().manual_seed(1)
        # of very different contrasts, so that a weight on some image would show
        contrast = torch.tensor([0.2, 0.5, 1, 2, 3]).view(5, 1, 1, 1)
        real, fake = (contrast * torch.randn(2, 5, 1, 8, 8, generator=rng)).to(dtype)
        labels = (torch.arange(5) % 3, torch.arange(5) % 2) if name == "conditional" else (None, None)
        logits = [self.critic(x) if y is None else self.critic(x, y) for x, y in zip((real, fake), labels, strict=True)]
        latents = torch.randn(5, generator.latent.dim, generator=rng).to(dtype)
        self.batch = CriticBatch(real, fake, *logits, *labels, latents)

    def value(self, batch: CriticBatch | None = None, seed: int = 3) -> Tensor:
        """The penalty with a fresh copy of its memory, which it may change."""
        rng = torch.Generator().manual_seed(seed)
        state = copy.deepcopy(self.state)
        return self.penalty(self.critic, self.batch if batch is None else batch, state=state, rng=rng)

    def take(self, index: Tensor) -> CriticBatch:
        rows = (None if x is None else x[index] for x in vars(self.batch).values())
        return CriticBatch(*rows)


@every
@everywhere
def test_is_a_finite_scalar_whose_gradient_reaches_the_critic(member, name):
    s = Scene(member, name)
    value = s.value()
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    gradients = [p.grad for p in s.critic.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


@every
@everywhere
def test_a_seed_fixes_the_value_and_the_global_generator_is_not_touched(member, name):
    s = Scene(member, name)
    before = torch.get_rng_state()
    assert s.value().item() == s.value().item()
    s.penalty(s.critic, s.batch, state=copy.deepcopy(s.state))  # draws from the private generator
    assert torch.equal(torch.get_rng_state(), before)


@every
@separately
def test_the_order_of_the_images_does_not_matter(member, name):
    s = Scene(member, name, torch.float64)
    shuffled = s.take(torch.tensor([3, 0, 4, 2, 1]))
    if s.value(seed=1) == s.value(seed=2):
        torch.testing.assert_close(s.value(shuffled), s.value(), rtol=1e-9, atol=1e-12)
        return
    # what is drawn belongs to a place in the batch: the two agree in the mean over draws
    a, b = (torch.stack([s.value(batch, seed).detach() for seed in range(24)]) for batch in (s.batch, shuffled))
    assert (a.mean() - b.mean()).abs() <= 4 * (a.var() / 24 + b.var() / 24).sqrt()


@every
@separately
def test_float32_and_float64_agree(member, name):
    single, double = Scene(member, name).value(), Scene(member, name, torch.float64).value()
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert single.item() == pytest.approx(double.item(), rel=1e-3)


@every
@everywhere
def test_it_leaves_no_trace_in_the_critic_or_the_batch(member, name):
    s = Scene(member, name)
    before, flags = trace(s.critic), [s.batch.real.requires_grad, s.batch.fake.requires_grad]
    value = s.value()
    assert trace(s.critic) == before
    value.backward()
    assert trace(s.critic) == before
    assert [s.batch.real.requires_grad, s.batch.fake.requires_grad] == flags
    assert s.batch.real.grad is None


@every
@separately
def test_autocast_changes_nothing(member, name):
    s = Scene(member, name)
    plain = s.value()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = s.value()
    assert low.dtype == torch.float32
    assert low.item() == plain.item()


@every
def test_labels_reach_the_critic(member):
    s = Scene(member, "conditional")
    zero = torch.zeros(5, dtype=torch.int64)
    logits = s.critic(s.batch.real, zero), s.critic(s.batch.fake, zero)
    assert s.value(CriticBatch(s.batch.real, s.batch.fake, *logits, zero, zero, s.batch.fake_latents)) != s.value()


@every
def test_memory_survives_a_state_dict(member):
    s, other = Scene(member, "simple"), Scene(member, "simple")
    if s.state is None:
        return
    s.penalty(s.critic, s.batch, state=s.state)  # something to remember
    other.state.load_state_dict(s.state.state_dict())
    assert other.value() == s.value()
