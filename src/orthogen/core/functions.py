"""A function of the user's in a protocol: its name, hashes of its text and settings, and those of its weights."""

import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from orthogen.core.digest import digest
from orthogen.core.reach import Reach

__all__ = ["described", "name_of", "networks", "tensors_of"]


def networks(function: Callable[..., Any]) -> list[nn.Module]:
    """The networks a function works with, wherever it holds them.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> [found is net for f in (net, net.forward, functools.partial(net)) for found in networks(f)]
        [True, True, True]
    """
    return Reach(function).networks


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function, or of the class of what is called."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return getattr(function, "__name__", type(function).__name__)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, also those that a checkpoint leaves out."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def described(
    function: Callable[..., Any], found: Reach | None = None, *, name: str | None = None, source: str | None = None
) -> dict[str, Any]:
    """What tells a function from others: its name, and hashes of its text, of its settings and of its weights.

    Args:
        function: what is called.
        found: what it reaches, where that is known already.
        name: what it is called; its own name if None.
        source: text that defines it, beside that of the functions and classes it reaches.

    Raises:
        ValueError: a network of its has weights without a shape yet.

    Example:
        >>> a, b = nn.Linear(2, 3), nn.Linear(2, 3)
        >>> described(a)["name"], described(a) == described(a), described(a) == described(b)
        ('Linear', True, False)
    """
    found, name = found or Reach(function), name or name_of(function)
    sources = [*([] if source is None else [source]), *found.sources]
    about: dict[str, Any] = {
        "name": name,
        "source": _hash(sources) if sources else None,
        "settings": _hash(found.settings),
    }
    held = [tensors_of(network) for network in found.networks]
    if any(nn.parameter.is_lazy(tensor) for tensors in held for tensor in tensors.values()):
        raise ValueError(f"{name} has weights that have no shape yet; show it an image once, then give it")
    if found.tensors:
        held.append({str(i): tensor for i, tensor in enumerate(found.tensors)})
    if any(held):
        about["weights"] = [digest(tensors) for tensors in held]
    return about
