"""What the readers of BigGAN's relatives share: channels in the units of our models, and the models by name."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orthogen.core.catalogue import find
from orthogen.core.kinds import Model

__all__ = ["residual_model"]

_DOUBLINGS = 10  # to 4096 pixels; a file must not ask for more


def residual_model(kind: str, levels: Sequence[int], path: Path, **fields: Any) -> Model:
    """A `BigGan`, `BigGanDeep` or `Sngan` whose generator has these channels at 4, 8, ... pixels.

    Its critic is a mirror image of the generator: the files that are read hold none.

    Args:
        kind: the model's name.
        levels: channels at each side.
        path: of the file, for messages.
        fields: all other fields.

    Raises:
        ValueError: there is no such network.
    """
    if len(levels) - 1 > _DOUBLINGS:
        raise ValueError(f"{path} doubles the side {len(levels) - 1} times; {_DOUBLINGS} times are read")
    width = max(1, math.gcd(*levels))
    units = tuple(channels // width for channels in levels)
    try:
        return find(kind, "models").load()(
            resolution=4 * 2 ** (len(levels) - 1),
            width=width,
            generator_levels=units,
            critic_levels=units[::-1],
            **fields,
        )
    except ValueError as error:
        raise ValueError(f"{path} is no {kind} that can be built: {error}") from error
