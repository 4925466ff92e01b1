"""Snapshots in the layout of StyleGAN2-ADA, written with a small stand-in for the modules that its pickles name."""

import copy
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

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
    "StyleGan2Generator": "Generator",
    "StyledConv": "SynthesisLayer",
    "ToRgb": "ToRGBLayer",
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
        import numpy as np

        gain = module.lr_multiplier
        state |= {"bias_gain": gain, "weight_gain": gain / np.sqrt(module.weight.shape[1])}
    if kind in ("StyledConv", "ToRgb"):
        state["conv_clamp"] = module.clamp
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


def pickled(value: Any, protocol: int = 4) -> bytes:
    with their_modules():
        return pickle.dumps(value, protocol=protocol)
