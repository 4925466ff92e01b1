"""Labeled images, a classifier and a conditional GAN so small that whole runs fit into tests."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import Data, ImageSet, Model
from orthogen.core.latent import Latent


class Spots(ImageSet):
    """8 x 8 gray images of noise; class k has a bright column in place k."""

    channels, resolution = 1, 8

    def __init__(self, counts: tuple[int, ...], seed: int, noise: int) -> None:
        self.classes = tuple(f"class {i}" for i in range(len(counts)))
        self._labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        rng = torch.Generator().manual_seed(seed)
        self.pixels = torch.randint(0, noise, (len(self._labels), 1, 8, 8), generator=rng)
        self.pixels[torch.arange(len(self._labels)), 0, :, self._labels] += 255 - noise

    def __len__(self) -> int:
        return len(self._labels)

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return self.pixels[index].to(torch.uint8)

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index]


@dataclass(frozen=True)
class SpotData(Data):
    counts: tuple[int, ...] = (30, 20, 10)
    seed: int = 1
    noise: int = 128

    def open(self) -> ImageSet:
        return Spots(self.counts, self.seed, self.noise)


@dataclass(frozen=True)
class TinyClassifier(Model):
    classes: int = 3
    width: int = 4
    dropout: float = 0.1

    def build(self) -> dict[str, nn.Module]:
        network = nn.Sequential(
            nn.Conv2d(1, self.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
            nn.Conv2d(self.width, self.width, 3, padding=1),  # several channels in and out: it lies in memory otherwise
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Flatten(),
            nn.Linear(64 * self.width, self.classes),
        )
        return {"classifier": network}


class TinyConditional(nn.Module):
    """A latent and a class to 8 x 8 pixels."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes, 4)
        self.map = nn.Sequential(nn.Linear(dim + 4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.map(torch.cat([z, self.table(label)], dim=1))


class TinyProjection(nn.Module):
    """Images and classes to logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features, self.linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU()), nn.Linear(4, 1)
        self.table = nn.Embedding(classes, 4)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        h = self.features(images)
        return self.linear(h) + (self.table(labels) * h).sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class TinyClassGan(Model):
    latent: Latent = field(default_factory=lambda: og.Normal(3))
    classes: int = 3

    def build(self) -> dict[str, nn.Module]:
        return {
            "generator": TinyConditional(self.latent.dim, self.classes),
            "critic": TinyProjection(self.classes),
        }


def lesson(**changes: Any) -> og.ClassifierRecipe:
    """A short lesson with a penalty, two rules, an augmentation, a drop and tests; fields may be changed."""
    data = SpotData()
    made = og.ClassifierRecipe(
        "tiny",
        TinyClassifier(),
        data,
        replace(data, counts=(20, 20, 20), seed=2),
        images=320,
        batch=16,
        penalties={"ol": og.Term(og.SoftOrthogonality(("0",)), 0.01, every=2)},
        rules={"nog": og.NearestOrthogonalGradient(("0",)), "olr": og.OptimalLearningRate(("0",))},
        drops=(240,),
        augmentation=og.PadCrop(1, flip=False),
        checkpoint_every=80,
        test_every=64,
        ema=40,
    )
    return replace(made, **changes)


def classes(**changes: Any) -> og.Recipe:
    """A short run of the conditional GAN; fields may be changed."""
    made = og.Recipe(
        "tiny",
        TinyClassGan(),
        SpotData(),
        og.Objective(og.Hinge()),
        images=240,
        batch=8,
        checkpoint_every=80,
        sample_every=120,
    )
    return replace(made, **changes)
