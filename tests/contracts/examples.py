"""One small member of each kind that the package has none of yet, so that its contract is run from the start."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.features import Features
from orthogen.core.kinds import BoundRule, Data, ImageMetric, ImageSet, StepRule, WeightPenalty


@dataclass(frozen=True)
class Stretch(WeightPenalty):
    """|W u|² of the first matrix, for a vector u that is remembered."""

    @staticmethod
    def matrix(generator: og.Generator) -> Tensor:
        for parameter in generator.module.parameters():
            if parameter.ndim > 1:
                return parameter.flatten(1)
        raise ValueError("Stretch: the generator has no matrix; give one with a linear layer")

    def init(self, generator: og.Generator, data: ImageSet | None = None) -> nn.Module:
        weight = self.matrix(generator)
        memory = nn.Module()
        memory.register_buffer("u", torch.randn(weight.shape[1]).to(weight))
        return memory

    def __call__(self, generator, *, state=None, rng=None) -> Tensor:  # type: ignore[no-untyped-def, override]
        return (self.matrix(generator) @ state.u).square().sum()


class BoundHalf(BoundRule):
    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights

    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        for weight in self.weights:
            if weight.grad is not None:
                weight.grad.mul_(0.5)
        return {"halved": float(len(self.weights))}


@dataclass(frozen=True)
class Half(StepRule):
    """Halves some gradients."""

    pattern: str = r"weight$"

    def bind(self, module: nn.Module) -> BoundRule:
        weights = [p for name, p in module.named_parameters() if re.search(self.pattern, name)]
        if not weights:
            raise ValueError(f"Half: no parameter matches {self.pattern!r}; give a pattern of names")
        return BoundHalf(weights)


@dataclass(frozen=True)
class MeanGap(ImageMetric):
    """The squared distance of the means."""

    def __call__(self, real, fake, *, rng=None) -> og.Score:  # type: ignore[no-untyped-def, override]
        x, y = (Features.of(each).need_vectors("MeanGap") for each in (real, fake))
        return og.Score((x.mean(0) - y.mean(0)).square().sum().item(), n=len(y), name="mean gap")


class Striped(ImageSet):
    """Stripes of a width that the class says, at a place that the index says."""

    def __init__(self, each: int, classes: int) -> None:
        self.channels, self.resolution, self._each = 3, 32, each
        self.classes = tuple(f"{2 * label + 2} wide" for label in range(classes))

    def __len__(self) -> int:
        return self._each * len(self.classes)

    def labels(self, index: Tensor) -> Tensor:
        return index % len(self.classes)

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        if len(index) and not (0 <= int(index.min()) and int(index.max()) < len(self)):
            raise ValueError(f"there are {len(self)} images")
        at = torch.arange(32) + (index // len(self.classes))[:, None] // 64
        stripes = (at // (2 * self.labels(index) + 2)[:, None] % 2)[:, None, None] * 180
        shade = torch.stack([(index // len(self.classes)) % 64, index % 7, index % 5], dim=1)[:, :, None, None]
        return (stripes + shade).expand(-1, 3, 32, -1).to(torch.uint8)


@dataclass(frozen=True)
class Stripes(Data):
    """Images with class labels, equally many of each class, one class after the other in turn."""

    each: int = 200
    classes: int = 4

    def open(self) -> ImageSet:
        return Striped(self.each, self.classes)
