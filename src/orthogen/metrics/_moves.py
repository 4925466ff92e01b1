"""What the metrics along directions share: the directions, moved latents, and what they refuse."""

import torch

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap
from orthogen.core.shapes import Float

__all__ = ["directions_of", "refuse_not_finite", "refuse_seeing_each_other", "replaced"]


def directions_of(metric: LatentMetric, generator: Generator, directions: Directions | None) -> Directions:
    """The directions to measure along: those given, or the latent's own coordinates.

    Raises:
        ValueError: they are of another width than the latent, there is none, or one has no length.
    """
    name, dim = type(metric).__name__, generator.latent.dim
    if directions is None:
        return Directions.coordinates(dim)
    if directions.basis.shape[1] != dim:
        raise ValueError(
            f"{name}: the directions are {directions.basis.shape[1]} wide, the latent is {dim} wide; "
            "fit directions on this generator"
        )
    if not len(directions):
        raise ValueError(f"{name} was given no directions; give at least one, or None for the latent's coordinates")
    length = directions.basis.norm(dim=1)
    bad = (~(length.isfinite() & (length > 0))).nonzero()
    if len(bad):
        raise ValueError(f"{name}: direction {directions.names[int(bad[0])]!r} is zero or not finite; leave it out")
    return directions


def refuse_seeing_each_other(metric: LatentMetric, f: LatentMap, z: Float[torch.Tensor, "n dim"]) -> None:
    """Refuse a generator in which the derivative of one sample is not its own.

    Raises:
        ValueError: its samples see each other, or draw alike, or are not finite.
    """
    if not f.separable(z):
        refuse_not_finite(metric, f(z[:2])[0])
        raise ValueError(
            f"{type(metric).__name__} takes one sample at a time, and this generator's samples see each other "
            "(batch statistics) or draw alike (dropout, noise); call generator.module.eval(), or fix the noise"
        )


def refuse_not_finite(metric: LatentMetric, values: torch.Tensor) -> None:
    """Refuse what was measured on images that are not finite.

    Raises:
        ValueError: the values are not.
    """
    if not values.isfinite().all():
        raise ValueError(
            f"{type(metric).__name__}: the generator's images are not finite at some latents; use an earlier checkpoint"
        )


def replaced(
    z: Float[torch.Tensor, "n dim"], direction: Float[torch.Tensor, "dim"], to: float
) -> Float[torch.Tensor, "n dim"]:
    """``z`` with its component along ``direction`` replaced by ``to`` (for an axis: that coordinate set to ``to``).

    Example:
        >>> replaced(torch.tensor([[5.0, 7.0]]), torch.tensor([0.0, 1.0]), -2.0)
        tensor([[ 5., -2.]])
    """
    along = (z @ direction) / direction.square().sum()
    return z + (to - along)[:, None] * direction
