"""A function or module of the user's as an `Eye`; shared by `Custom` and by what is handed over in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.functions import described, name_of, tensors_of
from orthogen.core.images import to_float
from orthogen.core.kinds import Extractor, Eye
from orthogen.core.reach import Reach
from orthogen.core.rng import generator
from orthogen.core.shapes import UInt8
from orthogen.core.untouched import evaluating, seeded, untouched

__all__ = ["Given", "eye_of", "one_line"]


def one_line(error: Exception) -> str:
    """What went wrong, by kind and first line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _checked(output: object, n: int, name: str) -> tuple[Tensor, Tensor | None]:
    """Features and logits out of what the function returned, if that is what it returned."""
    features, logits, *more = output if isinstance(output, tuple | list) and len(output) > 1 else (output, None)
    for part in (features, features if logits is None else logits):
        if more or not isinstance(part, Tensor) or part.ndim != 2 or len(part) != n:
            what = f"a tensor of shape {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            raise ValueError(
                f"the extractor {name} returned {f'{2 + len(more)} values' if more else what} for {n} images; features "
                f"({n}, d), or a pair of features and logits ({n}, k), are needed"
            )
    return features, logits


def eye_of(
    function: Callable[..., Any], device: torch.device, name: str | None = None, source: str | None = None
) -> Eye:
    """The eye that sees with ``function``, which takes images in [-1, 1].

    Its networks, wherever it holds them, stay where they are and as they are; a function without any works on
    ``device``. What it draws for itself is the same for every batch.

    Args:
        function: images in [-1, 1] -> features, or features and logits.
        device: where to hand images to a function that holds no network.
        name: what it is called in the protocol; its own name if None.
        source: text that defines it, beside that of the functions and classes it reaches.

    Raises:
        TypeError: it cannot be called.
        ValueError: a network of its has weights without a shape yet; from ``see``, the function fails or returns no
            features.
    """
    if not callable(function):
        raise TypeError(f"an extractor was given as {type(function).__name__}; an Extractor or a function is needed")
    found, name = Reach(function), name or name_of(function)
    network = nn.ModuleList(found.networks)
    placed = [*tensors_of(network).values(), *found.tensors]
    place = placed[0].device if placed else device

    @torch.no_grad()
    def see(images: UInt8[Tensor, "n c h w"]) -> tuple[Tensor, Tensor | None]:
        with evaluating(network), untouched(network, place) as host:
            host.rewind()  # buffers are clones from here on
            try:
                with seeded(generator("extractor"), place):
                    output = function(to_float(images.to(place)))
            except Exception as error:
                raise ValueError(
                    f"the extractor {name} failed on images {tuple(images.shape)} in [-1, 1]: {one_line(error)}"
                ) from error
            return _checked(output, len(images), name)

    about = described(function, found, name=f"the extractor {name}", source=source)
    protocol = {**about, "name": name, "input": "uint8, scaled to [-1, 1]", "resize": "by the extractor"}
    return Eye(see, protocol)


@dataclass(frozen=True)
class Given(Extractor):
    """A function or module handed over in memory.

    Attributes:
        function: images in [-1, 1] -> features, or features and logits.
    """

    function: Callable[..., Any]

    def load(self, device: torch.device) -> Eye:
        """The function, ready to look at images."""
        return eye_of(self.function, device)
