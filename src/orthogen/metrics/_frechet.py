"""The Fréchet distance of two normal distributions: its value, its standard error and its bias."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.features import Moments
from orthogen.core.kinds import ImageMetric
from orthogen.core.shapes import Bool, Float

__all__ = ["Frechet", "FrechetMetric", "distance", "frechet", "root"]

SEEN = 4096  # vectors that the standard error is estimated on: it is then known to 1 or 2 %


class FrechetMetric(ImageMetric):
    """A distance of covariances, which few images do not determine; `PerClass` refuses it to small classes."""


@dataclass(frozen=True)
class Frechet:
    """A distance, with what is known about its errors.

    Attributes:
        value: the squared distance.
        stderr: over samples of the generated images, with the reference held fixed.
        means: the part of the value that the means make.
        bias: what the finite number of generated images adds to the value, on average.
        reference_bias: what the finite number of real images adds.
    """

    value: float
    stderr: float
    means: float
    bias: float
    reference_bias: float


def _above_rounding(eigenvalues: Float[Tensor, "r"]) -> Bool[Tensor, "r"]:
    """Which of some ascending eigenvalues are more than rounding."""
    return eigenvalues > len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues[-1:].clamp_min(0.0)


def root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d r"]:
    """A factor L with L L^T the covariance: Cholesky's, or scaled eigenvectors where it is singular."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return factor
    values, vectors = torch.linalg.eigh(covariance)
    kept = _above_rounding(values)
    return vectors[:, kept] * values[kept].sqrt()


def distance(real: Moments, fake: Moments, factor: Float[Tensor, "d r"] | None = None) -> float:
    """The squared distance |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2.

    The trace of the root is the sum of the roots of the eigenvalues of L^T S2 L, a symmetric matrix: no root of a
    matrix is taken, and there are no complex parts. Roots of what rounding makes of zero eigenvalues would add up, so
    these are left out.

    Args:
        real: of the reference.
        fake: of the generated images.
        factor: `root` of the reference's covariance, where it is known.
    """
    factor = root(real.covariance) if factor is None else factor
    eigenvalues = torch.linalg.eigvalsh(factor.T @ fake.covariance @ factor)
    shared = eigenvalues[_above_rounding(eigenvalues)].sqrt().sum()
    apart = (real.mean - fake.mean).square().sum()
    return (apart + real.covariance.trace() + fake.covariance.trace() - 2 * shared).item()


def frechet(real: Moments, fake: Moments) -> Frechet:
    """The distance with its errors.

    With L L^T = S1, V diag(s^2) V^T = L^T S2 L and A = L V diag(1/s) V^T L^T, the distance changes to first order by

        psi(x) = 2 (m2 - m1)^T (x - m2) + (x - m2)^T (I - A) (x - m2) - tr (I - A) S2

    per weight given to a generated image x, and the infinitesimal jackknife's standard error is std(psi) / sqrt(n).
    Its second-order change, averaged over n normal features, is the bias

        [ tr S + sum_ij s_i s_j / (s_i + s_j) / 2 + sum_i s_i / 4 ] / n

    of each of the two sets. Features that are not normal, and spectra of few images, make it an estimate.
    """
    factor = root(real.covariance)
    eigenvalues, vectors = torch.linalg.eigh(factor.T @ fake.covariance @ factor)
    kept = _above_rounding(eigenvalues)
    s, gap = eigenvalues[kept].sqrt(), fake.mean - real.mean
    means, spreads = gap.square().sum(), (real.covariance.trace(), fake.covariance.trace())
    value = (means + sum(spreads) - 2 * s.sum()).clamp_min(0.0)

    every = -(-len(fake.sample) // SEEN)
    x = fake.sample[::every].double() - fake.mean
    across = x @ (factor @ vectors[:, kept] / s.sqrt())
    psi = 2 * x @ gap + x.square().sum(dim=1) - across.square().sum(dim=1)

    curved = (s[:, None] * s / (s[:, None] + s)).sum() / 2 + s.sum() / 4
    return Frechet(
        value.item(),
        stderr=(psi.std() / fake.n**0.5).item(),
        means=means.item(),
        bias=((spreads[1] + curved) / fake.n).item(),
        reference_bias=((spreads[0] + curved) / real.n).item(),
    )
