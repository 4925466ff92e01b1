import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import CriticBatch
from orthogen.core.record import from_json, to_json
from traces import trace


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """D(x) = w . x"""

    def __init__(self, pixels=64):
        super().__init__()
        self.w = nn.Parameter(torch.randn(pixels, generator=seeded(5)))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.w


class ByClass(nn.Module):
    """D(x, y) = w_y . x"""

    def __init__(self, pixels=64):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, pixels, generator=seeded(5)))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return (images.flatten(1) * self.w[labels]).sum(1)


def batch_of(critic, real, fake, labels=(None, None)):
    logits = [critic(x) if y is None else critic(x, y) for x, y in zip((real, fake), labels, strict=True)]
    return CriticBatch(real, fake, *logits, *labels)


def squared(a, b):
    return (a - b).square().mean().item()


# ---------------------------------------------------------------------------------------------- CR and bCR
def test_cr_is_ten_times_the_squared_change_of_real_logits(rng):
    critic, (real, fake) = Linear(), torch.randn(2, 6, 1, 8, 8, generator=rng)
    batch = batch_of(critic, real, fake)
    changed = og.FlipShift()(real, rng=seeded(1))
    expected = 10 * squared(critic(real), critic(changed))
    assert expected > 1
    assert og.Consistency()(critic, batch, rng=seeded(1)).item() == pytest.approx(expected)


def test_bcr_adds_five_times_that_of_generated_ones(rng):
    critic, (real, fake) = Linear(), torch.randn(2, 6, 1, 8, 8, generator=rng)
    stream = seeded(1)
    expected = [squared(critic(x), critic(og.FlipShift()(x, rng=stream))) for x in (real, fake)]
    value = og.Consistency.balanced()(critic, batch_of(critic, real, fake), rng=seeded(1))
    assert value.item() == pytest.approx(10 * expected[0] + 5 * expected[1])
    only_fake = og.Consistency(real=0.0, fake=5.0)(critic, batch_of(critic, real, fake), rng=seeded(1))
    assert only_fake.item() == pytest.approx(5 * squared(critic(fake), critic(og.FlipShift()(fake, rng=seeded(1)))))


def test_gradients_go_through_both_logits(rng):
    critic, (real, fake) = Linear(), torch.randn(2, 6, 1, 8, 8, generator=rng)
    og.Consistency()(critic, batch_of(critic, real, fake), rng=seeded(1)).backward()
    gap = (real - og.FlipShift()(real, rng=seeded(1))).flatten(1)
    expected = 20 * (gap * (gap @ critic.w)[:, None]).mean(0)
    torch.testing.assert_close(critic.w.grad, expected)


def test_labels_of_the_images_go_with_them(rng):
    critic, (real, fake) = ByClass(), torch.randn(2, 6, 1, 8, 8, generator=rng)
    labels = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([2, 2, 2, 1, 1, 1])
    stream = seeded(1)
    changed = [og.FlipShift()(x, rng=stream) for x in (real, fake)]
    expected = [squared(critic(x, y), critic(t, y)) for x, y, t in zip((real, fake), labels, changed, strict=True)]
    value = og.Consistency.balanced()(critic, batch_of(critic, real, fake, labels), rng=seeded(1))
    assert value.item() == pytest.approx(10 * expected[0] + 5 * expected[1])


def test_an_augmentation_of_ones_own(rng):
    critic, (real, fake) = Linear(192), torch.randn(2, 6, 3, 8, 8, generator=rng)
    penalty = og.Consistency(augmentation=og.DiffAugment("cutout"))
    changed = og.DiffAugment("cutout")(real, rng=seeded(1))
    expected = 10 * squared(critic(real), critic(changed))
    assert penalty(critic, batch_of(critic, real, fake), rng=seeded(1)).item() == pytest.approx(expected)
    assert from_json(to_json(penalty)) == penalty


def test_a_critic_of_no_opinion_on_place_has_no_penalty(rng):
    critic = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    real, fake = torch.randn(2, 6, 3, 1, 1, generator=rng).expand(-1, -1, -1, 8, 8)
    assert og.Consistency.balanced()(critic, batch_of(critic, real, fake)).item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"real": -1.0}, r"Consistency\(real=-1.0, fake=0.0\): weights are 0 at least, one is above"),
        ({"real": 0.0}, r"Consistency\(real=0.0, fake=0.0\)"),
        (
            {"augmentation": og.AdaptiveAugment()},
            r"it follows the critic, and there is no memory for it here; give one",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        og.Consistency(**fields)


# ---------------------------------------------------------------------------------------------- zCR
class Drawing(nn.Module):
    """G(z, y) = A z + y, as an image; counts its passes in a buffer."""

    def __init__(self, dim=4, classes=0):
        super().__init__()
        self.a = nn.Parameter(torch.randn(dim, 64, generator=seeded(6)))
        self.classes = classes
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        self.passes += 1
        drawn = z @ self.a
        return (drawn if label is None else drawn + label[:, None]).view(-1, 1, 8, 8)


def test_the_critics_half_in_closed_form():
    """D(G(z)) = z A w: the mean square of its change is noise^2 |A w|^2."""
    generator, critic, penalty = Drawing(), Linear(), og.LatentConsistency()
    state, x = penalty.init(og.adapt(generator, og.Normal(4))), torch.zeros(4000, 1, 8, 8)
    value = penalty(critic, batch_of(critic, x, x), state=state, rng=seeded(1))
    expected = 0.07**2 * (generator.a @ critic.w).square().sum().item()
    assert value.item() == pytest.approx(expected, rel=4 * (2 / 4000) ** 0.5)
    value.backward()
    assert critic.w.grad.any()
    assert generator.a.grad is None  # it is the critic's loss


def test_the_critics_half_uses_the_labels_of_the_generated_images():
    generator, critic, penalty = Drawing(classes=3), ByClass(), og.LatentConsistency()
    G, x = og.adapt(generator, og.Normal(4), classes=3), torch.zeros(3, 1, 8, 8)
    labels = torch.tensor([2, 0, 1])
    heard = []
    generator.register_forward_hook(lambda m, args, kwargs, out: heard.append(kwargs["label"]), with_kwargs=True)
    value = penalty(critic, batch_of(critic, x, x, (labels, labels)), state=penalty.init(G), rng=seeded(1))
    assert len(heard) == 2
    assert all(torch.equal(each, labels) for each in heard)
    stream = seeded(1)
    z = G.latent.sample(3, rng=stream)
    other = z + 0.07 * torch.randn(3, 4, generator=stream)
    change = ((other - z) @ generator.a * critic.w[labels]).sum(1)
    assert value.item() == pytest.approx(change.square().mean().item(), rel=1e-4)


def test_the_critics_half_leaves_no_trace_in_the_generator():
    generator = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Dropout(), nn.Unflatten(1, (1, 8, 8)))
    critic, penalty, x = Linear(), og.LatentConsistency(), torch.zeros(6, 1, 8, 8)
    state = penalty.init(og.adapt(generator, og.Normal(4)))
    before = trace(generator)
    penalty(critic, batch_of(critic, x, x), state=state, rng=seeded()).backward()
    assert trace(generator) == before
    assert all(parameter.grad is None for parameter in generator.parameters())
    # the generator is the run's own, which nothing saves or moves twice
    assert state.state_dict() == {}
    assert list(state.parameters()) == []


def test_the_critics_half_asks_for_its_generator():
    critic, x = Linear(), torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"let it know the generator with state = penalty.init\(generator\)"):
        og.LatentConsistency()(critic, batch_of(critic, x, x))


def test_the_generators_half_in_closed_form():
    """G(z) = z A: its mean square change is noise^2 |A|^2 / pixels; the generator makes it larger."""
    generator, penalty = Drawing(), og.LatentSensitivity()
    f, z = og.probe(og.adapt(generator, og.Normal(4))), torch.randn(8000, 4, generator=seeded())
    value = penalty(f, z, rng=seeded(1))
    assert value.item() == pytest.approx(-(0.07**2) * generator.a.square().sum().item() / 64, rel=0.05)
    value.backward()
    assert (generator.a.grad * generator.a).sum() < 0


def test_probes_are_the_noise_and_known_images_are_used(rng):
    generator, penalty = Drawing(), og.LatentSensitivity(noise=0.5)
    f, z, n = og.probe(og.adapt(generator, og.Normal(4))), torch.randn(5, 4, generator=rng), torch.ones(3, 5, 4)
    change = 0.5 * torch.ones(4) @ generator.a
    assert penalty(f, z, probes=n).item() == pytest.approx(-change.square().mean().item(), rel=1e-5)
    assert penalty(f.at(z), z, probes=n).item() == pytest.approx(penalty(f, z, probes=n).item(), rel=1e-6)
    assert og.LatentSensitivity()(f, z, rng=seeded(2)) == og.LatentSensitivity()(
        f, z, probes=torch.randn(5, 4, generator=seeded(2))[None]
    )


@pytest.mark.parametrize("penalty", [og.LatentConsistency, og.LatentSensitivity])
def test_noise_is_above_zero(penalty):
    with pytest.raises(ValueError, match=rf"{penalty.__name__}\(noise=0.0\): give a standard deviation above 0"):
        penalty(noise=0.0)


def test_probes_that_do_not_fit_are_refused(unchecked):
    f = og.probe(og.adapt(Drawing(), og.Normal(4)))
    with pytest.raises(ValueError, match=r"probes have shape \(5, 4\); \(k, 5, 4\) is needed"):
        og.LatentSensitivity()(f, torch.zeros(5, 4), probes=torch.ones(5, 4))
