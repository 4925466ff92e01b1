"""What StyleGAN2 and StyleGAN3 share: the mapping network, and a generator that is mapping and synthesis."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.generator import Generator, adapt
from orthogen.core.latent import Normal
from orthogen.core.shapes import Float, Int
from orthogen.layers.equalized import EqualizedLinear, scaled_leaky_relu
from orthogen.models._styles import Styles

__all__ = ["MappingNetwork", "StyledGenerator", "in_space"]


def _normalized(x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Every row divided by its root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z, and a class where there are any, to a style w. In training mode ``w_avg`` follows the mean style.

    Args:
        dim_z: width of z.
        dim_w: width of w.
        layers: how many there are.
        lr_multiplier: of their learning rate.
        classes: class labels are taken if positive.
        rate: with which ``w_avg`` follows, per training batch.
    """

    w_avg: Tensor

    def __init__(self, dim_z: int, dim_w: int, layers: int, lr_multiplier: float, classes: int, *, rate: float) -> None:
        super().__init__()
        self.dim_z, self.layers, self.classes, self.rate = dim_z, layers, classes, rate
        if classes:
            self.embed = EqualizedLinear(classes, dim_w)
        width = dim_z + (dim_w if classes else 0)
        for i in range(layers):
            self.add_module(f"fc{i}", EqualizedLinear(width if i == 0 else dim_w, dim_w, lr_multiplier))
        self.register_buffer("w_avg", torch.zeros(dim_w))

    def forward(
        self, z: Float[Tensor, "batch dim"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch dim_w"]:
        """Styles, not truncated.

        Raises:
            ValueError: labels for a network without classes, or none for one with classes.
        """
        if (label is not None) != bool(self.classes):
            takes = f"takes label=, one of {self.classes} classes per sample" if self.classes else "has no classes"
            raise ValueError(f"{'no label was' if label is None else 'labels were'} given; this generator {takes}")
        x = _normalized(z)
        if label is not None:
            one_hot = F.one_hot(label, self.classes).to(x.dtype)
            x = torch.cat([x, _normalized(self.embed(one_hot))], dim=1)
        for i in range(self.layers):
            x = scaled_leaky_relu(self.get_submodule(f"fc{i}")(x))
        if self.training:
            with torch.no_grad():
                self.w_avg.lerp_(x.mean(dim=0).to(self.w_avg), self.rate)
        return x


class StyledGenerator(nn.Module):
    """The mapping network, then the synthesis network.

    Args:
        mapping: z to styles.
        synthesis: styles ``(batch, layers, dim_w)`` to images; it says how many ``layers`` take one.
        truncation: psi, with which styles are pulled towards their mean.
    """

    def __init__(self, mapping: MappingNetwork, synthesis: Any, truncation: float) -> None:
        super().__init__()
        self.truncation = truncation
        self.mapping, self.synthesis = mapping, synthesis

    def styles(
        self, z: Float[Tensor, "batch dim"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch dim_w"]:
        """Styles w, pulled towards their mean by the truncation."""
        w = self.mapping(z, label)
        return w if self.truncation == 1 else self.mapping.w_avg + self.truncation * (w - self.mapping.w_avg)

    def draw(self, w: Float[Tensor, "batch _"]) -> Float[Tensor, "batch c h w"]:
        """Images of styles: one for all layers (w), or one for each, side by side (w+)."""
        dim, layers = len(self.mapping.w_avg), self.synthesis.layers
        every = w[:, None].expand(-1, layers, -1) if w.shape[1] == dim else w.unflatten(1, (layers, dim))
        return self.synthesis(every)

    def forward(
        self, z: Float[Tensor, "batch dim"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch c h w"]:
        """Images, mostly in [-1, 1]."""
        return self.draw(self.styles(z, label))


def _draw(module: Any, w: Tensor) -> Tensor:
    return module.draw(w)


def in_space(generator: StyledGenerator, space: str) -> Generator:
    """The `Generator` on latents z, on styles w or on w+, one style for each layer."""
    dim_z, dim_w = generator.mapping.dim_z, len(generator.mapping.w_avg)
    if space == "z":
        return adapt(generator, latent=Normal(dim_z), classes=generator.mapping.classes)
    layers = generator.synthesis.layers if space == "w+" else 0
    return adapt(generator, latent=Styles(generator, dim_z, dim_w, layers), call=_draw)
