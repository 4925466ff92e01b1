"""Generators that others wrote, from packages, unmodified: small, with random weights, each called in a way of its own.

A package that is not installed skips its tests.
"""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import orthogen as og
from orthogen.core import catalogue

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(package: str, name: str) -> ModuleType:
    """One of our example files, which adapts a module of a package."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    return catalogue.load_file(EXAMPLES / name)


def bottleneck() -> og.Generator:
    """Two steps of DDIM; what moves is the output of the network's middle block. Attention, group norm, SiLU."""
    shown = example("diffusers", "diffusers_bottleneck.py")
    return shown.adapted(shown.small(), torch.randn(1, 3, 16, 16), steps=2)


def decoder() -> og.Generator:
    """The decoder half of a module that has an encoder too; the latent is a small image."""
    package = pytest.importorskip("diffusers", reason="diffusers is not installed")
    module = package.AutoencoderKL(
        latent_channels=2,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    ).eval()
    return og.adapt(module, og.Normal(8), call=lambda m, z: m.decode(z.view(-1, 2, 2, 2), return_dict=False)[0])


def biggan() -> og.Generator:
    """Labels as rows of an identity matrix; spectral norm in its old form everywhere, and batch norm of its own."""
    shown = example("pytorch_pretrained_biggan", "biggan_labels.py")
    return shown.adapted(shown.small())


def spade() -> og.Generator:
    """A GauGAN decoder: the class is a layout of the image, by which its instance norms are modulated."""
    networks = pytest.importorskip("monai.networks.nets.spade_network", reason="monai is not installed")
    module = networks.SPADEDecoder(
        spatial_dims=2,
        label_nc=3,
        out_channels=3,
        input_shape=[16, 16],
        channels=[8, 4],
        z_dim=6,
        spade_intermediate_channels=4,
        last_act="tanh",
    ).eval()
    layouts = F.one_hot(torch.randint(3, (2, 16, 16)), 3).movedim(-1, 1)
    return og.adapt(module, og.Normal(6), call=lambda m, z, label: m(layouts.to(z)[label], z), classes=2)


def first_matrices(module: nn.Module) -> list[Tensor]:
    """What reads the latent in the BigGAN: the first layer, and gains and biases of batch norm, beside the label's."""
    generator = module.generator
    norms = [getattr(block, f"bn_{i}") for block in generator.layers if hasattr(block, "bn_0") for i in range(4)]
    return [layer.weight[:, :8] for layer in (generator.gen_z, *(part for n in norms for part in (n.scale, n.offset)))]


@dataclass(frozen=True)
class Other:
    """A module of somebody's.

    Attributes:
        make: the generator, in evaluation mode; skips where the package is not installed.
        layers: what the penalties look at.
        layer: what GANSpace looks at.
        matrices: of the layers that read the latent, which is what SeFa factorizes; None where no layer does.
        exact: what `Exact` says where it refuses.
    """

    make: Callable[[], og.Generator]
    layers: tuple[str, ...]
    layer: str
    matrices: Callable[[nn.Module], list[Tensor]] | None = None
    exact: str = ""

    def build(self, dtype: torch.dtype = torch.float32) -> og.Generator:
        """A fresh copy."""
        generator = _made(self.make)
        module = copy.deepcopy(generator.module)
        return dataclasses.replace(generator, module=module.double() if dtype == torch.float64 else module)


@cache
def _made(make: Callable[[], og.Generator]) -> og.Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


OTHERS = {
    "UNet2DModel of diffusers": Other(bottleneck, ("mid_block", "up_blocks.0.attentions.0", "output"), "up_blocks.0"),
    "AutoencoderKL of diffusers": Other(
        decoder,
        ("decoder.mid_block.attentions.0", "decoder.up_blocks.0", "output"),
        "decoder.conv_in",
        lambda m: [m.post_quant_conv.weight.flatten(1).kron(torch.eye(4))],
    ),
    "BigGAN of pytorch-pretrained-biggan": Other(
        biggan, ("generator.gen_z", "generator.layers.2", "output"), "generator.gen_z", first_matrices
    ),
    "SPADEDecoder of monai": Other(
        spade, ("fc", "blocks.0.norm_0", "output"), "fc", lambda m: [m.fc.weight], exact="calls instance_norm"
    ),
}
