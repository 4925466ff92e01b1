"""An encoder and a decoder so small that whole runs fit into tests."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import LatentPenalty, Model
from orthogen.core.latent import Latent
from tiny_gan import BarData, Half, Small, StillBarData


class TinyEncoder(nn.Module):
    """8 x 8 pixels to mean and log variance."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 2 * dim)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.layers(images).chunk(2, dim=1)
        return mean, log_variance


@dataclass(frozen=True)
class TinyVae(Model):
    latent: Latent = field(default_factory=lambda: og.Normal(3))
    dropout: float = 0.0

    def adapt(self, generator: nn.Module) -> og.Generator:
        return og.adapt(generator, self.latent, call=lambda m, z: torch.tanh(m(z) / 2))

    def build(self) -> dict[str, nn.Module]:
        decoder = nn.Sequential(
            nn.Linear(self.latent.dim, 16), nn.ReLU(), nn.Linear(16, 64), nn.Unflatten(1, (1, 8, 8))
        )
        return {"generator": decoder, "encoder": TinyEncoder(self.latent.dim, self.dropout)}


@dataclass(frozen=True)
class Wide(LatentPenalty):
    """Mean square of every layer at latents twice as far out: a mean over samples that draws nothing."""

    def terms(self, f, z, *, state=None, rng=None, probes=None) -> dict[str, Tensor]:  # type: ignore[no-untyped-def, override]
        return {name: x.square().mean() for name, x in zip(f.layers, f(2 * z), strict=True)}


def recipe(**changes: Any) -> og.VaeRecipe:
    """A short run by the bound alone; fields may be changed."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "model": TinyVae(),
        "data": BarData(),
        "images": 160,
        "batch": 8,
        "checkpoint_every": 40,
        "sample_every": 80,
    }
    return og.VaeRecipe(**{**settings, **changes})


def means(**changes: Any) -> og.VaeRecipe:
    """Losses and penalties are means over samples, and only codes and latents are drawn: any parts give one run."""
    terms = {"wide": og.Term(Wide(), 0.1, every=2, layers=("1", "output")), "small": og.Term(Small(), 0.1)}
    return recipe(**{"data": StillBarData(), "penalties": terms, "accumulate": 2, "elbo": og.Elbo(2.0), **changes})


def everything(**changes: Any) -> og.VaeRecipe:
    """Dropout, an average, accumulation, lazy, ramped, drawing and learning terms, a rule, clipping and bfloat16."""
    terms = {
        "orojar": og.Term(og.OroJaR(), 0.1, every=3, layers=("0", "2"), batch=4, start=8, ramp=60),
        "vp": og.Term(og.VariationPredictability(), 2.0, every=2),
        "small": og.Term(Small(), 0.1),
    }
    settings: dict[str, Any] = {
        "model": TinyVae(dropout=0.2),
        "elbo": og.Elbo(1.0, total_correlation=3.0),
        "penalties": terms,
        "pair_source": "posterior",
        "rules": {"half": Half()},
        "accumulate": 2,
        "clip": 5.0,
        "ema": 40,
        "precision": "bfloat16",
    }
    return recipe(**{**settings, **changes})
