"""The latent spaces behind a mapping network: styles, drawn by mapping normal latents."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.latent import Blocks, Latent, Normal
from orthogen.core.rng import generator
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating

__all__ = ["Styles"]

_GROUPS = {"coarse": 4, "middle": 4}  # in StyleGAN2 layers at 4 and 8, at 16 and 32 pixels; the others are fine


@dataclass(frozen=True, init=False, eq=False)
class Styles(Blocks):
    """Styles w of normal latents: w itself, or w+, as many copies as there are layers, side by side.

    Blocks of w+: ``coarse``, the first four layers, ``middle``, the next four, and ``fine``, the others.

    Args:
        network: whose ``styles(z, label)`` maps latents to styles, and whose ``mapping.classes`` says how many classes
            there are, which are drawn uniformly.
        dim_z: width of the latents that are mapped.
        dim_w: width of a style.
        layers: 0 for w; for w+ the number of layers.
    """

    network: Any = field(repr=False)
    dim_z: int
    layers: int

    def __init__(self, network: nn.Module, dim_z: int, dim_w: int, layers: int = 0) -> None:
        widths, left = {} if layers else {"w": 1}, layers
        for name, most in {**_GROUPS, "fine": layers}.items():
            if left > 0:
                widths[name] = min(most, left)
                left -= widths[name]
        super().__init__({name: Normal(count * dim_w) for name, count in widths.items()})
        for name, value in (("network", network), ("dim_z", dim_z), ("layers", layers)):
            object.__setattr__(self, name, value)

    @property
    def space(self) -> str:
        """``"w"``, or ``"w+"`` for a style per layer."""
        return "w+" if self.layers else "w"

    @torch.no_grad()
    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """``n`` styles; in w+ all layers of a sample have the same."""
        home = self.network.mapping.w_avg
        z = torch.randn(n, self.dim_z, generator=rng, device=rng.device)
        label = None
        if classes := self.network.mapping.classes:
            label = torch.randint(classes, (n,), generator=rng, device=rng.device).to(home.device)
        with evaluating(self.network):  # in training mode, its running mean would move
            w = self.network.styles(z.to(home), label)
        return w.repeat(1, max(1, self.layers)).to(rng.device, torch.float32)

    def center(self) -> Float[Tensor, "dim"]:
        """The mean style: the span is of a coordinate less its mean."""
        return self.draw(10_000, generator(0, "center")).double().mean(dim=0).float()

    def spread(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n"]:
        """As drawn: the blocks of one sample are copies of one style."""
        return Latent.spread(self, rows)

    @property
    def span(self) -> tuple[float, float]:
        """Two standard deviations of a style's coordinate (root mean square over coordinates), around its mean as 0."""
        w = self.draw(1000, generator(0, "span"))
        deviation = w.var(dim=0).mean().sqrt().item()
        return (-2 * deviation, 2 * deviation)
