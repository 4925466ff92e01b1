"""Standard errors over samples of images: of statistics that have no formula for it, and of shares."""

from collections.abc import Callable

import torch
from torch import Tensor

from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int

__all__ = ["HOW", "share", "shuffled", "split_error"]

PARTS, REPEATS = 4, 5
HOW = f"spread over {PARTS} random parts of both sets, {REPEATS} times, and at least the binomial error of shares"


def shuffled(n: int, rng: torch.Generator) -> Int[Tensor, "n"]:
    """The numbers below ``n`` in random order, on the device of ``rng``."""
    return torch.randperm(n, generator=rng, device=rng.device)


def share(of: Float[Tensor, "*k"], n: int | Int[Tensor, "*k"]) -> tuple[Float[Tensor, "*k"], Float[Tensor, "*k"]]:
    """A share of ``n`` images, smoothed, and its binomial standard error, which is never 0.

    Mean and standard deviation of the share given the count, under Jeffreys' prior: half an image more of each kind.

    Example:
        >>> [round(value.item(), 4) for value in share(torch.tensor(1.0), 100)]
        [0.995, 0.0069]
    """
    smoothed = (n * of.double() + 0.5) / (n + 1)
    return smoothed, (smoothed * (1 - smoothed) / (n + 2)).sqrt()


def split_error(
    statistic: Callable[[Tensor, Tensor], Float[Tensor, "s"]],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    least: int,
    rng: torch.Generator | None = None,
) -> Float[Tensor, "s"] | None:
    """Standard errors of ``statistic(x, y)``, a vector, over samples of both sets.

    Both are cut at random into g parts, and Var = (variance between the g statistics) / g, averaged over several cuts.
    Where the statistic depends on the number of images, all parts show it alike, and it does not matter. Needs the
    variance to fall like 1 / n, and g parts cost 1 / g of the full distances each time. A share that is 0 or 1 in all
    parts has no spread; `share` tells the least error that it may be given.

    Args:
        statistic: of parts of both sets.
        x: one set.
        y: the other.
        least: images that a part needs; there are fewer parts where the sets are small, and no error (None) where not
            even halves have as many.
        rng: of the cuts.
    """
    rng = private() if rng is None else rng

    def cut(of: Tensor) -> tuple[Tensor, ...]:
        order = shuffled(len(of), rng).to(of.device)
        return tuple(of[part] for part in order.tensor_split(parts))

    parts = min(PARTS, min(len(x), len(y)) // least)
    if parts < 2:
        return None
    variances = []
    for _ in range(REPEATS):
        found = torch.stack([statistic(a, b) for a, b in zip(cut(x), cut(y), strict=True)])
        variances.append(found.var(dim=0) / parts)
    return torch.stack(variances).mean(dim=0).sqrt()
