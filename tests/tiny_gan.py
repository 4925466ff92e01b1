"""A GAN, images and penalties so small that whole runs fit into tests. Every habit that a run must survive is here."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.checkpoints import Run
from orthogen.core.kinds import (
    BoundRule,
    CriticBatch,
    CriticPenalty,
    Data,
    ImageSet,
    LatentPenalty,
    Model,
    StepRule,
    WeightPenalty,
)
from orthogen.core.latent import Latent


@dataclass(frozen=True)
class TinyGan(Model):
    """8 x 8 gray images; with dropout and batch norm where asked for."""

    latent: Latent = field(default_factory=lambda: og.Normal(3))
    width: int = 8
    dropout: float = 0.0
    norm: bool = False

    def build(self) -> dict[str, nn.Module]:
        norm = nn.BatchNorm1d(16) if self.norm else nn.Identity()
        generator = nn.Sequential(
            nn.Linear(self.latent.dim, 16),
            norm,
            nn.LeakyReLU(0.2),
            nn.Dropout(self.dropout),
            nn.Linear(16, 4 * self.width),
            nn.Unflatten(1, (self.width, 2, 2)),
            nn.Upsample(scale_factor=4),
            nn.Conv2d(self.width, 1, 3, padding=1),
            nn.Tanh(),
        )
        critic = nn.Sequential(
            nn.Conv2d(1, self.width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Dropout(self.dropout),
            nn.Flatten(),
            nn.Linear(16 * self.width, 1),
        )
        return {"generator": generator, "critic": critic}


class Bars(ImageSet):
    """Vertical bars, turned upside down at random."""

    channels, resolution = 1, 8

    def __init__(self, count: int) -> None:
        self.count = count
        self.pixels = torch.randint(0, 256, (count, 1, 1, 8), generator=torch.Generator().manual_seed(5))

    def __len__(self) -> int:
        return self.count

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        images = self.pixels[index].expand(-1, 1, 8, 8).to(torch.uint8)
        if rng is None:
            return images
        return torch.where(torch.rand(len(index), 1, 1, 1, generator=rng) < 0.5, images.flip(3), images)


@dataclass(frozen=True)
class BarData(Data):
    count: int = 50

    def open(self) -> ImageSet:
        return Bars(self.count)


@dataclass(frozen=True)
class Flat(LatentPenalty):
    """Mean square of every layer: a mean over samples that draws nothing."""

    def terms(self, f, z, *, state=None, rng=None, probes=None) -> dict[str, Tensor]:  # type: ignore[no-untyped-def, override]
        return {name: x.square().mean() for name, x in zip(f.layers, f(z), strict=True)}


@dataclass(frozen=True)
class Guess(LatentPenalty):
    """A learned map from images back to latents; draws noise."""

    def init(self, generator: og.Generator, data: ImageSet | None = None) -> nn.Module:
        return nn.Linear(64, generator.latent.dim)

    def terms(self, f, z, *, state=None, rng=None, probes=None) -> dict[str, Tensor]:  # type: ignore[no-untyped-def, override]
        noise = 0.1 * torch.randn(z.shape, generator=rng)
        return {f.layers[0]: (state(f(z)[0].flatten(1)) - z - noise).square().mean()}


@dataclass(frozen=True)
class Small(WeightPenalty):
    """Mean square of the first weight."""

    def __call__(self, generator, *, state=None, rng=None) -> Tensor:  # type: ignore[no-untyped-def, override]
        return next(generator.module.parameters()).square().mean()


class Anchor(nn.Module):
    """A running mean, and a learned offset."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(()))
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))


@dataclass(frozen=True)
class Anchored(CriticPenalty):
    """Logits near a running mean of themselves."""

    def init(self, generator: og.Generator, data: ImageSet | None = None, critic: nn.Module | None = None) -> nn.Module:
        return Anchor()

    def __call__(self, critic: nn.Module, batch: CriticBatch, *, state=None, rng=None) -> Tensor:  # type: ignore[no-untyped-def, override]
        with torch.no_grad():
            state.mean.lerp_(batch.real_logits.mean(), 0.1)
        return (batch.fake_logits - state.mean - state.offset).square().mean()


class BoundHalf(BoundRule):
    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        assert self.weight.grad is not None
        self.weight.grad *= 0.5
        return {"norm": self.weight.grad.norm()}

    def after(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        return {"done": 1.0}


@dataclass(frozen=True)
class Half(StepRule):
    """Halves the gradient of the first weight."""

    def bind(self, module: nn.Module) -> BoundRule:
        return BoundHalf(next(module.parameters()))


class StillBars(Bars):
    """Bars that are never turned: what a process draws for itself cannot be what another number of processes draw."""

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return super().images(index)


@dataclass(frozen=True)
class StillBarData(Data):
    def open(self) -> ImageSet:
        return StillBars(50)


def recipe(**changes: Any) -> og.Recipe:
    """A short run of the plain networks; fields may be changed."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "model": TinyGan(),
        "data": BarData(),
        "objective": og.Objective(og.NonSaturating()),
        "images": 160,
        "batch": 8,
        "checkpoint_every": 40,
        "sample_every": 80,
        "ema": 40,
    }
    return og.Recipe(**{**settings, **changes})


def means(**changes: Any) -> og.Recipe:
    """Every loss and penalty is a mean over samples, and only latents are drawn: any number of parts gives one run."""
    terms = {"flat": og.Term(Flat(), 0.1, every=2, layers=("1", "output")), "small": og.Term(Small(), 0.1)}
    settings = {"data": StillBarData(), "objective": og.Objective(og.Relativistic(), terms), "accumulate": 2}
    return recipe(**{**settings, **changes})


def everything(**changes: Any) -> og.Recipe:
    """Dropout, batch norm, accumulation, lazy, ramped, learning and remembering terms, a rule, decay and clipping."""
    terms = {
        "flat": og.Term(Flat(), 0.1, every=3, layers=("1", "7"), batch=8, start=8, ramp=60),
        "guess": og.Term(Guess(), 0.1, every=2),
        "small": og.Term(Small(), 0.1),
        "anchored": og.Term(Anchored(), 0.1, every=2),
    }
    settings: dict[str, Any] = {
        "model": TinyGan(dropout=0.2, norm=True),
        "objective": og.Objective(og.Relativistic(), terms, {"half": Half()}),
        "accumulate": 2,
        "clip": 1.0,
        "decay_from": 80,
        "precision": "bfloat16",
    }
    return recipe(**{**settings, **changes})


def digest(run: Run) -> dict[str, str]:
    """A hash of every tensor of a run's newest checkpoint, and of its numbers that are no times."""
    checkpoint = run.newest
    assert checkpoint is not None
    numbers = checkpoint.numbers()
    tensors = {**checkpoint.tensors(), **{f"average/{n}": x for n, x in checkpoint.generator_tensors().items()}}
    hashes = {name: hashlib.sha256(x.view(torch.uint8).numpy().tobytes()).hexdigest() for name, x in _flat(tensors)}
    return {**hashes, "numbers": str((numbers["images"], numbers["meter"]))}


def _flat(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    return [(name, x.contiguous().reshape(-1)) for name, x in tensors.items()]


def lines(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's log without times."""
    from orthogen.checkpoints import open_run

    return [
        {k: v for k, v in line.items() if k not in ("seconds", "speed/images_per_second")}
        for line in open_run(folder).log()
    ]
