"""Principal components of activations, by whichever matrix is smaller: features by features, or samples by samples.

Letters: ``n`` samples, ``dim`` latent components, ``d`` features, ``k`` principal components.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from orthogen.core.features import Gathering
from orthogen.core.shapes import Float
from orthogen.discovery._found import gram, principal_axes

__all__ = ["Components", "components"]

LARGEST = 10_000  # side of a matrix in double precision that takes 0.8 GB

Batches = Iterable[tuple[Tensor, Tensor]]
Choose = Callable[[Tensor], int]


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of activations y, and how they vary together with the latents z; double precision.

    Attributes:
        variances: of the coordinates along the axes, largest first.
        axes: unit rows; the largest entry of each is positive.
        across: covariance of z with these coordinates.
        latent: covariance of z.
    """

    variances: Float[Tensor, "k"]
    axes: Float[Tensor, "k d"]
    across: Float[Tensor, "dim k"]
    latent: Float[Tensor, "dim dim"]


def components(batches: Batches, samples: int, choose: Choose, layer: str) -> Components:
    """The components of ``samples`` activations.

        features are the fewer:  C = Y^T Y / (n - 1) = V^T diag(s²) V
        samples are the fewer:   K = Y Y^T / (n - 1) = A diag(s²) A^T,   V = diag(1 / (s sqrt(n - 1))) A^T Y

    with Y the centered activations. Both give the same V. C is streamed, so that memory does not grow with the samples;
    for K the activations are held, in their own precision, on the CPU.

    Args:
        batches: latents ``(n, dim)`` and their activations ``(n, d)``.
        samples: how many there are in all.
        choose: how many components to keep, given the variances of all.
        layer: whose activations they are.

    Raises:
        ValueError: both matrices are too large.
    """
    arriving = iter(batches)
    first = next(arriving)
    features = first[1].shape[1]
    if min(features, samples) > LARGEST:
        raise ValueError(
            f"GanSpace(samples={samples}): layer {layer!r} has {features} features, and the smaller of both numbers is "
            f"at most {LARGEST}; give fewer samples, or name a smaller layer"
        )
    every = chain([first], arriving)
    return _by_features(every, choose) if features <= samples else _by_samples(every, samples, features, choose)


def _by_features(batches: Iterator[tuple[Tensor, Tensor]], choose: Choose) -> Components:
    gathering, dim = Gathering({"moments"}, sample=1), 0
    for z, y in batches:
        gathering.add(torch.cat([z, y.to(z)], dim=1))
        dim = z.shape[1]
    moments = gathering.finish().moments
    assert moments is not None
    covariance = moments.covariance
    axes, variances = principal_axes(covariance[dim:, dim:], len(covariance) - dim)
    k = choose(variances)
    return Components(variances[:k], axes[:k], covariance[:dim, dim:] @ axes[:k].mT, covariance[:dim, :dim])


def _by_samples(batches: Iterator[tuple[Tensor, Tensor]], samples: int, features: int, choose: Choose) -> Components:
    latents, Y, start = [], torch.empty(0), 0
    for z, y in batches:
        Y = Y if start else torch.empty(samples, features, dtype=y.dtype)
        Y[start : start + len(y)] = y.cpu()
        latents.append(z.cpu().double())
        start += len(y)
    Y -= Y.mean(dim=0, dtype=torch.float64).to(Y)
    Z = torch.cat(latents)
    Z -= Z.mean(dim=0)
    n = len(Z) - 1
    A, variances = principal_axes(gram(Y) / n, samples)
    k = choose(variances)
    A, variances = A[:k], variances[:k]
    axes = (A.to(Y) @ Y).double() / (variances * n).sqrt().unsqueeze(1)
    signs = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    coordinates = signs * A * (variances * n).sqrt().unsqueeze(1)
    return Components(variances, signs * axes, (coordinates @ Z / n).mT, Z.mT @ Z / n)
