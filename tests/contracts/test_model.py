"""What every model keeps, as built without arguments."""

import pytest
import torch
from torch import nn

import orthogen as og
from contracts.members import members
from orthogen.core.kinds import Model

# what a member has of these takes the place of the paper's value where that would be slow
QUICK = {
    "BigGan": {"resolution": 32, "classes": 10, "dim": 12, "shared_dim": 8, "width": 4, "attention": (16,)},
    "BigGanDeep": {"resolution": 32, "classes": 10, "dim": 12, "shared_dim": 8, "width": 4, "attention": (16,)},
    "DecorrelatedResNet": {"width": 8, "blocks": (1, 1, 1)},
    "EigenGan": {"resolution": 16, "noise_dim": 8, "base_channels": 4, "max_channels": 8},
    "ProGan": {"resolution": 32, "channel_max": 16},
    "Sngan": {"width": 4},
    "StyleGan2": {"resolution": 32, "channel_max": 16},
    "StyleGan3": {"resolution": 32, "channel_max": 16},
    "VcGenerator": {
        "latent": og.Uniform(4),
        "modules": "Conv-up-1, C_global-4, Noise-1, Conv-up-1, Conv-id-1",
        "width": 12,
        "global_width": 12,
    },
}


def quick(member: type[Model]) -> Model:
    return member(**QUICK.get(member.__name__, {}))


def planned(member: type[Model]) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return quick(member).build()


def building(network: str) -> pytest.MarkDecorator:
    """For every model that builds a network of this name."""
    return pytest.mark.parametrize("member", [each for each in EVERY if network in planned(*each.values)])


EVERY = members(Model)
every = pytest.mark.parametrize("member", EVERY)
generators, classifiers = building("generator"), building("classifier")


def conditions(model: Model) -> dict[str, torch.Tensor]:
    classes = getattr(model, "classes", 0)
    return {"label": torch.tensor([0, classes - 1])} if classes else {}


def build(model: Model, seed: int = 0) -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model.build()


def draw(model: Model, generator: nn.Module) -> torch.Tensor:
    z = model.latent.sample(2, rng=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.adapt(generator.eval())(z, **conditions(model))


@every
def test_builds_a_generator_or_a_classifier(member):
    networks = build(quick(member))
    assert len({"generator", "classifier"} & set(networks)) == 1
    assert all(isinstance(network, nn.Module) for network in networks.values())


@every
def test_names_and_shapes_are_known_without_memory(member):
    # what a file is held against, before a network of its sizes is made
    expected, real = planned(member), build(quick(member))
    for network in {"generator", "classifier"} & set(real):
        shapes = {name: value.shape for name, value in real[network].state_dict().items()}
        assert {name: value.shape for name, value in expected[network].state_dict().items()} == shapes
        assert all(value.is_meta for value in expected[network].state_dict().values())


@generators
def test_draws_images_of_the_declared_shape(member):
    model = quick(member)
    networks = build(model)
    images = draw(model, networks["generator"])
    assert images.shape == (2, model.channels, model.resolution, model.resolution)
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert images.abs().max() <= 1 or not model.bounded
    assert not torch.equal(images[0], images[1])
    if "critic" in networks:
        logits = networks["critic"].eval()(images, **conditions(model))
        assert logits.isfinite().all()
        assert logits.numel() == 2


@every
def test_a_seed_fixes_the_weights(member):
    one, same, other = (
        [p for net in build(quick(member), seed).values() for p in net.parameters()] for seed in (0, 0, 1)
    )
    assert all(map(torch.equal, one, same))
    assert not all(map(torch.equal, one, other))


@generators
def test_a_map_of_the_adapted_generator_gives_the_image(member):
    model = quick(member)
    network = build(model)["generator"].eval()
    z = model.latent.sample(2, rng=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (image,) = og.given(og.probe(model.adapt(network)), **conditions(model))(z)
    torch.testing.assert_close(image, draw(model, network), rtol=1e-5, atol=1e-6)
    assert model.adapt(network).module is network


@generators
def test_weights_survive_a_state_dict(member):
    model = quick(member)
    first, second = build(model, 0), build(model, 1)
    for name, network in second.items():
        network.load_state_dict(first[name].state_dict())
    assert torch.equal(draw(model, first["generator"]), draw(model, second["generator"]))


def some_images(model: Model) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(4, model.channels, model.resolution, model.resolution, generator=rng) * 2 - 1


@classifiers
def test_classifies_images_in_logits_of_the_declared_shape(member):
    model = quick(member)
    network = build(model)["classifier"]
    assert model.classes > 1
    for mode in (True, False):
        logits = network.train(mode)(some_images(model))
        assert logits.shape == (4, model.classes)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        assert not torch.equal(logits[0], logits[1])


@classifiers
def test_every_weight_of_a_classifier_learns(member):
    model = quick(member)
    network = build(model)["classifier"]
    nn.functional.cross_entropy(network(some_images(model)), torch.arange(4) % model.classes).backward()
    for name, weight in network.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.count_nonzero(), name


@classifiers
def test_an_image_is_classified_by_itself_in_evaluation(member):
    model = quick(member)
    network = build(model)["classifier"].eval()
    images = some_images(model)
    with torch.no_grad():
        torch.testing.assert_close(network(images)[:2], network(images[:2]), rtol=1e-4, atol=1e-5)


@classifiers
def test_a_classifier_survives_a_state_dict(member):
    model = quick(member)
    first, second = build(model, 0)["classifier"], build(model, 1)["classifier"]
    first(some_images(model))  # averages of norms are part of it
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(first.eval()(some_images(model)), second.eval()(some_images(model)))
