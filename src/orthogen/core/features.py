"""What an extractor sees in a set of images: feature vectors, logits, class labels and moments, streamed.

Shapes: ``n`` images, ``d`` features, ``k`` logits.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.shapes import Float, Int

__all__ = ["PARTS", "Features", "Gathering", "Moments"]

PARTS = ("moments", "vectors", "logits", "labels")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance (divided by n - 1) of feature vectors, in float64; all that a Fréchet distance reads.

    Attributes:
        n: how many vectors.
        mean: their mean.
        covariance: their covariance.
        sample: the first vectors, as many as were kept; the spread of the distance is estimated on them.

    Example:
        >>> Moments.of(torch.tensor([[0.0, 1.0], [2.0, 1.0]])).covariance
        tensor([[2., 0.],
                [0., 0.]], dtype=torch.float64)
    """

    n: int
    mean: Float[Tensor, "d"]
    covariance: Float[Tensor, "d d"]
    sample: Float[Tensor, "s d"]

    @classmethod
    def of(cls, vectors: Float[Tensor, "n d"]) -> "Moments":
        """The moments of vectors held in memory."""
        n = len(vectors)
        if n < 2:
            raise ValueError(f"{n} feature vectors have no covariance; give at least 2")
        wide = vectors.double()
        mean = wide.mean(dim=0)
        centered = wide - mean
        return cls(n, mean, centered.T @ centered / (n - 1), vectors)


@dataclass(frozen=True, eq=False)
class Features:
    """A set of images as an extractor sees it. What was not gathered is None; asking for it says so.

    Attributes:
        n: how many images.
        vectors: features, float32, or float64 where given so.
        logits: class scores of the extractor, where it has any.
        labels: the class of each image.
        moments: of the vectors; made from them where they were not streamed.
    """

    n: int
    vectors: Float[Tensor, "n d"] | None = None
    logits: Float[Tensor, "n k"] | None = None
    labels: Int[Tensor, "n"] | None = None
    moments: Moments | None = None

    def __post_init__(self) -> None:
        for part in ("vectors", "logits", "labels"):
            rows = getattr(self, part)
            if rows is not None and len(rows) != self.n:
                raise ValueError(f"{len(rows)} {part} were given for {self.n} images; give one for each image")

    @classmethod
    def of(cls, given: "Features | Tensor", part: str = "vectors") -> "Features":
        """Features as they are; a bare tensor stands for one part, the vectors or the logits.

        Raises:
            TypeError: neither features nor a tensor.
            ValueError: a tensor that is not ``(n, d)``, or holds values that are not finite.

        Example:
            >>> Features.of(torch.zeros(5, 3)).n
            5
        """
        if isinstance(given, Tensor):
            if given.ndim != 2:
                raise ValueError(f"features of shape {tuple(given.shape)} were given; (images, features) is needed")
            if part == "logits":
                return cls(len(given), logits=_finite(given))
            return cls(len(given), vectors=_finite(given))
        if not isinstance(given, Features):
            raise TypeError(f"features were given as {type(given).__name__}; a tensor (images, features) is needed")
        return given

    def has(self, part: str) -> bool:
        """Whether that part can be asked for."""
        return getattr(self, part) is not None or (part == "moments" and self.vectors is not None)

    def need_vectors(self, who: str) -> Float[Tensor, "n d"]:
        """The feature vectors; ``who`` asks."""
        if self.vectors is None:
            raise ValueError(f"{who} needs the feature vectors of both sets; only part of them was gathered")
        return self.vectors

    def need_moments(self, who: str) -> Moments:
        """The moments; ``who`` asks."""
        return self.moments if self.moments is not None else Moments.of(self.need_vectors(who))

    def need_logits(self, who: str) -> Float[Tensor, "n k"]:
        """The logits; ``who`` asks."""
        if self.logits is None:
            raise ValueError(f"{who} needs class logits; use an extractor that returns (features, logits)")
        return self.logits

    def need_labels(self, who: str) -> Int[Tensor, "n"]:
        """The class labels; ``who`` asks."""
        if self.labels is None:
            raise ValueError(f"{who} needs the class of each image; give Features(..., labels=...) for both sets")
        return self.labels

    def take(self, index: Int[Tensor, "m"]) -> "Features":
        """Some of the images; moments are made anew from their vectors."""

        def rows(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index.to(tensor.device)]

        return Features(len(index), rows(self.vectors), rows(self.logits), rows(self.labels))


def _finite(tensor: Tensor) -> Tensor:
    bad = int((~tensor.isfinite().all(dim=1)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(tensor)} rows of features are not finite; leave these images out")
    return tensor


class Gathering:
    """Collects what an extractor says batch by batch, and keeps no more than asked for.

    With moments alone the memory does not grow with the number of images: batches are merged into mean and covariance
    in float64 (Chan, Golub and LeVeque's update), and the first ``sample`` vectors are kept.

    Args:
        parts: some of `PARTS`.
        sample: vectors kept beside streamed moments.

    Example:
        >>> x = torch.randn(100, 4, dtype=torch.float64)
        >>> gathering = Gathering({"moments"})
        >>> for batch in x.split(32):
        ...     gathering.add(batch)
        >>> bool(torch.allclose(gathering.finish().moments.covariance, x.T.cov()))
        True
    """

    def __init__(self, parts: Collection[str], sample: int = 4096) -> None:
        unknown = set(parts) - set(PARTS)
        if unknown:
            raise ValueError(f"there is nothing called {', '.join(sorted(unknown))} to gather; choose from {PARTS}")
        self._parts, self._sample = frozenset(parts), sample
        self._lists: dict[str, list[Tensor]] = {"vectors": [], "logits": [], "labels": [], "sample": []}
        self._n = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    def add(
        self,
        vectors: Float[Tensor, "n d"],
        logits: Float[Tensor, "n k"] | None = None,
        labels: Int[Tensor, "n"] | None = None,
    ) -> None:
        """One more batch.

        Raises:
            ValueError: vectors that are not finite, or other than ``(n, d)``.
        """
        _finite(vectors)
        if "moments" in self._parts and "vectors" not in self._parts:
            self._stream(vectors)
            left = self._sample - self._n
            if left > 0:
                self._lists["sample"].append(vectors[:left].float().cpu().clone())
        for name, value in (("vectors", vectors), ("logits", logits), ("labels", labels)):
            if name in self._parts and value is not None:
                kept = value if name == "labels" or value.dtype == torch.float64 else value.float()
                self._lists[name].append(kept.cpu())
        self._n += len(vectors)

    def _stream(self, vectors: Tensor) -> None:
        wide = vectors.double()
        mean = wide.mean(dim=0)
        centered = wide - mean
        scatter = centered.T @ centered
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter = mean, scatter
            return
        total = self._n + len(vectors)
        step = mean - self._mean
        self._scatter += scatter
        self._scatter += torch.outer(step, step) * (self._n * len(vectors) / total)
        self._mean += step * (len(vectors) / total)

    def finish(self) -> Features:
        """Everything gathered.

        Raises:
            ValueError: fewer than two images.
        """
        if self._n < 2:
            raise ValueError(f"{self._n} images were gathered; at least 2 are needed, and some thousands to say much")
        joined = {name: torch.cat(parts) if parts else None for name, parts in self._lists.items()}
        moments = None
        if self._mean is not None and self._scatter is not None:
            covariance = (self._scatter / (self._n - 1)).cpu()
            sample = joined["sample"]
            assert sample is not None
            moments = Moments(self._n, self._mean.cpu(), covariance, sample)
        return Features(self._n, joined["vectors"], joined["logits"], joined["labels"], moments)
