"""BigGAN-PyTorch: a folder with ``G_ema.pth`` (or ``G.pth``) and ``state_dict.pth``, of BigGAN or BigGAN-deep.

The network is read off the shapes of its weights; of ``state_dict.pth``, which may be missing, only settings that do
not show in shapes are used. Weights go into our own `BigGan` and `BigGanDeep`, written from the paper, and spectral
norm is folded into them. Nothing in the files is run. Not met yet: real weights. Names and shapes are known of the
published 128-pixel BigGAN; of BigGAN-deep's files no list is at hand, and its layers are expected under the same names,
with conv1 to conv4 and bn1 to bn4 in a block.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from orthogen.checkpoints._biggan import residual_model
from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._restricted import Refused, read_torch
from orthogen.checkpoints._state_dict import float_tensors, sides
from orthogen.checkpoints._tensors import fill
from orthogen.core.kinds import Model
from orthogen.layers.spectral_norm import fold_spectral_norm

__all__ = ["load", "recognizes"]

_WEIGHTS = {True: "G_ema.pth", False: "G.pth"}
_MODULES = ("torch.nn.modules.activation.ReLU",)  # which the settings hold beside their names
_SETTINGS = {  # what else they may say: networks that are not ours
    "model": ("BigGAN", "BigGANdeep"),
    "norm_style": ("bn",),
    "G_nl": ("relu", "inplace_relu"),
    "G_param": ("SN",),
}


def recognizes(path: Path) -> bool:
    """Whether this is such a folder, or the file of weights in one."""
    if path.is_dir():
        return any((path / name).is_file() for name in _WEIGHTS.values())
    return re.fullmatch(r"G(_ema)?(_(best|copy)\d+)?\.pth", path.name) is not None


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = {}) -> Loaded:
    """The generator in eval mode, spectral norm folded; it takes class labels as ``label=``.

    Args:
        path: the folder; or the file of weights, whatever ``ema`` is.
        ema: the averaged weights; False for those the optimizer left.
        settings: fields of `BigGan` or `BigGanDeep` that say how to use it, such as ``truncation``.

    Raises:
        FileNotFoundError: the folder lacks the weights asked for.
        ValueError: a file is damaged, holds something else, or wants to run code; a tensor is missing or misshapen.
    """
    file = path / _WEIGHTS[ema] if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no {file.name}; it holds {_WEIGHTS[not ema]}: load it with ema={not ema}")
    weights = float_tensors(read_torch(file), file, "a BigGAN")
    recorded = _settings(file.parent / "state_dict.pth")
    deep = "blocks.0.0.conv4.weight" in weights
    model = (_deep_model if deep else _model)(weights, recorded, file)
    loaded = fill(with_settings(model, settings, path), weights, file, f"BigGAN-PyTorch{' (deep)' if deep else ''}")
    frozen = fold_spectral_norm(loaded.module.eval())
    return Loaded(replace(loaded.model, spectral=False), frozen, loaded.format)  # type: ignore[type-var]


def _settings(file: Path) -> Mapping[str, Any]:
    """What the training was configured with; nothing where there is no file."""
    if not file.is_file():
        return {}
    try:
        content = read_torch(file, passed_over=_MODULES)
    except Refused as error:
        raise ValueError(f"{error}; the weights load without that file, with a BN_eps of 1e-5") from error
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise ValueError(f"{file} lacks 'config'; leave the file out, or take that of the same training")
    for key, accepted in _SETTINGS.items():
        if config.get(key, accepted[0]) not in accepted:
            raise ValueError(
                f"{file} has {key}={str(config[key])[:80]!a}; BigGANs with {key}={' or '.join(accepted)} are read"
            )
    eps, depth = config.get("BN_eps", 1e-5), config.get("G_depth", 1)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise ValueError(f"{file} has BN_eps={str(eps)[:80]!a}; a number such as 1e-5 is one")
    if type(depth) is not int or not 0 < depth < 10:
        raise ValueError(f"{file} has G_depth={str(depth)[:80]!a}; a number such as 2 is one")
    return config


def _count(weights: Mapping[str, Tensor]) -> int:
    """How many blocks there are, 1 at least."""
    return max(1, len({name.split(".")[1] for name in weights if re.match(r"blocks\.\d+\.", name)}))


def _shared(weights: Mapping[str, Tensor], settings: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The fields that are read alike for both networks."""
    kind = "a BigGAN (with a shared embedding of classes)"
    classes, shared_dim = sides(weights, "shared.weight", 2, file, kind)
    return {
        "channels": sides(weights, "output_layer.2.weight", 4, file, kind)[0],
        "classes": classes,
        "shared_dim": shared_dim,
        "critic_attention": (),
        "spectral": "linear.u0" in weights,
        "eps": settings.get("BN_eps", 1e-5),
    }


def _model(weights: Mapping[str, Tensor], settings: Mapping[str, Any], file: Path) -> Model:
    """The `BigGan` of these weights, by their shapes."""
    fields, blocks = _shared(weights, settings, file), _count(weights)
    first, chunk = sides(weights, "linear.weight", 2, file, "a BigGAN")
    after = (sides(weights, f"blocks.{i}.0.conv1.weight", 4, file, "a BigGAN")[0] for i in range(blocks))
    hierarchical = sides(weights, "blocks.0.0.bn1.gain.weight", 2, file, "a BigGAN")[1] > fields["shared_dim"]
    return residual_model(
        "BigGan",
        (first // 16, *after),
        file,
        dim=chunk * (blocks + 1) if hierarchical else chunk,
        hierarchical=hierarchical,
        attention=tuple(8 * 2**i for i in range(blocks) if f"blocks.{i}.1.theta.weight" in weights),
        **fields,
    )


def _deep_model(weights: Mapping[str, Tensor], settings: Mapping[str, Any], file: Path) -> Model:
    """The `BigGanDeep` of these weights. How many blocks each resolution has does not show: as recorded, else two."""
    fields, blocks, depth = _shared(weights, settings, file), _count(weights), settings.get("G_depth", 2)
    if blocks % depth:
        raise ValueError(f"{file} has {blocks} blocks; with {depth} per resolution (G_depth) it is a multiple of that")
    first, inputs = sides(weights, "linear.weight", 2, file, "a BigGAN-deep")
    last = range(depth - 1, blocks, depth)
    after = (sides(weights, f"blocks.{i}.0.conv4.weight", 4, file, "a BigGAN-deep")[0] for i in last)
    return residual_model(
        "BigGanDeep",
        (first // 16, *after),
        file,
        dim=inputs - fields["shared_dim"],
        attention=tuple(8 * 2**n for n, i in enumerate(last) if f"blocks.{i}.1.theta.weight" in weights),
        depth=depth,
        **fields,
    )
