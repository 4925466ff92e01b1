"""The golden SNGAN and BigGAN: StudioGAN-style weights under the names of our networks."""

import math
import re

import torch
from torch import Tensor, nn

from vectors import vectors

OURS = {
    "linear0": "linear", "linear1": "linear", "embedding": "embed",
    "conv2d0": "conv_sc", "conv2d1": "conv1", "conv2d2": "conv2", "embed0": "gain", "embed1": "bias",
    "conv1x1_theta": "theta", "conv1x1_phi": "phi", "conv1x1_g": "g", "conv1x1_attn": "o", "sigma": "gamma",
    "bn4": "output_layer.0", "conv2d5": "output_layer.2",
}  # fmt: skip
NOT_THEIRS = ("sv0", "stored_mean", "stored_var")


def golden_net(name: str) -> dict[str, Tensor]:
    """All arrays of one file, unpacked."""
    packed = vectors(name)
    shapes = [[int(side) for side in shape.split()] for shape in packed["shapes"]]
    values = torch.from_numpy(packed["values"]).split([math.prod(shape) for shape in shapes])
    arrays = {key: x.view(shape) for key, x, shape in zip(packed["names"], values, shapes, strict=True)}
    return {"y": torch.from_numpy(packed["y"])} | arrays


def our_name(theirs: str, attention: int | None) -> str:
    """Our name of their tensor; ``attention`` is the place of self-attention in their list of blocks, a block of its
    own there and the second part of the one before it here.
    """
    if found := re.match(r"blocks\.(\d+)\.0\.(.*)", theirs):
        place = int(found[1])
        after = attention is not None and place >= attention
        theirs = f"blocks.{place - after}.{int(place == attention)}.{found[2]}"
    ours = ".".join(OURS.get(part, part) for part in theirs.split("."))
    return ours.replace("output_layer.0.weight", "output_layer.0.gain").replace("weight_orig", "weight")


def load_golden(net: nn.Module, arrays: dict[str, Tensor], prefix: str, attention: int | None = None) -> nn.Module:
    """``net`` with the arrays under ``prefix``, in evaluation mode.

    Theirs keeps a spectral norm's v; ours makes v of u, so it gets the u that makes theirs.
    """
    state = {}
    for name, value in arrays.items():
        ours = our_name(name.removeprefix(prefix), attention)
        if not name.startswith(prefix) or ours.endswith("weight_u"):
            continue
        if ours.endswith("weight_v"):
            rows = state[ours.removesuffix("_v")].flatten(1).double()
            u = torch.linalg.lstsq(rows.T, value.double()[:, None]).solution
            state[ours.replace("weight_v", "u0")] = u.T.float()
        else:
            state[ours] = value.squeeze() if ours.endswith("gamma") else value
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected
    assert {name.rpartition(".")[2] for name in missing} <= set(NOT_THEIRS)
    return net.eval()
