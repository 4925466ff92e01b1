import pytest
import torch
from torch import nn

from orthogen.core.kinds import CriticBatch
from orthogen.layers.conv_encoder import ConvEncoder
from orthogen.layers.instance_norm import InstanceNorm2d
from orthogen.regularizers.gradient_penalty import R1, R2, GradientPenalty, image_gradient
from vectors import vectors

ALL = (R1(), R2(), GradientPenalty())
ids = pytest.mark.parametrize("penalty", ALL, ids=lambda penalty: type(penalty).__name__)


def batch_of(critic, real, fake, labels=None):
    logits = (critic(real), critic(fake)) if labels is None else (critic(real, labels), critic(fake, labels))
    return CriticBatch(real, fake, *logits, labels, labels)


def images(rng, n=4, dtype=torch.float64):
    return torch.randn(2, n, 2, 8, 8, generator=rng, dtype=dtype).unbind(0)


def smooth_critic():
    """Smooth, so that finite differences hold everywhere; with the norm and the convolutions of the simple GAN."""
    return ConvEncoder((2, 8, 8), (4, 6), 5, 1, activation=nn.Softplus, hidden_activation=nn.Tanh).double()


class Conditional(nn.Module):
    """D(x, y) = w_y . x"""

    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(3, 128, dtype=torch.float64)

    def forward(self, images, labels):
        return (self.rows(labels) * images.flatten(1)).sum(1)


def test_gradient_penalty_equals_the_golden_value(monkeypatch):
    golden = vectors("simplegan_gp")
    conv, linear = nn.Conv2d(2, 4, 4, 2, 1), nn.Linear(64, 1)
    critic = nn.Sequential(conv, nn.ReLU(), InstanceNorm2d(4), nn.Flatten(), linear)
    critic.load_state_dict({name[2:]: torch.from_numpy(golden[name]) for name in golden if name.startswith("p.")})
    real, fake = torch.from_numpy(golden["real"]), torch.from_numpy(golden["fake"])
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.from_numpy(golden["alpha"]).view(shape))
    value = GradientPenalty(strength=1.0)(critic, batch_of(critic, real, fake))
    assert value.item() == pytest.approx(golden["gp"].item(), rel=1e-4)


def test_values_of_a_conditional_linear_critic(rng):
    critic, (real, fake) = Conditional(), images(rng)
    labels = torch.tensor([0, 2, 2, 1])
    batch = batch_of(critic, real, fake, labels)
    squared = critic.rows(labels).square().sum(1)
    assert R1(gamma=3.0)(critic, batch).item() == pytest.approx(1.5 * squared.mean().item())
    assert R2(gamma=3.0)(critic, batch).item() == pytest.approx(1.5 * squared.mean().item())
    expected = 10 * (squared.sqrt() - 1).square().mean()
    assert GradientPenalty()(critic, batch).item() == pytest.approx(expected.item())


def test_each_looks_at_its_own_images(rng):
    critic, (real, fake) = smooth_critic(), images(rng)
    batch = batch_of(critic, real, fake)
    for penalty, where in ((R1(), real), (R2(), fake)):
        expected = 5 * image_gradient(critic, where).square().sum(1).mean()
        assert penalty(critic, batch).item() == pytest.approx(expected.item())
    alpha = torch.rand(4, 1, 1, 1, generator=torch.Generator().manual_seed(3)).double()
    norms = image_gradient(critic, real + alpha * (fake - real)).norm(dim=1)
    value = GradientPenalty()(critic, batch, rng=torch.Generator().manual_seed(3))
    assert value.item() == pytest.approx(10 * (norms - 1).square().mean().item())


@ids
def test_gradient_equals_finite_differences(penalty, rng):
    critic, (real, fake) = smooth_critic(), images(rng)
    batch = batch_of(critic, real, fake)

    def value():
        return penalty(critic, batch, rng=torch.Generator().manual_seed(1))

    # the last bias moves no gradient with respect to images, so it gets none
    parameters = [p for name, p in critic.named_parameters() if name != "fc.1.layers.conv.bias"]
    gradients = torch.autograd.grad(value(), parameters)
    step = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        start = parameter.data.clone()
        parameter.data = start + step * direction
        above = value().item()
        parameter.data = start - step * direction
        below = value().item()
        parameter.data = start
        assert (above - below) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-5, abs=1e-7)


@ids
def test_accumulated_parts_equal_the_batch(penalty, rng):
    critic, (real, fake) = smooth_critic(), images(rng, n=6)

    def gradients(parts):
        critic.zero_grad()
        alphas = torch.Generator().manual_seed(5)  # draws go on from part to part
        for r, f in zip(real.chunk(parts), fake.chunk(parts), strict=True):
            (penalty(critic, batch_of(critic, r, f), rng=alphas) / parts).backward()
        return [p.grad.clone() for p in critic.parameters() if p.grad is not None]

    for whole, summed in zip(gradients(1), gradients(3), strict=True):
        torch.testing.assert_close(summed, whole, rtol=1e-9, atol=1e-12)


@ids
def test_works_on_generated_images_under_no_grad_and_autocast(penalty, rng):
    critic = smooth_critic().float()
    real, fake = images(rng, dtype=torch.float32)
    batch = batch_of(critic, real, (fake * torch.ones((), requires_grad=True)))
    plain = penalty(critic, batch, rng=torch.Generator().manual_seed(0))
    assert plain.dtype == torch.float32
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = penalty(critic, batch, rng=torch.Generator().manual_seed(0))
    assert low.item() == plain.item()  # always full precision


@ids
def test_leaves_no_trace_in_the_critic(penalty, rng):
    convolution = nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 4, 3, padding=1))
    critic = nn.Sequential(
        convolution, nn.BatchNorm2d(4), nn.LeakyReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(256, 1)
    )
    real, fake = images(rng, dtype=torch.float32)
    batch = CriticBatch(real, fake, torch.zeros(4, 1), torch.zeros(4, 1))
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    state = torch.get_rng_state()
    penalty(critic, batch, rng=rng).backward()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    assert not real.requires_grad
    assert convolution.parametrizations.weight.original.grad is not None


def test_a_critic_without_slope_has_a_finite_gradient(rng):
    critic = nn.Sequential(nn.Flatten(), nn.Linear(128, 1, dtype=torch.float64))
    nn.init.zeros_(critic[1].weight)
    real, fake = images(rng)
    value = GradientPenalty()(critic, batch_of(critic, real, fake))
    value.backward()
    assert value.item() == 10.0
    assert critic[1].weight.grad.isfinite().all()


def test_unpaired_images_are_refused(rng):
    critic, (real, fake) = smooth_critic(), images(rng)
    batch = batch_of(critic, real, fake)
    object.__setattr__(batch, "fake", fake[:3])
    with pytest.raises(ValueError, match=r"\(4, 2, 8, 8\) and \(3, 2, 8, 8\) were given, give as many of each"):
        GradientPenalty()(critic, batch)


def test_three_lines_of_a_users_own_loop(rng):
    critic = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    real, fake = images(rng)
    values = []
    for _ in range(20):
        loss = R1()(critic, batch_of(critic, real, fake))
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
