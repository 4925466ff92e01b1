"""Pairs of latents and ways between them, and which of the distances found there are kept."""

from typing import Literal

import torch
from torch import Tensor

from orthogen.core.latent import Latent
from orthogen.core.shapes import Float
from orthogen.metrics._moves import Held, held_columns

__all__ = ["Prior", "Way", "between", "prior_draw", "trim"]

Way = Literal["slerp", "unit slerp", "linear"]
Prior = Literal["own", "normal", "unit"]


def between(
    a: Float[Tensor, "*n dim"], b: Float[Tensor, "*n dim"], t: Float[Tensor, "*#n"], way: Way
) -> Float[Tensor, "*n dim"]:
    """The points at ``t`` in [0, 1] of the ways from ``a`` to ``b``.

    slerp: with w the angle between a and b, [sin((1 - t) w) a + sin(t w) b] / sin w, which starts at a, ends at b and
    keeps the length of Gaussian latents; unit slerp: the same after both are scaled to length 1, which they keep;
    linear: (1 - t) a + t b. Where a and b are parallel a slerp is linear.

    Example:
        >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> [round(between(a, b, torch.tensor([0.5]), way).norm().item(), 3) for way in ("slerp", "linear")]
        [2.0, 1.414]
    """
    t = t[..., None]
    if way == "linear":
        return (1 - t) * a + t * b
    unit_a, unit_b = (x / x.norm(dim=-1, keepdim=True).clamp_min(1e-30) for x in (a, b))
    if way == "unit slerp":
        a, b = unit_a, unit_b
    angle = (unit_a * unit_b).sum(dim=-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    apart = sine > 1e-6
    sine = torch.where(apart, sine, 1.0)
    first = torch.where(apart, ((1 - t) * angle).sin() / sine, 1 - t)
    second = torch.where(apart, (t * angle).sin() / sine, t)
    return first * a + second * b


def prior_draw(latent: Latent, n: int, prior: Prior, held: Held, rng: torch.Generator) -> Float[Tensor, "n dim"]:
    """``n`` latents of the prior; blocks that are held come from their own, times their factor."""
    own = z = latent.sample(n, rng=rng)
    if prior != "own":
        draw = torch.randn if prior == "normal" else torch.rand
        z = draw(own.shape, generator=rng, device=rng.device).to(own)
    for name, columns in held_columns(latent, held).items():
        z[:, columns] = held[name] * own[:, columns]
    return z


def trim(values: Float[Tensor, "n"], percentiles: tuple[float, float]) -> tuple[float, float]:
    """The bounds of what is kept: the lower neighbor of the first percentile and the higher one of the second.

    Example:
        >>> trim(torch.arange(102.0), (1.0, 99.0))
        (1.0, 100.0)
    """
    ways = zip(percentiles, ("lower", "higher"), strict=True)
    low, high = (torch.quantile(values, p / 100, interpolation=way).item() for p, way in ways)
    return low, high
