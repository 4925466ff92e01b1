"""Twenty steps of every published network with every way to orthogonality: finite, and the loss goes down."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import orthogen as og
from orthogen.core.kinds import Model, StepRule
from orthogen.models.decorrelated_resnet import DecorrelatedResNet
from orthogen.models.eigengan import EigenGan
from orthogen.models.simple_gan import SimpleGan
from orthogen.training.adversarial import Hinge, NonSaturating

STEPS = 20
# what each way is made of: step rules, whether there is a penalty, whether the weights are constrained
WAYS: dict[str, tuple[tuple[type[StepRule], ...], bool, bool]] = {
    "none": ((), False, False),
    "nog": ((og.NearestOrthogonalGradient,), False, False),
    "olr": ((og.OptimalLearningRate,), False, False),
    "nog+olr": ((og.NearestOrthogonalGradient, og.OptimalLearningRate), False, False),
    "ol": ((), True, False),
    "ow": ((), False, True),
    "nog+olr+ow": ((og.NearestOrthogonalGradient, og.OptimalLearningRate), False, True),
}
ways = pytest.mark.parametrize("way", WAYS)


def build(model: Model) -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model.build()


def descend(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor],
    layers: tuple[str, ...],
    way: str,
) -> list[float]:
    """The loss before each of some steps and after the last, without the penalty."""
    rules, penalized, _ = WAYS[way]
    bound = [rule(layers=layers).bind(network).attach(optimizer) for rule in rules]
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss()
        total = value + og.SoftOrthogonality(layers)(network) if penalized else value
        total.backward()
        optimizer.step()
        losses.append(value.item())
        assert all(parameter.isfinite().all() for parameter in network.parameters())
        for rule in bound:
            assert rule.log
            assert all(torch.as_tensor(logged).isfinite().all() for logged in rule.log.values())
    return [*losses, loss().item()]


def check(losses: list[float]) -> None:
    assert torch.tensor(losses).isfinite().all()
    assert losses[-1] < losses[0]


@ways
def test_a_classifier_with_a_whitened_stem(way, rng):
    model = DecorrelatedResNet(width=16, blocks=(1, 1), stem="skew" if WAYS[way][2] else "plain")
    network = build(model)["classifier"]
    images, labels = torch.rand(16, 3, 16, 16, generator=rng) * 2 - 1, torch.arange(16) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    check(descend(network, optimizer, lambda: cross_entropy(network(images), labels), (model.stem_layer,), way))


EIGENGAN = EigenGan(resolution=16, n_basis=3, noise_dim=8, base_channels=4, max_channels=8)
SIMPLE = SimpleGan(channels=3, resolution=64, width=0.125)
GANS = {  # with its orthogonal twin, the weights that carry its directions, its loss, and its Adam
    "EigenGan": (EIGENGAN, replace(EIGENGAN, basis="orthogonal"), EIGENGAN.subspaces, Hinge(bounded=True), (0.5, 0.99)),
    "SimpleGan": (
        SIMPLE,
        replace(SIMPLE, first="orthogonal"),
        (SIMPLE.first_weight,),
        NonSaturating(0.5),
        (0.5, 0.999),
    ),
}
gans = pytest.mark.parametrize("gan", GANS)


@ways
@gans
def test_a_generator_against_a_critic_that_waits(gan, way, rng):
    free, orthogonal, layers, adversarial, betas = GANS[gan]
    model = orthogonal if WAYS[way][2] else free
    networks = build(model)
    generator, critic = networks["generator"], networks["critic"].requires_grad_(False)
    z = model.latent.sample(8, rng=rng)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=betas)
    check(descend(generator, optimizer, lambda: adversarial.generator(critic(generator(z))), layers, way))


@gans
def test_a_critic_against_a_generator_that_waits(gan, rng):
    model, _, _, adversarial, betas = GANS[gan]
    networks = build(model)
    critic = networks["critic"]
    with torch.no_grad():
        fake = networks["generator"](model.latent.sample(8, rng=rng))
    real = torch.rand(fake.shape, generator=rng) * 2 - 1
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=betas)
    check(descend(critic, optimizer, lambda: adversarial.critic(critic(real), critic(fake)), (), "none"))
