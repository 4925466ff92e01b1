"""A generator whose images are a linear map of the latent, behind a tanh: quick, and different for every latent."""

import torch
from torch import nn

import orthogen as og

__all__ = ["linear_generator"]


def linear_generator(dim: int = 3, side: int = 4, channels: int = 3) -> og.Generator:
    """Weights are evenly spaced from -1 to 1."""
    module = nn.Sequential(nn.Linear(dim, channels * side * side), nn.Tanh(), nn.Unflatten(1, (channels, side, side)))
    with torch.no_grad():
        module[0].weight.copy_(torch.linspace(-1, 1, module[0].weight.numel()).view_as(module[0].weight))
        module[0].bias.zero_()
    return og.adapt(module, og.Normal(dim))
