"""The networks of `VcGenerator`: a list of modules on a learned constant, and a critic."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.shapes import Float, Int
from orthogen.layers.equalized import EqualizedConv2d, EqualizedLinear, scaled_leaky_relu
from orthogen.layers.fir import FilteredDown, FilteredUp
from orthogen.layers.modulated_conv import modulated_conv2d
from orthogen.layers.residual_encoder import ResidualEncoder
from orthogen.models._residual import checked_labels
from orthogen.models._vc_modules import CHANNELS, SIDE, Layer

__all__ = ["VcCritic", "VcNetwork"]

HIDDEN = 128  # of the networks that gate coordinates, or read them


class Convolution(nn.Module):
    """A 3x3 convolution and its activation: Conv-up, Conv-id, Conv-down."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        convolve = {"Conv-up": FilteredUp, "Conv-down": FilteredDown}.get(layer.kind, lambda: None)()
        self.conv = EqualizedConv2d(layer.before, layer.after, 3, gain=1.0, convolve=convolve)

    def forward(
        self, x: Float[Tensor, "batch c h w"], z: Float[Tensor, "batch dim"], classes: Float[Tensor, "batch k"]
    ) -> Float[Tensor, "batch c2 h2 w2"]:
        """Feature maps, whatever latent and class are."""
        return scaled_leaky_relu(self.conv(x))


class Noise(nn.Module):
    """A 3x3 convolution with noise before its activation: one map of N(0, 1), times a learned strength.

    ``independent`` noise is drawn anew in training mode; otherwise it is that of the buffer.
    """

    noise_const: Tensor

    def __init__(self, layer: Layer, *, independent: bool) -> None:
        super().__init__()
        self.independent = independent
        self.conv = EqualizedConv2d(layer.before, layer.after, 3, gain=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(layer.side, layer.side))

    def forward(
        self, x: Float[Tensor, "batch c h w"], z: Float[Tensor, "batch dim"], classes: Float[Tensor, "batch k"]
    ) -> Float[Tensor, "batch c2 h w"]:
        """Feature maps, whatever latent and class are."""
        noise = torch.randn_like(x[:, :1]) if self.independent and self.training else self.noise_const
        return scaled_leaky_relu(self.conv(x) + noise * self.noise_strength)


class Gate(nn.Module):
    """How much each coordinate of a C_global matters to a class, in (0, 1)."""

    def __init__(self, classes: int, coordinates: int) -> None:
        super().__init__()
        self.hidden, self.out = EqualizedLinear(classes, HIDDEN), EqualizedLinear(HIDDEN, coordinates)

    def forward(self, classes: Float[Tensor, "batch k"]) -> Float[Tensor, "batch n"]:
        """One factor for each coordinate."""
        return self.out(scaled_leaky_relu(self.hidden(classes))).sigmoid()


class Global(nn.Module):
    """A modulated 3x3 convolution and its activation; the style is an affine function of what drives it.

    That is a few coordinates, behind a gate where there are classes (C_global); a hidden layer on them
    (C_nocond_global); or the class (D_global).
    """

    def __init__(self, layer: Layer, classes: int) -> None:
        super().__init__()
        self.columns, self.by_class = layer.columns, layer.kind == "D_global"
        width = classes if self.by_class else layer.columns.stop - layer.columns.start
        gated, read = layer.kind == "C_global" and classes > 0, layer.kind == "C_nocond_global"
        self.gate = Gate(classes, width) if gated else None
        self.hidden = EqualizedLinear(width, HIDDEN) if read else None
        self.affine = EqualizedLinear(HIDDEN if read else width, layer.before, bias=1.0)
        self.weight = nn.Parameter(torch.randn(layer.after, layer.before, 3, 3))
        self.bias = nn.Parameter(torch.zeros(layer.after))

    def forward(
        self, x: Float[Tensor, "batch c h w"], z: Float[Tensor, "batch dim"], classes: Float[Tensor, "batch k"]
    ) -> Float[Tensor, "batch c2 h w"]:
        """Feature maps under the style."""
        drive = classes if self.by_class else z[:, self.columns]
        if self.gate is not None:
            drive = drive * self.gate(classes)
        if self.hidden is not None:
            drive = scaled_leaky_relu(self.hidden(drive))
        y = modulated_conv2d(x, self.weight, self.affine(drive)) + self.bias[:, None, None]
        return scaled_leaky_relu(y)


def _made(layer: Layer, classes: int, independent: bool) -> nn.Module:
    if layer.kind == "Noise":
        return Noise(layer, independent=independent)
    return Convolution(layer) if layer.kind.startswith("Conv") else Global(layer, classes)


class VcNetwork(nn.Module):
    """Latents, and class labels where there are any, to images. Layer i.j is the j-th of module i of the list.

    Args:
        layers: the convolutions.
        modules: how many modules the list has.
        classes: K of D_global; 0 without.
        constants: how many there are to begin with: 1, or one of each class.
        channels: of the images.
        independent: whether noise is drawn anew in training.
    """

    def __init__(
        self, layers: Sequence[Layer], modules: int, classes: int, constants: int, channels: int, *, independent: bool
    ) -> None:
        super().__init__()
        self.classes, self.constants = classes, constants
        self.const = nn.Parameter(torch.randn(constants, CHANNELS, SIDE, SIDE))
        made: list[list[nn.Module]] = [[] for _ in range(modules)]
        for layer in layers:
            made[layer.index].append(_made(layer, classes, independent))
        self.layers = nn.ModuleList(map(nn.ModuleList, made))
        self.torgb = EqualizedConv2d(layers[-1].after, channels, 1, gain=1.0)

    def forward(
        self, z: Float[Tensor, "batch dim"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch channels h w"]:
        """Images, mostly in [-1, 1]; nothing keeps them there.

        Raises:
            ValueError: labels for a network without classes, or none (or unknown ones) for one with classes.
        """
        if self.classes:
            label = checked_labels(label, self.classes, "generator")
            classes = F.one_hot(label, self.classes).to(z.dtype)
        elif label is not None:
            raise ValueError("labels were given; this generator has no classes (no D_global among its modules)")
        else:
            classes = z[:, :0]
        x = self.const.expand(len(z), -1, -1, -1) if self.constants == 1 else self.const[label]
        for module in self.layers:
            for layer in module.children():
                x = layer(x, z, classes)
        return self.torgb(x)


class VcCritic(nn.Module):
    """Images to logits, by a `ResidualEncoder`; it is called with class labels where there are any, and ignores them.

    Args:
        shape: channels, height and width of the images.
        width: channels at full resolution.
        hidden: width of the linear layer before the last.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, hidden: int) -> None:
        super().__init__()
        self.trunk = ResidualEncoder(shape, width, hidden, outputs=1)

    def forward(
        self, images: Float[Tensor, "batch c h w"], label: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch 1"]:
        """Logits of real against generated."""
        return self.trunk(images)
