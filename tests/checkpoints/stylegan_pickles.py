"""Snapshots in the layout of StyleGAN2-ADA and StyleGAN3, with a small stand-in for the modules that they name."""

import copy
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from orthogen.models.stylegan3 import StyleGan3

SOURCE = "raise SystemExit('the source code in the pickle was run')"


class EasyDict(dict):
    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("the pickle's own reconstruction was called")


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


@contextmanager
def their_modules() -> Iterator[None]:
    """``torch_utils.persistence`` and ``dnnlib.util``, importable while something is pickled, and gone after that."""
    made = {name: ModuleType(name) for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")}
    made["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    made["dnnlib.util"].EasyDict = EasyDict
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


class Persistent:
    """Pickled as an object of a persistent class: a call with class name, source code and attributes."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> Any:
        meta = dict(type="class", version=6, module_src=SOURCE, class_name=self.class_name, state=self.state)
        return _reconstruct_persistent_obj, (meta,), None


NAMES = {
    "StyledGenerator": "Generator",
    "StyledConv": "SynthesisLayer",
    "ToRgb": "ToRGBLayer",
    "FourierFeatures": "SynthesisInput",
    "AliasFreeConv": "SynthesisLayer",
    "AliasFreeSynthesis": "SynthesisNetwork",
    "EqualizedLinear": "FullyConnectedLayer",
}


def persistent(module: nn.Module) -> Persistent:
    """One of our modules as an official snapshot holds it."""
    kind = type(module).__name__
    state = dict(nn.Module().__dict__)
    state["training"] = False
    state["_parameters"] = dict(module._parameters)
    state["_buffers"] = dict(module._buffers)
    state["_modules"] = {name: persistent(child) for name, child in module._modules.items()}
    state |= {"_init_args": (), "_init_kwargs": EasyDict(activation="lrelu")}
    if kind == "EqualizedLinear":
        gain = module.lr_multiplier
        state |= {"bias_gain": gain, "weight_gain": gain / np.sqrt(module.weight.shape[1])}
    if kind in ("StyledConv", "ToRgb", "AliasFreeConv"):
        state["conv_clamp"] = module.clamp
    if kind == "FourierFeatures":
        band = module.band
        state |= {"bandwidth": np.float64(band.cutoff), "sampling_rate": band.rate, "size": np.array([band.size] * 2)}
    return Persistent(NAMES.get(kind, kind), state)


def snapshot(generator: nn.Module, **more: Any) -> dict[str, Any]:
    """What a training run of StyleGAN2-ADA pickles."""
    raw = copy.deepcopy(generator)
    with torch.no_grad():
        for parameter in raw.parameters():
            parameter.add_(1.0)
    critic = persistent(nn.Sequential(nn.Linear(2, 2)))
    kwargs = EasyDict(class_name="training.dataset.ImageFolderDataset", resolution=16)
    return dict(
        training_set_kwargs=kwargs, G=persistent(raw), D=critic, G_ema=persistent(generator), augment_pipe=None, **more
    )


def alias_free(generator: nn.Module, model: StyleGan3, **made_with: Any) -> dict[str, Any]:
    """What a training run of StyleGAN3 pickles; ``made_with`` is what its options differ in from the defaults."""
    data = snapshot(generator)
    if model.config == "r":
        wide = {name: 2 * getattr(model, name) for name in ("channel_base", "channel_max")}
        made_with = {**wide, "conv_kernel": 1, "use_radial_filters": True, **made_with}
    else:
        made_with = {"channel_base": model.channel_base, "channel_max": model.channel_max, **made_with}
    for key in ("G", "G_ema"):
        whole = data[key].state
        synthesis = whole["_modules"]["synthesis"].state
        whole["_init_kwargs"] = EasyDict(z_dim=model.dim_z, mapping_kwargs=EasyDict(num_layers=2), **made_with)
        synthesis["_init_kwargs"] = EasyDict(w_dim=model.dim_w, img_resolution=model.resolution, **made_with)
        for name in ("num_layers", "num_critical", "margin_size", "output_scale"):
            synthesis[name] = getattr(model, name)
        to_rgb = synthesis["_modules"][generator.synthesis.names[-1]]
        to_rgb.class_name = "SynthesisLayer"
        to_rgb.state["_buffers"] |= {"up_filter": None, "down_filter": None}
    return data


def pickled(value: Any, protocol: int = 4) -> bytes:
    with their_modules():
        return pickle.dumps(value, protocol=protocol)
