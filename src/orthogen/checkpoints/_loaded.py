"""What a format gives: a model, its generator with the file's weights, and how the file is called in words."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import Model

__all__ = ["Loaded", "with_settings"]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A generator network out of a file, and the model that builds it.

    Attributes:
        model: what builds such a network.
        module: the network, with the file's weights, on the CPU.
        format: of the file, in words.
    """

    model: Model
    module: nn.Module
    format: str

    @property
    def generator(self) -> Generator:
        """The network in eval mode, with its latent."""
        return self.model.adapt(self.module.eval())


def with_settings(model: Model, settings: Mapping[str, Any], path: Path) -> Model:
    """The model with some of its fields set, such as the truncation or the space of its latents.

    Raises:
        ValueError: the model has no such field, or does not take the value.
    """
    if not settings:
        return model
    assert dataclasses.is_dataclass(model)
    fields = [field.name for field in dataclasses.fields(model) if field.init]
    name = type(model).__name__
    for setting in settings:
        if setting not in fields:
            near = get_close_matches(setting, fields, n=3, cutoff=0.5)
            hint = f"nearest: {', '.join(near)}" if near else f"it has {', '.join(fields)}"
            raise ValueError(f"{path} holds a {name}, which has no setting {setting!r}; {hint}")
    return dataclasses.replace(model, **settings)
