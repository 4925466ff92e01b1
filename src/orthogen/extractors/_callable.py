"""A function or module of the user's as an `Eye`; shared by `Custom` and by what is handed over in memory."""

import hashlib
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.digest import digest
from orthogen.core.images import to_float
from orthogen.core.kinds import Extractor, Eye
from orthogen.core.shapes import UInt8
from orthogen.core.untouched import evaluating, untouched

__all__ = ["Given", "eye_of"]


def _modules(function: Callable[..., Any]) -> list[nn.Module]:
    """The networks a function sees with: itself, the owner of a method, those that its code names."""
    if isinstance(function, nn.Module):
        return [function]
    held = [getattr(function, "__self__", None)]
    if inspect.isfunction(function) or inspect.ismethod(function):
        scope = inspect.getclosurevars(function)
        held += [*scope.nonlocals.values(), *scope.globals.values()]
    return [each for each in held if isinstance(each, nn.Module)]


def _source(function: Callable[..., Any]) -> str | None:
    """SHA-256 of a function's source text; None where there is none to be had."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):
        return None


def _name(function: Callable[..., Any]) -> str:
    kind = type(function)
    return getattr(function, "__qualname__", kind.__qualname__)


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

    Its networks stay where they are and as they are; a function without any works on ``device``.

    Args:
        function: images in [-1, 1] -> features, or features and logits.
        device: where to hand images to a function that holds no network.
        name: what it is called in the protocol; its own name if None.
        source: hash of the text that defines it; that of its own source if None.

    Raises:
        TypeError: it cannot be called.
    """
    if not callable(function):
        raise TypeError(f"an extractor was given as {type(function).__name__}; an Extractor or a function is needed")
    modules, name = _modules(function), name or _name(function)
    placed = [tensor.device for module in modules for tensor in module.state_dict().values()]
    place = placed[0] if placed else device

    @torch.no_grad()
    def see(images: UInt8[Tensor, "n c h w"]) -> tuple[Tensor, Tensor | None]:
        with ExitStack() as stack:
            for module in modules:
                stack.enter_context(evaluating(module))
                stack.enter_context(untouched(module, place))
            return _checked(function(to_float(images.to(place))), len(images), name)

    protocol: dict[str, Any] = {"name": name, "input": "uint8, scaled to [-1, 1]", "resize": "by the extractor"}
    if not isinstance(function, nn.Module) or source is not None:
        protocol["source"] = source or _source(function)
    if modules:
        protocol["weights"] = [digest(module.state_dict()) for module in modules]
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
