"""The simple GAN of OroJaR and of the orthogonality experiments: ``latest_netG.pth``, ``5_netG.pth`` and the like.

Both have the same names and, at 64 and 128 pixels, the same sizes. The network is read off the shapes of its weights;
files with trained weights have not been met.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthogen.checkpoints._loaded import Loaded, with_settings
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints._state_dict import float_tensors, sides
from orthogen.checkpoints._tensors import fill
from orthogen.core.catalogue import find
from orthogen.core.latent import Normal

__all__ = ["load", "recognizes"]

_KIND = "a simple GAN's generator"
_LATEST = "latest_netG.pth"
_LEVELS = 11  # to 4096 pixels; a file must not ask for more


def recognizes(path: Path) -> bool:
    """Whether the file is called so, or a folder has the latest one."""
    return (path / _LATEST).is_file() if path.is_dir() else path.name.endswith("_netG.pth")


def load(path: Path, *, ema: bool = True, settings: Mapping[str, Any] = {}) -> Loaded:
    """The generator.

    Args:
        path: the file; or a folder, of which the latest one is taken.
        ema: not looked at; there is one set of weights.
        settings: fields of `SimpleGan` that say how to use it, such as ``latent``.

    Raises:
        ValueError: the file is damaged, holds something else, or wants to run code; a tensor is missing or misshapen.
    """
    file = path / _LATEST if path.is_dir() else path
    weights = float_tensors(read_torch(file), file, _KIND)
    last = sum(bool(re.fullmatch(r"layers\.\d{1,3}\.layers\.conv\.weight", name)) for name in weights) - 1
    shapes = [sides(weights, f"layers.{i}.layers.conv.weight", 4, file, _KIND) for i in range(max(1, last + 1))]
    if not 2 <= last <= _LEVELS:
        raise ValueError(f"{file} has {last + 1} layers; {_KIND} has 3 (8 pixels) to {_LEVELS + 1} (4096)")
    model = find("SimpleGan", "models").load()(
        latent=Normal(shapes[0][0]),
        channels=shapes[-1][0],
        resolution=4 * 2 ** (last - 1),
        generator_channels=tuple(shape[1] for shape in shapes[:-1]),
    )
    return fill(with_settings(model, settings, path), weights, file, "a simple GAN of OroJaR")
