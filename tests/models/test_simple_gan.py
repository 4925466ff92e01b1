import pytest
import torch

from orthogen.core.latent import Normal
from orthogen.core.maps import probe
from orthogen.core.record import from_json, to_json
from orthogen.models.simple_gan import SimpleGan
from orthogen.regularizers.variation_predictability import VariationPredictability
from vectors import vectors

CELEBA = SimpleGan(Normal(30), channels=3, resolution=128)


@pytest.fixture(scope="module")
def golden():
    return vectors("simplegan_nets")


def formula_filled(module):
    """The golden file's weights: parameter i is 0.05 sin(0.1 j + i) over its flat index j, plus 1 in norms' weights."""
    for i, (name, parameter) in enumerate(module.named_parameters()):
        values = 0.05 * torch.sin(0.1 * torch.arange(parameter.numel(), dtype=torch.float64) + i)
        parameter.data = (values + name.endswith("instancenorm.weight")).to(torch.float32).view(parameter.shape)
    return module.eval()


def recognizer(model=None):
    """The classifier of the VP baseline, made by the penalty for a generator of this model."""
    model = model or SimpleGan(width=0.01)
    return VariationPredictability().init(model.adapt(model.build()["generator"]))


def names(module):
    return [f"{name} {tuple(parameter.shape)}" for name, parameter in module.named_parameters()]


def close(actual, expected, rtol=1e-4, atol=1e-5):
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected), rtol=rtol, atol=atol, check_dtype=False)


@torch.no_grad()
def test_64_pixels_equal_the_golden_file(golden):
    networks = SimpleGan().build()
    generator, critic = networks["generator"], networks["critic"]
    assert names(generator) == golden["names_g"].tolist()
    assert names(critic) == golden["names_d"].tolist()
    images = formula_filled(generator)(torch.from_numpy(golden["z"]))
    close(images, golden["gen64"])
    close(formula_filled(critic)(torch.from_numpy(golden["gen64"])), golden["disc64"])


@torch.no_grad()
def test_the_recognizer_equals_the_golden_classifier(golden):
    classifier = recognizer()
    assert names(classifier) == golden["names_c"].tolist()
    close(formula_filled(classifier)(torch.from_numpy(golden["gen64"])), golden["clf"])


@torch.no_grad()
def test_penalized_layers_equal_the_golden_features(golden):
    model = SimpleGan()
    generator = model.adapt(formula_filled(model.build()["generator"]))
    features = probe(generator, model.regularized_layers)(torch.from_numpy(golden["z"]))
    close(torch.stack([x.double().square().sum() for x in features]), golden["gen64_feats_sumsq"])
    close(features[3][:, :4, :4, :4], golden["gen64_feat3_corner"])


@torch.no_grad()
def test_128_pixels_equal_the_golden_file(golden):
    networks = CELEBA.build()
    assert names(networks["generator"]) == golden["names_g128"].tolist()
    assert names(networks["critic"]) == golden["names_d128"].tolist()
    assert CELEBA.regularized_layers == tuple(f"layers.{i}.layers.conv" for i in range(5))
    images = formula_filled(networks["generator"])(torch.from_numpy(golden["z30"]))
    # the file keeps every eighth pixel
    close(images[:, :, ::8, ::8], golden["gen128_small"])


@torch.no_grad()
def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_the_published_ones():
    assert {name: count(net) for name, net in SimpleGan().build().items()} == {
        "generator": 2_869_313,
        "critic": 6_950_721,
    }
    assert {name: count(net) for name, net in CELEBA.build().items()} == {
        "generator": 28_416_579,
        "critic": 27_927_361,
    }
    assert count(recognizer(SimpleGan(width=0.01))) == 2002
    assert count(recognizer(SimpleGan(Normal(30), channels=3, resolution=128, width=0.01))) == 2802


def levels(network, kind):
    return [m.out_channels for m in network.modules() if type(m).__name__ == kind]


@pytest.mark.parametrize(
    ("resolution", "generator", "critic"),
    [
        (8, [512, 256], [64]),
        (32, [512, 256, 128, 64], [64, 128, 256]),
        (256, [1024, 1024, 1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024, 1024]),
    ],
)
def test_other_resolutions_extend_the_two_tables(resolution, generator, critic):
    model = SimpleGan(Normal(3), channels=3, resolution=resolution, width=0.125)
    networks = model.build()
    assert levels(networks["generator"], "ConvTranspose2d") == [c // 8 for c in generator]
    assert levels(networks["critic"], "Conv2d") == [c // 8 for c in critic]
    images = networks["generator"](model.latent.sample(2))
    assert images.shape == (2, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert networks["critic"](images).shape == (2, 1)
    hidden_activations = [m for m in networks["critic"].fc.modules() if isinstance(m, torch.nn.ReLU)]
    assert len(hidden_activations) == (resolution <= 64)


def test_channels_of_ones_own():
    model = SimpleGan(
        Normal(6),
        channels=3,
        resolution=32,
        generator_channels=(128, 128, 64, 32),
        critic_channels=(48, 96, 160),
        critic_hidden=0,
        critic_norm=False,
    )
    networks = model.build()
    assert levels(networks["generator"], "ConvTranspose2d") == [128, 128, 64, 32]
    assert levels(networks["critic"], "Conv2d") == [48, 96, 160]
    assert len(networks["critic"].fc) == 1
    assert not any("norm" in name for name, _ in networks["critic"].named_parameters())
    assert model.adapt(networks["generator"]).sample(2).shape == (2, 3, 32, 32)
    assert from_json(to_json(model)) == model


def test_a_published_state_dict_loads(tmp_path):
    torch.save(SimpleGan(width=0.05).build()["generator"].state_dict(), tmp_path / "latest_netG.pth")
    state = torch.load(tmp_path / "latest_netG.pth", weights_only=True)
    SimpleGan(width=0.05).build()["generator"].load_state_dict(state)


@pytest.mark.parametrize("resolution", [0, 4, 48, 100, -8])
def test_a_resolution_that_is_none_is_refused(resolution):
    with pytest.raises(ValueError, match=rf"resolution={resolution}\): the side is 4·2\^n pixels; give 8, 16, 32, 64"):
        SimpleGan(resolution=resolution)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0.0}, "width and numbers of channels must be positive"),
        ({"channels": 0}, "width and numbers of channels must be positive"),
        ({"generator_channels": (8, 8)}, r"generator_channels=\(8, 8\)\): give 5 entries, for 4, 8, ..., 64 pixels"),
        ({"critic_channels": (8,) * 6}, "give one entry per halving of the image, 1 to 5 at 64 pixels"),
    ],
)
def test_channels_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        SimpleGan(**fields)
    assert "\n" not in str(caught.value)
