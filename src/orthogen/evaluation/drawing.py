"""Drawing images of a generator, which is left as it was."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.generator import Generator
from orthogen.core.passes import Watch
from orthogen.core.untouched import evaluating, seeded, untouched

__all__ = ["missing_condition", "resting", "see_each_other"]


@contextmanager
def resting(generator: Generator, rng: torch.Generator) -> Iterator[None]:
    """The generator in evaluation mode inside the block, with noise of its own that follows from ``rng``.

    Buffers that it changes in place, its modes and the global random states are put back after it.
    """
    module, device = generator.module, generator.device
    with evaluating(module), untouched(module, device) as host:
        host.rewind()  # buffers are clones from here on
        with seeded(rng, device):
            yield


def missing_condition(error: TypeError) -> str | None:
    """The argument that a call lacked, if that is what the error says."""
    found = re.search(r"missing \d+ required .*?'(\w+)'", str(error))
    return None if found is None else found[1]


@torch.no_grad()
def see_each_other(generator: Generator, conditions: Mapping[str, Tensor] | None = None) -> bool:
    """Whether an image depends on the others of its batch (batch statistics), so that the batch size is a setting.

    Found by trying: batch norm on batch statistics, or two images that come out otherwise one by one. Of a generator
    with noise of its own only the first can be told. To be called while the generator is `resting`.

    Args:
        generator: what is tried.
        conditions: labels for at least two images, where it takes any.
    """
    module, device = generator.module, generator.device
    z = generator.latent.sample(2, rng=randomness.generator("two latents"), device=device)
    plain = [(part, dict(vars(part))) for part in module.modules()]  # such as a count of calls

    def images(*rows: int, latents: Tensor = z) -> Tensor:
        for part, attributes in plain:
            vars(part).update(attributes)
        host.rewind()
        given = {name: labels[list(rows)].to(device) for name, labels in (conditions or {}).items()}
        return generator(latents[list(rows)], **given)

    try:
        with untouched(module, device) as host:
            with Watch() as watch:
                together = images(0, 1)
            if "batch_norm" in watch.norms or host.drew:
                return "batch_norm" in watch.norms
            try:
                apart = torch.cat([images(0), images(1)])
            except (RuntimeError, ValueError):  # a batch of one is refused
                return True
            # a network that is run many times magnifies rounding; by how much, latents moved by one rounding tell
            magnified = (images(0, 1, latents=z * (1 + torch.finfo(z.dtype).eps)) - together).abs().max()
            largest = together.abs().max()
            tolerance = 1e-4 * largest + (16 * magnified).minimum(0.01 * largest)
            return bool(((together - apart).abs() > tolerance).any())
    finally:
        for part, attributes in plain:
            vars(part).update(attributes)
