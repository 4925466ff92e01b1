"""StudioGAN: ``model=G_ema-best-weights-step=N.pth`` and the like, of SNGAN and BigGAN.

Written from the networks that were released with group spectral regularization, whose batch norms keep no running
statistics: those of the batch are used, as there. Where a file has running statistics (``bn1.bn.running_mean``), or
tables of classes that are linear layers of one-hot labels, as other versions of StudioGAN do, they are taken; such
files have not been met, nor has one with trained weights.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints._biggan import residual_model
from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._state_dict import float_tensors, folded, sides
from orthogen.checkpoints._tensors import fill
from orthogen.core.kinds import Model
from orthogen.core.latent import Normal

__all__ = ["load", "recognizes"]

_KIND = "a generator of StudioGAN"
_FILE = re.compile(r"model=G(_ema)?-(best|current)-weights-step=(\d{1,12})\.pth")
_PARTS = {
    "linear0": "linear",
    "conv2d0": "conv_sc",
    "conv2d1": "conv1",
    "conv2d2": "conv2",
    "embed0": "gain",
    "embed1": "bias",
    "conv1x1_theta": "theta",
    "conv1x1_phi": "phi",
    "conv1x1_g": "g",
    "conv1x1_attn": "o",
    "sigma": "gamma",
    "running_mean": "stored_mean",
    "running_var": "stored_var",
    "conv2d5": "output_layer.2",
}


def recognizes(path: Path) -> bool:
    """Whether this is such a file of a generator, or a folder with one."""
    return bool(_choices(path)) if path.is_dir() else _FILE.fullmatch(path.name) is not None


def _choices(folder: Path) -> dict[tuple[bool, bool, int], Path]:
    """The generators in a folder: whether averaged, whether best, step."""
    found = ((_FILE.fullmatch(path.name), path) for path in folder.glob("model=G*.pth"))
    return {(match[1] is not None, match[2] == "best", int(match[3])): path for match, path in found if match}


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = {}) -> Loaded:
    """The generator, spectral norm folded; it takes class labels as ``label=``.

    Args:
        path: the file; or a folder, of whose files the best one is taken, the current one where none is called so.
        ema: in a folder, the averaged weights; False for those the optimizer left. A file has one set of weights.
        settings: fields of `Sngan` or `BigGan` that say how to use it, such as ``truncation``.

    Raises:
        FileNotFoundError: the folder lacks the weights asked for.
        ValueError: a file is damaged, holds something else, or wants to run code; a tensor is missing or misshapen.
    """
    file = _best(path, ema) if path.is_dir() else path
    content = read_torch(file)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{file} has no state_dict; that is no checkpoint of StudioGAN")
    state = {n: x for n, x in content["state_dict"].items() if not str(n).endswith("num_batches_tracked")}
    weights = folded(float_tensors(state, file, _KIND), file)
    places = dict(_places(weights, file))
    tensors = {ours: _reshaped(theirs, weights) for theirs, ours in _names(weights, places)}
    counted = any(name.endswith("stored_mean") for name in tensors)
    model = _model(tensors, "running" if counted else "batch", file)
    if not counted:
        tensors |= _unused(tensors)
    return fill(with_settings(model, settings, path), tensors, file, f"StudioGAN, {type(model).__name__}")


def _best(folder: Path, ema: bool) -> Path:
    files = {key: file for key, file in _choices(folder).items() if key[0] == ema}
    if not files:
        name = "model=G_ema-..." if ema else "model=G-..."
        raise FileNotFoundError(f"{folder} has no {name}.pth, but other weights; load it with ema={not ema}")
    return files[max(files)]


def _places(weights: Mapping[str, Tensor], file: Path) -> Iterator[tuple[int, str]]:
    """Where each entry of their list is here: ``blocks.i.0``, or ``blocks.i.1`` for the attention behind block i."""
    found = (re.match(r"blocks\.(\d{1,3})\.0\.", name) for name in weights)
    listed, blocks = {int(match[1]) for match in found if match}, 0
    for entry in range(max(listed, default=0) + 1):
        if entry not in listed:
            raise ValueError(f"{file} lacks blocks.{entry}, which {_KIND} has")
        attention = f"blocks.{entry}.0.sigma" in weights
        if attention and not blocks:
            raise ValueError(f"{file} begins with attention, blocks.{entry}; such a network is not read")
        yield entry, f"blocks.{blocks - 1}.1" if attention else f"blocks.{blocks}.0"
        blocks += not attention


def _names(weights: Mapping[str, Tensor], places: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Their name and ours, of every tensor; what is not known keeps its name."""
    for name in weights:
        head, rest = "", name
        if match := re.fullmatch(r"blocks\.(\d{1,3})\.0\.(.+)", name):
            head, rest = f"{places[int(match[1])]}.", match[2].replace(".bn.", ".")
        elif name.startswith("bn4."):
            head, rest = "output_layer.0.", name.removeprefix("bn4.").replace("weight", "gain")
        yield name, head + ".".join(_PARTS.get(part, part) for part in rest.split("."))


def _reshaped(name: str, weights: Mapping[str, Tensor]) -> Tensor:
    """The tensor as our networks have it."""
    value = weights[name]
    if name.endswith(".sigma") and value.numel() == 1:
        return value.reshape(())
    table = re.search(r"\.bn[12]\.(gain|bias)\.weight$", name) and "shared.weight" not in weights
    return value.mT.contiguous() if table and value.ndim == 2 else value  # a column per class; here a row


def _unused(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Running statistics for the norms of a network that does not look at them."""
    widths = {"output_layer.0": tensors.get("output_layer.0.gain", torch.empty(0)).numel()}
    for name, weight in tensors.items():
        if (match := re.fullmatch(r"(blocks\.\d+\.0\.)conv([12])\.weight", name)) and weight.ndim == 4:
            widths[f"{match[1]}bn{match[2]}"] = weight.shape[1]
    means = {f"{norm}.stored_mean": torch.zeros(width) for norm, width in widths.items()}
    return means | {f"{norm}.stored_var": torch.ones(width) for norm, width in widths.items()}


def _model(tensors: Mapping[str, Tensor], statistics: str, file: Path) -> Model:
    """The `BigGan` or `Sngan` of these weights, by their shapes."""
    blocks = max(1, len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}))
    first, chunk = sides(tensors, "linear.weight", 2, file, _KIND)
    after = (sides(tensors, f"blocks.{i}.0.conv1.weight", 4, file, _KIND)[0] for i in range(blocks))
    gain = sides(tensors, "blocks.0.0.bn1.gain.weight", 2, file, _KIND)
    fields: dict[str, Any] = {
        "channels": sides(tensors, "output_layer.2.weight", 4, file, _KIND)[0],
        "spectral": False,
        "statistics": statistics,
        "eps": 1e-4,
        "skip_relu": True,
    }
    if "shared.weight" not in tensors:
        return residual_model("Sngan", (first // 16, *after), file, latent=Normal(chunk), classes=gain[0], **fields)
    classes, shared_dim = sides(tensors, "shared.weight", 2, file, _KIND)
    hierarchical = gain[1] > shared_dim
    return residual_model(
        "BigGan",
        (first // 16, *after),
        file,
        classes=classes,
        dim=chunk * (blocks + 1) if hierarchical else chunk,
        shared_dim=shared_dim,
        hierarchical=hierarchical,
        attention=tuple(8 * 2**i for i in range(blocks) if f"blocks.{i}.1.theta.weight" in tensors),
        critic_attention=(),
        **fields,
    )
