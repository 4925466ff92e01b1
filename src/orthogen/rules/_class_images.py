"""A few images of a class, made by a generator that nobody has said how to call, and how much they differ."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.generator import first_tensor
from orthogen.core.untouched import evaluating, untouched

__all__ = ["ClassImages"]


class ClassImages:
    """Remembers what a generator was called with to learn, and calls it with one class in place of all.

    Args:
        module: the generator, which gets a hook before its passes.
        images: how many are made of a class, at most; the batch has to be as large.
    """

    def __init__(self, module: nn.Module, images: int) -> None:
        self.module, self.images = module, images
        self._seen: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        module.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # the first pass of a step that is learned from; those of penalties come after it
        if self._seen is None and torch.is_grad_enabled():
            self._seen = args, kwargs

    def forget(self) -> None:
        """Remember the next pass."""
        self._seen = None

    @torch.no_grad()
    def spread(self, label: int) -> float | None:
        """Root mean square distance of two images of a class, per pixel and channel; None where it cannot be had.

        It takes a pass with two latents or more and class labels, one integer for each. In evaluation mode; nothing of
        it stays in the generator.
        """
        if self._seen is None:
            return None
        args, kwargs = self._seen
        given: list[Any] = [*args, *kwargs.values()]
        tensors = [each for each in given if isinstance(each, Tensor) and each.ndim]
        batch = len(tensors[0]) if tensors else 0
        if batch < 2 or not any(_labels(each, batch) for each in tensors):
            return None
        rows = [self._of_class(each, label, batch) for each in given]
        named: Mapping[str, Any] = dict(zip(kwargs, rows[len(args) :], strict=True))
        with evaluating(self.module), untouched(self.module, tensors[0].device) as host:
            host.rewind()
            images = first_tensor(self.module(*rows[: len(args)], **named), "the generator").flatten(1).double()
        value = (torch.pdist(images).square().mean() / images.shape[1]).sqrt().item()
        return value if value < torch.inf else None

    def _of_class(self, given: Any, label: int, batch: int) -> Any:
        """What one image each of so many, of this class, are made of."""
        if not isinstance(given, Tensor) or not given.ndim or len(given) != batch:
            return given
        rows = given[: self.images].detach()
        return torch.full_like(rows, label) if _labels(given, batch) else rows


def _labels(given: Tensor, batch: int) -> bool:
    return given.shape == (batch,) and given.dtype in (torch.int64, torch.int32)
