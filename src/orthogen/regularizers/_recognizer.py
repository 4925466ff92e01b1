"""What VariationPredictability and InfoGan share: the small network that looks at generated images."""

from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import ImageSet
from orthogen.core.maps import LatentMap, probe
from orthogen.core.shapes import Float, Int
from orthogen.layers.conv_encoder import ConvEncoder
from orthogen.layers.residual_encoder import ResidualEncoder

__all__ = ["Trunk", "build", "check", "label_of", "look"]

Trunk = Literal["simple", "residual", "residual stddev"]


def check(owner: object, trunk: Trunk, width: int, hidden: int) -> None:
    """Refuse a recognizer without channels.

    Raises:
        ValueError: the width of its convolutions or of its linear layer is none.
    """
    least = 0 if trunk == "simple" else 1
    if width < 1 or hidden < least:
        raise ValueError(
            f"{type(owner).__name__}(trunk={trunk!r}, width={width}, hidden={hidden}): give a width of 1 at least, and "
            f"a hidden one of {least} at least"
        )


def build(
    generator: Generator, data: ImageSet | None, *, images: int, outputs: int, trunk: Trunk, width: int, hidden: int
) -> ConvEncoder | ResidualEncoder:
    """A recognizer of ``outputs`` numbers for ``images`` of the generator's images side by side in their channels.

    ``simple``: convolutions of kernel 4 and stride 2 with ``width`` channels halve the image while its shorter side has
    8 pixels or more; two linear layers follow, the first of width ``hidden``. ``residual``: a `ResidualEncoder`, with
    ``width`` channels at full resolution; ``residual stddev``: the same with the minibatch standard deviation of the
    critic it is taken from. The shape is that of ``data``, or is read off two images of the generator, which leaves no
    trace in it.
    """
    z = torch.zeros(2, generator.latent.dim, dtype=generator.dtype, device=generator.device)
    if data is not None:
        shape = (data.channels, data.resolution, data.resolution)
    else:
        try:
            with torch.no_grad():
                (image,) = probe(generator)(z)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the generator cannot draw from latents alone ({error}); if it takes conditions, hand over the data "
                "for the shape of its images: penalty.init(generator, data)"
            ) from error
        if image.ndim != 4:
            raise ValueError(
                f"the generator's output is {tuple(image.shape)}; a recognizer looks at images (n, c, h, w)"
            )
        shape = (image.shape[1], image.shape[2], image.shape[3])
    seen = (images * shape[0], *shape[1:])
    if trunk != "simple":
        return ResidualEncoder(seen, width, hidden, outputs, stddev=trunk == "residual stddev").to(z)
    halvings = 0
    while min(shape[1:]) // 2**halvings >= 8:
        halvings += 1
    network = ConvEncoder(
        seen,
        (width,) * halvings,
        hidden,
        outputs,
        activation=lambda: nn.LeakyReLU(0.2),
        hidden_activation=lambda: nn.LeakyReLU(0.2),
    )
    return network.to(z)


def look(state: nn.Module | None, images: Float[Tensor, "batch c h w"], owner: str) -> Float[Tensor, "batch outputs"]:
    """The recognizer's outputs, outside autocast.

    Raises:
        ValueError: there is no recognizer.
    """
    if state is None:
        raise ValueError(
            f"{owner} learns a recognizer: make it with state = penalty.init(generator), give its parameters to the "
            "generator's optimizer and hand it over as state=state"
        )
    with torch.autocast(images.device.type, enabled=False):
        return state(images)


def label_of(f: LatentMap, batch: int, owner: str) -> Int[Tensor, "batch"]:
    """The class labels that the map has among its conditions.

    Raises:
        ValueError: there are none, or several conditions of whole numbers.
    """
    found = [value for value in f._conditions.values() if value.ndim == 1 and not value.is_floating_point()]
    if len(found) != 1:
        raise ValueError(
            f"{owner} predicts classes, and the map has {len(found)} conditions of whole numbers; hand it the labels: "
            "og.given(f, label=...)"
        )
    return found[0].repeat(batch // len(found[0]))
