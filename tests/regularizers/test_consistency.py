import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import CriticBatch
from orthogen.core.record import from_json, to_json
from orthogen.core.rng import Rngs
from orthogen.layers.spectral_norm import SpectralLinear
from orthogen.training.augmented import Augmented
from tiny_gan import BarData, TinyGan
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


class Spectral(nn.Module):
    """A critic whose every pass in training moves a spectral norm, with dropout in front of it."""

    def __init__(self):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.5), SpectralLinear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.dropout(images.flatten(1)))


def test_what_does_not_change_an_image_costs_nothing_whatever_the_critic_does_by_itself(rng):
    """Spectral norms move between passes, dropout and an augmentation draw: none of it is the augmentation's doing."""
    flat, (real, fake) = torch.ones(6, 1, 8, 8), torch.randn(2, 6, 1, 8, 8, generator=rng)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = Augmented(Spectral(), og.DiffAugment("brightness,cutout"), None, Rngs(0))
        batch = batch_of(critic, flat, flat)
        assert og.Consistency.balanced()(critic, batch, rng=seeded()).item() == 0
        assert og.Consistency()(critic, batch_of(critic, real, fake), rng=seeded()).item() > 0


def test_behind_an_augmentation_both_images_pass_the_same_draw_of_it(rng):
    critic, (real, fake) = Linear(), torch.randn(2, 6, 1, 8, 8, generator=rng)
    cutout, streams = og.DiffAugment("cutout"), Rngs(0)
    behind = Augmented(critic, cutout, None, streams)
    batch = batch_of(behind, real, fake)
    state = streams["augment"].get_state()
    value = og.Consistency()(behind, batch, rng=seeded(1))
    after = streams["augment"].get_state()

    def seen(images):
        stream = torch.Generator()
        stream.set_state(state)
        return critic(cutout(images, rng=stream))

    expected = 10 * squared(seen(real), seen(og.FlipShift()(real, rng=seeded(1))))
    assert value.item() == pytest.approx(expected)
    assert not torch.equal(after, state)  # the critic's next pass draws anew


def test_logits_of_a_bfloat16_batch_are_not_compared_with_those_of_float32(rng):
    flat = torch.rand(6, 1, 8, 8, generator=rng).mean((2, 3), keepdim=True).expand(-1, -1, 8, 8)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = critic(flat).float()
    assert (low - critic(flat)).abs().max() > 1e-4
    assert og.Consistency()(critic, CriticBatch(flat, flat, low, low), rng=seeded()).item() == 0


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


def latents_of(n, dim=4, seed=0):
    return torch.randn(n, dim, generator=seeded(seed))


def drawn_batch(critic, G, z, labels=None):
    """The batch of a critic's step, of these latents."""
    images = G(z) if labels is None else G(z, label=labels)
    logits = critic(images) if labels is None else critic(images, labels)
    images, logits = images.detach(), logits.detach()
    return CriticBatch(images, images, logits, logits, labels, labels, z)


def test_the_critics_half_in_closed_form():
    """D(G(z)) = z A w: the mean square of its change is noise^2 |A w|^2."""
    generator, critic, penalty = Drawing(), Linear(), og.LatentConsistency()
    G = og.adapt(generator, og.Normal(4))
    value = penalty(critic, drawn_batch(critic, G, latents_of(4000)), state=penalty.init(G), rng=seeded(1))
    expected = 20 * 0.07**2 * (generator.a @ critic.w).square().sum().item()
    assert value.item() == pytest.approx(expected, rel=4 * (2 / 4000) ** 0.5)
    value.backward()
    assert critic.w.grad.any()
    assert generator.a.grad is None  # it is the critic's loss


@pytest.mark.parametrize("half", ["critic", "generator"])
def test_both_halves_use_the_latents_and_labels_of_the_batch(half):
    generator, critic, penalty = Drawing(classes=3), ByClass(), og.LatentConsistency()
    G, labels, z = og.adapt(generator, og.Normal(4), classes=3), torch.tensor([2, 0, 1]), latents_of(3)
    batch, state = drawn_batch(critic, G, z, labels), penalty.init(G)
    heard = []
    generator.register_forward_hook(lambda m, args, kwargs, out: heard.append((args[0], kwargs)), with_kwargs=True)
    change = 0.07 * torch.randn(3, 4, generator=seeded(1)) @ generator.a
    if half == "critic":
        value = penalty(critic, batch, state=state, rng=seeded(1))
        expected = 20 * (change * critic.w[labels]).sum(1).square().mean()
    else:
        value = penalty.of_generator(critic, batch.fake, z, labels, state=state, rng=seeded(1))
        expected = -0.5 * change.square().mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-3)
    # behind the passes by which the generator's habits are found out
    assert torch.equal(torch.cat([rows for rows, _ in heard])[-6:-3], z)
    assert torch.equal(torch.cat([kwargs["label"] for _, kwargs in heard])[-6:], labels.repeat(2))


def test_the_critics_half_leaves_no_trace_in_the_generator():
    generator = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Dropout(), nn.Unflatten(1, (1, 8, 8)))
    critic, penalty, x = Linear(), og.LatentConsistency(), torch.zeros(6, 1, 8, 8)
    state, z = penalty.init(og.adapt(generator, og.Normal(4))), latents_of(6)
    before = trace(generator)
    penalty(critic, CriticBatch(x, x, critic(x), critic(x), fake_latents=z), state=state, rng=seeded()).backward()
    assert trace(generator) == before
    assert all(parameter.grad is None for parameter in generator.parameters())
    # the generator is the run's own, which nothing saves or moves twice
    assert state.state_dict() == {}
    assert list(state.parameters()) == []


def test_the_generators_half_in_closed_form():
    """G(z) = z A: its mean square change is noise^2 |A|^2 / pixels; the generator makes it larger."""
    generator, critic, penalty = Drawing(), Linear(), og.LatentConsistency(generator=2.0)
    G, z = og.adapt(generator, og.Normal(4)), latents_of(8000)
    value = penalty.of_generator(critic, G(z), z, state=penalty.init(G), rng=seeded(1))
    assert value.item() == pytest.approx(-2 * 0.07**2 * generator.a.square().sum().item() / 64, rel=0.05)
    value.backward()
    assert (generator.a.grad * generator.a).sum() < 0
    assert critic.w.grad is None
    only = og.LatentConsistency(generator=0.0)
    assert only.of_generator(critic, G(z), z, state=only.init(G)) is None


def test_noise_inside_the_generator_is_the_same_for_both_images():
    class Noisy(Drawing):
        def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
            images = super().forward(z, label)
            return images + torch.randn_like(images)

    generator, critic, penalty = Noisy(), Linear(), og.LatentConsistency(noise=1e-3)
    G, z = og.adapt(generator, og.Normal(4)), latents_of(50)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        value = penalty.of_generator(critic, G(z), z, state=penalty.init(G), rng=seeded(1))
    assert 0 < -value < 1e-4


def test_a_run_has_both_halves(tmp_path):
    terms = {"zcr": og.Term(og.LatentConsistency()), "cr": og.Term(og.Consistency.balanced())}
    objective = og.Objective(terms=terms, augmentation=og.DiffAugment("brightness,translation"))
    lines = []
    og.train(
        og.Recipe("icr", TinyGan(), BarData(), objective, images=32, batch=16, precision="bfloat16"),
        tmp_path / "run", device="cpu", quiet=True, log_every=16, on_log=lines.append,
    )  # fmt: skip
    assert len(lines) == 2
    assert all(line["penalty/zcr"] > 0 > line["penalty/zcr/generator"] for line in lines)
    assert all(line["penalty/cr"] > 0 for line in lines)


def test_the_memory_and_the_latents_are_asked_for():
    critic, penalty, x = Linear(), og.LatentConsistency(), torch.zeros(2, 1, 8, 8)
    batch = batch_of(critic, x, x)
    with pytest.raises(ValueError, match="moves the latents of generated images; give fake_latents with the batch"):
        penalty(critic, batch, state=penalty.init(og.adapt(Drawing(), og.Normal(4))))
    with pytest.raises(ValueError, match=r"let it know the generator with state = penalty.init\(generator\)"):
        penalty.of_generator(critic, x, latents_of(2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise": 0.0}, r"LatentConsistency\(noise=0.0\): give a standard deviation above 0"),
        ({"critic": -1.0}, r"LatentConsistency\(critic=-1.0, generator=0.5\): weights are 0 at least, one is above"),
        ({"critic": 0.0, "generator": 0.0}, r"weights are 0 at least, one is above"),
    ],
)
def test_fields_of_zcr_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        og.LatentConsistency(**fields)
