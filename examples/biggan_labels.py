"""A generator that wants more than a latent: the BigGAN of the pytorch-pretrained-biggan package.

    pip install pytorch-pretrained-biggan
    orthogen discover --generator examples/biggan_labels.py:make PenaltyDescent --fix-class 3
    orthogen traverse --generator examples/biggan_labels.py:make --fix-class 3

It takes latents times the truncation, class labels as rows of an identity matrix, and the truncation once more; all of
this is said in ``call``, and labels come to it as a condition, one per sample. The weights here are random; put
``BigGAN.from_pretrained("biggan-deep-256")`` in place of ``small()`` for the published ones.
"""

import torch
import torch.nn.functional as F
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from torch import Tensor, nn

import orthogen as og

__all__ = ["adapted", "make", "small"]


def adapted(network: BigGAN, truncation: float = 1.0) -> og.Generator:
    """The network with one truncation, up to 1, and whatever class is asked for."""
    classes = network.config.num_classes

    def call(module: BigGAN, z: Tensor, label: Tensor) -> Tensor:
        return module(truncation * z, F.one_hot(label, classes).to(z), truncation)

    return og.adapt(network, og.TruncatedNormal(network.config.z_dim, 2.0), call=call, classes=classes)


def small() -> BigGAN:
    """A network of 16 x 16 pixels and 5 classes with random weights."""
    blocks = [(True, 16, 8), (False, 8, 4), (True, 4, 2), (False, 2, 1)]  # upsampling or not, channels before and after
    config = BigGANConfig(
        output_dim=16, z_dim=8, channel_width=4, num_classes=5, layers=blocks, attention_layer_position=2, n_stats=6
    )
    network = BigGAN(config)
    nn.init.ones_(network.generator.bn.weight)  # which the package leaves to the file of weights
    nn.init.zeros_(network.generator.bn.bias)
    with torch.no_grad():  # a few passes, so that spectral norm has the norms of these weights
        for _ in range(20):
            network(torch.randn(2, 8), torch.eye(5)[:2], 0.4)
    return network.eval()


def make() -> og.Generator:
    """What ``--generator`` takes."""
    return adapted(small())
