"""Which images an epoch of training shows, and in which order: all alike, or rare classes more often."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.long_tail import effective_numbers
from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int

__all__ = ["ClassBalanced", "EffectiveNumber", "Sampling", "Shuffled", "round_robin", "weighted_order"]


class Sampling(ABC):
    """A way through a set of images, epoch by epoch. An epoch always shows as many images as the set has."""

    needs_labels: bool = True

    @abstractmethod
    def order(
        self, n: int, labels: Int[Tensor, "n"] | None = None, *, rng: torch.Generator | None = None
    ) -> Int[Tensor, "n"]:
        """The indices of one epoch; with generators in the same state, the same ones.

        Args:
            n: how many images the set has.
            labels: the class of each, where ``needs_labels``.
            rng: what decides, on the CPU.

        Raises:
            ValueError: labels are needed and there are none.
        """


@dataclass(frozen=True)
class Shuffled(Sampling):
    """Every image once an epoch, in random order.

    Example:
        >>> Shuffled().order(5, rng=torch.Generator().manual_seed(0)).sort().values.tolist()
        [0, 1, 2, 3, 4]
    """

    needs_labels = False

    def order(
        self, n: int, labels: Int[Tensor, "n"] | None = None, *, rng: torch.Generator | None = None
    ) -> Int[Tensor, "n"]:
        """A permutation of all images."""
        return torch.randperm(n, generator=private() if rng is None else rng)


@dataclass(frozen=True)
class EffectiveNumber(Sampling):
    """Images of rare classes more often: each is shown in proportion to 1 / E of its class.

        times an image of class y is shown = n (1 / E_y) / sum_k (n_k / E_k),    E_y = (1 - beta^n_y) / (1 - beta)

    on average; within an epoch this is rounded up or down at random, for each image and for each class, so that its
    classes have their shares up to one image. All classes are shown alike often for beta = 1 (`ClassBalanced`), and all
    images for beta = 0 (`Shuffled`).

    Attributes:
        beta: of the effective number E of images of a class, 0 to 1.

    Raises:
        ValueError: beta is outside [0, 1].

    Reference:
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019).

    Example:
        >>> labels = torch.tensor([0] * 90 + [1] * 10)
        >>> [labels[EffectiveNumber(beta).order(100, labels)].bincount().tolist() for beta in (0.0, 1.0)]
        [[90, 10], [50, 50]]
    """

    beta: float = 0.999

    def __post_init__(self) -> None:
        effective_numbers([1], self.beta)  # refuses a beta that is none

    def order(
        self, n: int, labels: Int[Tensor, "n"] | None = None, *, rng: torch.Generator | None = None
    ) -> Int[Tensor, "n"]:
        """``n`` images, rare ones several times."""
        return _by_effective_numbers(self, labels, self.beta, rng)


@dataclass(frozen=True)
class ClassBalanced(Sampling):
    """All classes alike often, up to one image an epoch; images of a rare class are repeated.

    Example:
        >>> labels = torch.tensor([0] * 90 + [1] * 10)
        >>> order = ClassBalanced().order(100, labels)
        >>> labels[order].bincount().tolist(), order[labels[order] == 1].bincount()[90:].tolist()
        ([50, 50], [5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
    """

    def order(
        self, n: int, labels: Int[Tensor, "n"] | None = None, *, rng: torch.Generator | None = None
    ) -> Int[Tensor, "n"]:
        """``n`` images, rare ones several times."""
        return _by_effective_numbers(self, labels, 1.0, rng)


def _by_effective_numbers(who: Sampling, labels: Tensor | None, beta: float, rng: torch.Generator | None) -> Tensor:
    if labels is None:
        raise ValueError(f"{who} needs class labels, and this data has none; give labeled data, or Shuffled()")
    counts = labels.bincount().clamp(min=1)  # of a class that is absent nothing is shown, whatever its weight
    return weighted_order(labels, effective_numbers(counts, beta).reciprocal(), rng=rng)


def weighted_order(
    labels: Int[Tensor, "n"], weights: Float[Tensor, "classes"], *, rng: torch.Generator | None = None
) -> Int[Tensor, "n"]:
    """As many images as there are, each in proportion to the weight of its class, in random order.

    By systematic sampling: images stand in a row, class by class, each as long as it should be shown often on average;
    marks at distance 1 from a random start say which are shown. So no image and no class is shown more than one time
    more or less than it should be.

    Args:
        labels: the class of each image.
        weights: of one image of each class.
        rng: what decides.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> weighted_order(labels, torch.tensor([1.0, 3.0])).sort().values[-2:].tolist()
        [3, 3]
    """
    rng = private() if rng is None else rng
    shuffled = torch.randperm(len(labels), generator=rng)
    row = shuffled[labels[shuffled].argsort(stable=True)]
    ends = weights.double()[labels[row]].cumsum(0)
    ends = ends * (len(labels) / ends[-1])
    ends[-1] = len(labels)  # whatever rounding did
    marks = torch.arange(len(labels)) + torch.rand((), generator=rng, dtype=torch.float64)
    shown = row[torch.searchsorted(ends, marks, right=True).clamp(max=len(row) - 1)]
    return shown[torch.randperm(len(shown), generator=rng)]


def round_robin(labels: Int[Tensor, "n"]) -> Int[Tensor, "m"]:
    """Images of the classes in turn, as many of each as the rarest has: the first of every class, then the second, ...

    This is the order in which group spectral regularization's code evaluates; any first part of it is as balanced as
    it can be.

    Args:
        labels: the class of each image; classes that none has are passed over.

    Example:
        >>> round_robin(torch.tensor([0, 0, 1, 1, 1])).tolist()
        [0, 2, 1, 3]
    """
    counts = [count for count in labels.bincount().tolist() if count]
    members = labels.argsort(stable=True).split(counts)
    return torch.stack([each[: min(counts)] for each in members], dim=1).flatten() if counts else labels
