"""The golden EigenGAN: weights of the released networks at 16 pixels, and what they make of given inputs."""

import math

import torch
from torch import Tensor, nn

import orthogen as og
from vectors import vectors

SMALL = og.EigenGan(resolution=16, n_basis=3, noise_dim=8, base_channels=4, max_channels=8)


def golden_eigengan() -> dict[str, Tensor]:
    """All arrays of the file, and the latents ``z`` in one tensor."""
    packed = vectors("net_eigengan16")
    shapes = [[int(side) for side in shape.split()] for shape in packed["shapes"]]
    values = torch.from_numpy(packed["values"]).split([math.prod(shape) for shape in shapes])
    arrays = {name: x.view(shape) for name, x, shape in zip(packed["names"].tolist(), values, shapes, strict=True)}
    return arrays | {"z": torch.cat([arrays["es"], arrays["zs"].flatten(1)], dim=1)}


def state_of(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The state dict under a prefix, ``G.`` or ``D.``."""
    return {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}


def released(golden: dict[str, Tensor]) -> dict[str, nn.Module]:
    """Both networks with the golden weights."""
    networks = SMALL.build()
    networks["generator"].load_state_dict(state_of(golden, "G."))
    networks["critic"].load_state_dict(state_of(golden, "D."))
    return networks
