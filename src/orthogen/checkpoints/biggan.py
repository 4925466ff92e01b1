"""BigGAN-PyTorch: a folder with ``G_ema.pth`` (or ``G.pth``) and ``state_dict.pth``.

The network is read off the shapes of its weights; of ``state_dict.pth``, which may be missing, only settings that do
not show in shapes are used. Weights go into our own `BigGan`, written from the paper, and spectral norm is folded into
them. Nothing in the files is run. Not met yet: real weights; all that is known here of the format are the names and
shapes of the published 128-pixel generator. BigGAN-deep and the names of other releases are not read.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.checkpoints._restricted import Refused, read_torch
from orthogen.core.catalogue import find
from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.layers.spectral_norm import fold_spectral_norm

__all__ = ["load", "read", "recognizes"]

_WEIGHTS = {True: "G_ema.pth", False: "G.pth"}
# what else the settings may say: networks that are not ours
_SETTINGS = {"model": ("BigGAN",), "norm_style": ("bn",), "G_nl": ("relu", "inplace_relu"), "G_param": ("SN",)}


def _big_gan() -> Any:
    return find("BigGan", "models").load()


def recognizes(path: Path) -> bool:
    """Whether this is such a folder, or the file of weights in one."""
    if path.is_dir():
        return any((path / name).is_file() for name in _WEIGHTS.values())
    return re.fullmatch(r"G(_ema)?(_(best|copy)\d+)?\.pth", path.name) is not None


def load(path: Path, *, ema: bool = True, model: Model | None = None, truncation: float | None = None) -> Generator:
    """The generator in eval mode, spectral norm folded; it takes class labels as ``label=``.

    Args:
        path: the folder; or the file of weights, whatever ``ema`` is.
        ema: the averaged weights; False for those the optimizer left.
        model: a `BigGan` to load into, where the one read off the shapes is not wanted.
        truncation: bound on the latent's components (the truncation trick).

    Raises:
        FileNotFoundError: the folder lacks the weights asked for.
        ValueError: a file is damaged, holds something else, or wants to run code; a tensor is missing or misshapen.
    """
    made, generator = read(path, ema=ema, model=model)
    if truncation is not None:
        made = replace(made, truncation=truncation)  # type: ignore[type-var]
    return made.adapt(generator)


def read(path: Path, *, ema: bool = True, model: Model | None = None) -> tuple[Model, nn.Module]:
    """The model and its generator in eval mode, for `load` and for writing them to a file of ours.

    The model has no spectral norm any more, and its critic is a mirror image of the generator: none is in the files.

    Raises:
        FileNotFoundError: see `load`.
        ValueError: see `load`.
    """
    file = path / _WEIGHTS[ema] if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no {file.name}; it holds {_WEIGHTS[not ema]}: load it with ema={not ema}")
    weights = _weights(read_torch(file), file)
    if model is None:
        model = _model(weights, _settings(file.parent / "state_dict.pth"), file)
    elif not isinstance(model, _big_gan()):
        raise ValueError(f"{file} is a BigGAN; model={type(model).__name__} was given: leave it out, or give a BigGan")
    with torch.device("meta"):  # no initial weights are drawn, only to be thrown away
        generator = model.build()["generator"]
    expected = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise ValueError(f"{file} lacks {name}, of shape {shape}, which a BigGAN has")
        if weights[name].shape != shape:
            raise ValueError(f"{file} has {name} of shape {tuple(weights[name].shape)}; its BigGAN needs {shape}")
    if unknown := weights.keys() - expected.keys():
        raise ValueError(f"{file} has {_named(min(unknown))}, which a BigGAN does not have (BigGAN-deep is not read)")
    generator.load_state_dict(weights, assign=True)
    generator = fold_spectral_norm(generator.eval())
    return replace(model, spectral=False), generator  # type: ignore[type-var]


def _named(text: str) -> str:
    """A name out of a file, fit for one line."""
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")


def _weights(content: Any, file: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; a BigGAN is a dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_floating_point():
            kind = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{file} has {_named(str(name))} of type {kind}; a BigGAN holds named tensors of floats")
    return {name: value.detach().float().contiguous() for name, value in content.items()}


def _settings(file: Path) -> Mapping[str, Any]:
    """What the training was configured with; nothing where there is no file."""
    if not file.is_file():
        return {}
    try:
        content = read_torch(file)
    except Refused as error:
        raise ValueError(f"{error}; the weights load without that file, with a BN_eps of 1e-5") from error
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise ValueError(f"{file} lacks 'config'; leave the file out, or take that of the same training")
    for key, accepted in _SETTINGS.items():
        if config.get(key, accepted[0]) not in accepted:
            raise ValueError(
                f"{file} has {key}={_named(str(config[key]))}; BigGANs with {key}={' or '.join(accepted)} are read"
            )
    return config


def _model(weights: Mapping[str, Tensor], settings: Mapping[str, Any], file: Path) -> Model:
    """The `BigGan` of these weights, by their shapes."""

    def shape(name: str, sides: int) -> tuple[int, ...]:
        if name not in weights:
            raise ValueError(f"{file} lacks {name}, which a BigGAN (with a shared embedding of classes) has")
        if weights[name].ndim != sides:
            raise ValueError(f"{file} has {name} of shape {tuple(weights[name].shape)}; {sides} dimensions are needed")
        return tuple(weights[name].shape)

    blocks = max(1, len({name.split(".")[1] for name in weights if re.match(r"blocks\.\d+\.", name)}))
    classes, shared_dim = shape("shared.weight", 2)
    first, chunk = shape("linear.weight", 2)
    channels = (first // 16, *(shape(f"blocks.{i}.0.conv1.weight", 4)[0] for i in range(blocks)))
    hierarchical = shape("blocks.0.0.bn1.gain.weight", 2)[1] > shared_dim
    width = max(1, math.gcd(*channels))
    levels = tuple(c // width for c in channels)
    eps = settings.get("BN_eps", 1e-5)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise ValueError(
            f"{file.parent / 'state_dict.pth'} has BN_eps={_named(str(eps))}; a number such as 1e-5 is one"
        )
    try:
        return _big_gan()(
            resolution=4 * 2**blocks,
            channels=shape("output_layer.2.weight", 4)[0],
            classes=classes,
            dim=chunk * (blocks + 1) if hierarchical else chunk,
            shared_dim=shared_dim,
            hierarchical=hierarchical,
            width=width,
            generator_levels=levels,
            critic_levels=levels[:0:-1],
            attention=tuple(8 * 2**i for i in range(blocks) if f"blocks.{i}.1.theta.weight" in weights),
            critic_attention=(),
            spectral="linear.u0" in weights,
            eps=eps,
        )
    except ValueError as error:
        raise ValueError(f"{file} is no BigGAN that can be built: {error}") from error
