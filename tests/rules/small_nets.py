"""A layer with a given weight and gradient, and every optimizer that its step may be taken by."""

import torch
from torch import Tensor, nn


def layer(weight: Tensor, gradient: Tensor | None, dtype: torch.dtype | None = None) -> nn.Module:
    net = nn.Module()
    net.weight = nn.Parameter(weight.detach().clone().to(dtype))
    net.bias = nn.Parameter(torch.ones(3, dtype=net.weight.dtype))
    net.weight.grad = None if gradient is None else gradient.detach().clone().to(net.weight.dtype)
    net.bias.grad = torch.ones_like(net.bias)
    return net


OPTIMIZERS = {
    "sgd": lambda p, lr, **more: torch.optim.SGD(p, lr=lr, **more),
    "momentum": lambda p, lr, **more: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.05, **more),
    "nesterov": lambda p, lr, **more: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True, **more),
    "adam": lambda p, lr, **more: torch.optim.Adam(p, lr=lr, betas=(0.5, 0.99), weight_decay=0.05, **more),
    "adamw": lambda p, lr, **more: torch.optim.AdamW(p, lr=lr, weight_decay=0.1, **more),
    "rmsprop": lambda p, lr, **more: torch.optim.RMSprop(p, lr=lr, momentum=0.5, centered=True, **more),
}
