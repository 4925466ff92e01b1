"""Channels in groups: a class's gain or bias vector as the matrix whose rows are its groups."""

import math

import torch
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["group_correlation", "group_shape", "grouped"]


def group_shape(channels: int, groups: int | None = None) -> tuple[int, int]:
    """How many groups the channels of a layer form, and how many channels there are in each.

        n_g = the largest divisor of C up to sqrt(C),   n_c = C / n_g

    A prime number of channels is a single group, whose spectral norm is the plain length of the vector.

    Args:
        channels: C.
        groups: n_g, where it is not to follow the rule.

    Raises:
        ValueError: there are no channels, or ``groups`` does not divide them.

    Reference:
        Rangwani et al., "Improving GANs for Long-Tailed Data through Group Spectral Regularization", ECCV 2022.

    Example:
        >>> [group_shape(c) for c in (64, 96, 256, 13)]
        [(8, 8), (8, 12), (16, 16), (1, 13)]
        >>> group_shape(96, groups=4)
        (4, 24)
    """
    if channels < 1:
        raise ValueError(f"group_shape({channels}): there is at least 1 channel")
    if groups is None:
        groups = next(n for n in range(math.isqrt(channels), 0, -1) if channels % n == 0)
    if groups < 1 or channels % groups:
        divisors = ", ".join(str(n) for n in range(1, channels + 1) if channels % n == 0)
        raise ValueError(f"{channels} channels cannot be cut into {groups} equal groups; give one of {divisors}")
    return groups, channels // groups


def grouped(vectors: Float[Tensor, "*batch c"], groups: int | None = None) -> Float[Tensor, "*batch n_g n_c"]:
    """The vectors as matrices; row i has the channels i n_c to (i + 1) n_c - 1.

    Example:
        >>> grouped(torch.arange(6.0))
        tensor([[0., 1., 2.],
                [3., 4., 5.]])
    """
    return vectors.unflatten(-1, group_shape(vectors.shape[-1], groups))


def group_correlation(vectors: Float[Tensor, "*batch c"], groups: int | None = None) -> Float[Tensor, "*batch n_g n_g"]:
    """How much the groups of a vector resemble one another.

        R = N(M) N(M)^T / n_g,   M = Gamma - mean(Gamma),   N: rows to length 1

    The diagonal is 1 / n_g. Entries off it near that are groups that are copies of one another up to a factor, as those
    of a collapsed class tend to be; group spectral regularization brings them down.

    Args:
        vectors: gain offsets or biases.
        groups: n_g, see `group_shape`.

    Reference:
        Rangwani et al., "Improving GANs for Long-Tailed Data through Group Spectral Regularization", ECCV 2022, as in
        the heat maps of the authors' poster.

    Example:
        >>> group_correlation(torch.tensor([3.0, 1.0, -3.0, -1.0]))
        tensor([[ 0.5000, -0.5000],
                [-0.5000,  0.5000]])
    """
    M = grouped(vectors - vectors.mean(-1, keepdim=True), groups)
    rows = torch.nn.functional.normalize(M, dim=-1)
    return rows @ rows.mT / M.shape[-2]
