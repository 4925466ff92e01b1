"""The simple GAN's networks as torch initializes them, against the published ones after the same seed."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orthogen.core.latent import Normal
from orthogen.core.maps import probe
from orthogen.layers.conv_encoder import ConvEncoder
from orthogen.models.simple_gan import SimpleGan
from vectors import vectors

SIZES = {64: SimpleGan(Normal(6), channels=3), 128: SimpleGan(Normal(30), channels=3, resolution=128)}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    known = vectors("simplegan_nets_seeded")
    if str(known["torch_version"]).split("+")[0] != torch.__version__.split("+")[0]:
        pytest.skip(f"the file holds draws of torch {known['torch_version']}")
    return known


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))


def close(found: Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-4, atol=1e-5, check_dtype=False)


@torch.no_grad()
@pytest.mark.parametrize("side", SIZES)
def test_generators(golden, side):
    model = SIZES[side]
    generator = model.build()["generator"]
    close(generator.layers[0].layers.conv.weight.double().sum(), golden[f"G{side}_w0sum"])
    z = torch.from_numpy(golden[f"G{side}_z"])
    features = probe(model.adapt(generator.eval()), model.regularized_layers)(z)
    drawn = generator(z)
    close(drawn.mean(), golden[f"G{side}_mean"])
    close(drawn.std(), golden[f"G{side}_std"])
    close(drawn[0, :, ::8, ::8], golden[f"G{side}_y00"])
    close(
        torch.stack([x.norm() for x in features])[: len(golden[f"G{side}_feat_norms"])], golden[f"G{side}_feat_norms"]
    )


@torch.no_grad()
def test_critics(golden):
    for side, widths, hidden, activation in (
        (64, (64, 128, 256, 512), 512, nn.ReLU),
        (128, (64, 128, 256, 512, 1024), 1024, None),
    ):
        torch.manual_seed(0)
        critic = ConvEncoder((3, side, side), widths, hidden, 1, hidden_activation=activation)
        close(critic.eval()(images(side)), golden[f"D{side}_out"])


@torch.no_grad()
def test_classifier(golden):
    leaky = lambda: nn.LeakyReLU(0.2)  # noqa: E731
    classifier = ConvEncoder((3, 128, 128), (4,) * 5, 16, 30, activation=leaky, hidden_activation=leaky)
    close(classifier.eval()(images(128)), golden["C_out"])
