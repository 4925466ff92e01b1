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
    "EigenGan": {"resolution": 16, "noise_dim": 8, "base_channels": 4, "max_channels": 8},
    "ProGan": {"resolution": 32, "channel_max": 16},
    "Sngan": {"width": 4},
    "StyleGan2": {"resolution": 32, "channel_max": 16},
    "StyleGan3": {"resolution": 32, "channel_max": 16},
}

every = pytest.mark.parametrize("member", members(Model))


def quick(member: type[Model]) -> Model:
    return member(**QUICK.get(member.__name__, {}))


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
def test_names_and_shapes_are_known_without_memory(member):
    model = quick(member)  # what a file is held against, before a network of its sizes is made
    with torch.device("meta"):
        planned = model.build()["generator"].state_dict()
    real = build(model)["generator"].state_dict()
    assert {name: value.shape for name, value in planned.items()} == {name: x.shape for name, x in real.items()}
    assert all(value.is_meta for value in planned.values())


@every
def test_draws_images_of_the_declared_shape(member):
    model = quick(member)
    networks = build(model)
    assert all(isinstance(network, nn.Module) for network in networks.values())
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


@every
def test_a_map_of_the_adapted_generator_gives_the_image(member):
    model = quick(member)
    network = build(model)["generator"].eval()
    z = model.latent.sample(2, rng=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (image,) = og.given(og.probe(model.adapt(network)), **conditions(model))(z)
    torch.testing.assert_close(image, draw(model, network), rtol=1e-5, atol=1e-6)
    assert model.adapt(network).module is network


@every
def test_weights_survive_a_state_dict(member):
    model = quick(member)
    first, second = build(model, 0), build(model, 1)
    for name, network in second.items():
        network.load_state_dict(first[name].state_dict())
    assert torch.equal(draw(model, first["generator"]), draw(model, second["generator"]))
