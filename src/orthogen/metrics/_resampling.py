"""The standard error of a statistic of two sets that has no formula for it: its spread over parts of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["HOW", "split_error"]

PARTS, REPEATS = 4, 5
HOW = f"spread over {PARTS} random parts of both sets, {REPEATS} times"


def split_error(
    statistic: Callable[[Tensor, Tensor], Float[Tensor, "s"]],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    least: int,
    rng: torch.Generator | None = None,
) -> list[float | None]:
    """Standard errors of ``statistic(x, y)``, a vector, over samples of both sets.

    Both are cut at random into g parts, and Var = (variance between the g statistics) / g, averaged over several cuts.
    Where the statistic depends on the number of images, all parts show it alike, and it does not matter. Needs the
    variance to fall like 1 / n, and g parts cost 1 / g of the full distances each time.

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
        order = torch.randperm(len(of), generator=rng).to(of.device)
        return tuple(of[part] for part in order.tensor_split(parts))

    parts = min(PARTS, min(len(x), len(y)) // least)
    if parts < 2:
        return [None] * len(statistic(x[:least], y[:least]))
    variances = []
    for _ in range(REPEATS):
        found = torch.stack([statistic(a, b) for a, b in zip(cut(x), cut(y), strict=True)])
        variances.append(found.var(dim=0) / parts)
    return torch.stack(variances).mean(dim=0).sqrt().tolist()
