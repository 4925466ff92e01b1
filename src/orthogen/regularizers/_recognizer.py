"""What VariationPredictability and InfoGan share: the small network that looks at generated images."""

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import ImageSet
from orthogen.core.maps import probe
from orthogen.core.shapes import Float
from orthogen.layers.conv_encoder import ConvEncoder

__all__ = ["build", "look"]


def build(
    generator: Generator, data: ImageSet | None, *, images: int, outputs: int, width: int, hidden: int
) -> ConvEncoder:
    """A recognizer of ``outputs`` numbers for ``images`` of the generator's images side by side in their channels.

    Convolutions of kernel 4 and stride 2 with ``width`` channels halve the image while its shorter side has 8 pixels or
    more; two linear layers follow. The shape is that of ``data``, or is read off two images of the generator, which
    leaves no trace in it.
    """
    first = next(generator.module.parameters(), torch.empty(0))
    dtype = torch.promote_types(first.dtype, torch.float32)
    z = torch.zeros(2, generator.latent.dim, dtype=dtype, device=generator.device)
    if data is not None:
        shape = (data.channels, data.resolution, data.resolution)
    else:
        try:
            with torch.no_grad():
                (image,) = probe(generator)(z)
        except TypeError as error:
            raise TypeError(
                f"the generator cannot draw from latents alone ({error}); if it takes conditions, hand over the data "
                "for the shape of its images: penalty.init(generator, data)"
            ) from error
        if image.ndim != 4:
            raise ValueError(
                f"the generator's output is {tuple(image.shape)}; a recognizer looks at images (n, c, h, w)"
            )
        shape = (image.shape[1], image.shape[2], image.shape[3])
    halvings = 0
    while min(shape[1:]) // 2**halvings >= 8:
        halvings += 1
    network = ConvEncoder(
        (images * shape[0], *shape[1:]),
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
