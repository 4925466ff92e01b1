"""The golden BigGAN-deep under TFHub's names: a state dict of numbers that are the same everywhere."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

# of pytorch-pretrained-biggan: whether a layer doubles the side, its channels over the width before and after
LAYERS = {
    128: ["0 16 16", "1 16 16", "0 16 16", "1 16 8", "0 8 8", "1 8 4", "0 4 4", "1 4 2", "0 2 2", "1 2 1"],
    256: ["0 16 16", "1 16 16", "0 16 16", "1 16 8", "0 8 8", "1 8 8", "0 8 8", "1 8 4", "0 4 4", "1 4 2", "0 2 2",
          "1 2 1"],
    512: ["0 16 16", "1 16 16", "0 16 16", "1 16 8", "0 8 8", "1 8 8", "0 8 8", "1 8 4", "0 4 4", "1 4 2", "0 2 2",
          "1 2 1", "0 1 1", "1 1 1"],
}  # fmt: skip
SMALL = {
    "output_dim": 64, "z_dim": 6, "class_embed_dim": 6, "channel_width": 4, "num_classes": 10, "eps": 1e-4,
    "layers": [[False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 4], [False, 4, 4], [True, 4, 2], [False, 2, 2],
               [True, 2, 1]], "attention_layer_position": 4, "n_stats": 51,
}  # fmt: skip


def config(resolution: int) -> dict:
    """The configuration of a release, narrow."""
    layers = [[side == "1", int(before), int(after)] for side, before, after in map(str.split, LAYERS[resolution])]
    return {**SMALL, "output_dim": resolution, "layers": layers, "attention_layer_position": 8}


def hub_state(names: Iterable[str]) -> dict[str, Tensor]:
    """A state dict of these ``"name (shape)"``, with spectral norms that have settled."""
    rng, state = np.random.RandomState(0), {}
    for line in names:
        name, shape = line.split(" ", 1)
        size = tuple(int(side) for side in shape.strip("()").split(",") if side.strip())
        value = rng.standard_normal(size)
        if name.endswith(("weight_orig", "embeddings.weight")):
            value /= np.sqrt(np.prod(size[1:]))
        elif name.endswith("running_vars"):
            value = 0.5 + value**2
        elif name.endswith(("bias", "running_means", "gamma")):
            value *= 0.5
        state[name] = value
    for name in [name for name in state if name.endswith("weight_orig")]:
        base, rows = name.removesuffix("_orig"), state[name].reshape(len(state[name]), -1)
        u, v = state[f"{base}_u"], state[f"{base}_v"]
        for _ in range(20):
            v = rows.T @ u / np.linalg.norm(rows.T @ u)
            u = rows @ v / np.linalg.norm(rows @ v)
        state[f"{base}_u"], state[f"{base}_v"] = u, v
    return {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in state.items()}


def latents() -> tuple[Tensor, Tensor]:
    """Two latents and their classes."""
    return torch.from_numpy(np.random.RandomState(1).standard_normal((2, 6)).astype(np.float32)), torch.tensor([3, 9])
