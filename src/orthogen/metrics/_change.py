"""What changes from one image to another, as a reader of factors or a classifier sees it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core import record
from orthogen.core.functions import described, networks
from orthogen.core.generator import first_tensor
from orthogen.core.kinds import Data, FactorSet
from orthogen.core.shapes import Float, Int

__all__ = ["Change", "ClassChange", "FactorChange"]


class Change(ABC):
    """Reads images, and compares what was read."""

    reader: Mapping[str, Any]  # what reads, for the protocol
    networks: Sequence[nn.Module] = ()  # that it reads with
    columns: str  # what is read: factors or classes
    names: Sequence[str] = ()

    @abstractmethod
    def read(self, images: Float[Tensor, "n c h w"]) -> Tensor:
        """What the images show, on the CPU."""

    @abstractmethod
    def between(self, before: Tensor, after: Tensor) -> Float[Tensor, "n k"]:
        """How much of each factor or class differs, in double precision."""

    @abstractmethod
    def total(self, changes: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
        """All change of a row."""

    def notes(self) -> dict[str, Any]:
        """What else there is to say about the reading."""
        return {}


class FactorChange(Change):
    """1 for each factor that is read differently, up to the symmetries of the set."""

    columns = "factors"

    def __init__(self, factors: FactorSet, data: Data | None = None) -> None:
        self._factors = factors
        self.names = tuple(factors.factor_names)
        self.reader = {"name": f"{type(factors).__name__}.read_factors", "resolution": factors.resolution}
        if data is not None:
            self.reader["data"] = record.to_json(data)
        self._confidence, self._images = torch.zeros(len(self.names), dtype=torch.float64), 0

    def read(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, "n k"]:
        """The factor classes.

        Raises:
            ValueError: these are no images.
        """
        if images.ndim != 4:
            raise ValueError(
                f"Leakage reads factors off images (n, c, h, w), and the generator gives {tuple(images.shape)}"
            )
        values, confidence = self._factors.read_factors(images.float().cpu())
        self._confidence += confidence.double().sum(dim=0)
        self._images += len(images)
        return values

    def between(self, before: Int[Tensor, "n k"], after: Int[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """In either order: a square's orientation tells less than a heart's, whichever of them comes first."""
        same = self._factors.same(before, after) | self._factors.same(after, before)
        return (~same).double()

    def total(self, changes: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
        """Their sum."""
        return changes.sum(dim=1)

    def notes(self) -> dict[str, Any]:
        """The reader's mean confidence."""
        return {"reader_confidence": (self._confidence / max(1, self._images)).tolist()}


class ClassChange(Change):
    """The change of each class's probability; the total variation in all."""

    columns = "classes"

    def __init__(self, classifier: Callable[[Tensor], Any]) -> None:
        self._classifier = classifier
        self.reader, self.networks = described(classifier), networks(classifier)

    def read(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The probabilities."""
        logits = first_tensor(self._classifier(images), "the classifier")
        if logits.ndim != 2 or len(logits) != len(images) or logits.shape[1] < 2:
            raise ValueError(
                f"Leakage: the classifier gives {tuple(logits.shape)} for {len(images)} images; logits of shape "
                "(images, classes), of two classes or more, are needed"
            )
        if not logits.isfinite().all():
            raise ValueError("Leakage: the classifier's logits are not finite for some images; check its input range")
        self.names = tuple(map(str, range(logits.shape[1])))
        return logits.double().softmax(dim=1).cpu()

    def between(self, before: Float[Tensor, "n k"], after: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """How much more, or less, probable each class is."""
        return (after - before).abs()

    def total(self, changes: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
        """What one class gains another loses: half their sum."""
        return changes.sum(dim=1) / 2
