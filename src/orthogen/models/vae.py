"""The variational autoencoder of the factor-metric studies: a small convolutional encoder and decoder."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.generator import Generator, adapt
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Normal
from orthogen.core.shapes import Float
from orthogen.layers.block import Block
from orthogen.layers.conv_encoder import ConvEncoder

__all__ = ["Vae"]

CITATION = """\
@inproceedings{kingma2014auto,
  title     = {Auto-Encoding Variational {Bayes}},
  author    = {Kingma, Diederik P. and Welling, Max},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2014}
}

@inproceedings{locatello2019challenging,
  title     = {Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations},
  author    = {Locatello, Francesco and Bauer, Stefan and Lucic, Mario and R{\\"a}tsch, Gunnar and Gelly, Sylvain and
               Sch{\\"o}lkopf, Bernhard and Bachem, Olivier},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2019}
}
"""


class VaeEncoder(nn.Module):
    """Images in [-1, 1] to the mean and the log variance of their codes."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: tuple[int, ...],
        kernels: tuple[int, ...],
        hidden: tuple[int, ...],
        dim: int,
    ) -> None:
        super().__init__()
        self.layers = ConvEncoder(shape, channels, hidden, outputs=2 * dim, norm=False, kernels=kernels)

    def forward(self, images: Float[Tensor, "batch c h w"]) -> tuple[Float[Tensor, "batch dim"], ...]:
        """Mean and log variance. As in the studies, convolutions see brightness in [0, 1]: black is 0."""
        return self.layers((images + 1) / 2).chunk(2, dim=1)


class VaeDecoder(nn.Module):
    """Codes to logits of the pixels' brightness in [0, 1]: linear layers, then transposed convolutions."""

    def __init__(self, dim: int, hidden: tuple[int, ...], levels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.linear, self.layers = nn.Sequential(), nn.Sequential()
        for before, after in pairwise((dim, *hidden, 16 * levels[0])):
            self.linear.append(Block(nn.Linear(before, after), activation=nn.ReLU()))
        for before, after in pairwise(levels):
            self.layers.append(Block(_doubling(before, after), activation=nn.ReLU()))
        self.layers.append(Block(_doubling(levels[-1], channels)))

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch c h w"]:
        """The logits; the image is tanh(logits / 2)."""
        return self.layers(self.linear(z).unflatten(1, (-1, 4, 4)))


def _doubling(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)


def _image(decoder: nn.Module, z: Tensor) -> Tensor:
    return torch.tanh(decoder(z) / 2)  # 2 sigmoid(logits) - 1


@dataclass(frozen=True)
class Vae(Model):
    """Encoder and decoder of a variational autoencoder, at the published 64 pixels or any 4·2^n from 16 on.

    ============  ====================================================  ================================================
    architecture  encoder at 64 px                                      decoder at 64 px
    ============  ====================================================  ================================================
    study         convolutions 32, 32, 64, 64 (kernels 4, 4, 2, 2),     linear 256, 1024, transposed convolutions 64,
                  linear 256                                            32, 32, c
    burgess       convolutions 32, 32, 32, 32 (kernels 4), linear 256,  linear 256, 256, 512, transposed convolutions
                  256                                                   32, 32, 32, c
    ============  ====================================================  ================================================

    Every convolution has stride 2, those of the decoder kernel 4; ReLU follows all layers but the last. There are no
    norms, so that samples do not see each other. At other resolutions there are fewer or more of the layers of 32
    channels; the smallest maps always have 4 pixels.

    ``generator`` is the decoder and returns logits of the pixels' brightness, which the likelihoods of
    `orthogen.Elbo` are made of; as a `Generator` (`adapt`) its images are 2 sigmoid(logits) - 1, in [-1, 1] as
    everywhere. ``encoder`` returns mean and log variance of the code; whatever wants one code of an image takes the
    first.

    Attributes:
        latent: N(0, I), of 10 dimensions in the studies.
        channels: of the images.
        resolution: side of the images, in pixels.
        architecture: ``study``, of the large comparison on factor metrics, or ``burgess``, of the paper on beta-VAE
            that many comparisons outside of it took over.

    Raises:
        ValueError: the resolution is no 4·2^n from 16 on, or there is no such architecture.

    Reference:
        D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014; study: F. Locatello et al., "Challenging
        Common Assumptions in the Unsupervised Learning of Disentangled Representations", ICML 2019; burgess: C. P.
        Burgess, I. Higgins, A. Pal, L. Matthey, N. Watters, G. Desjardins, A. Lerchner, "Understanding disentangling in
        beta-VAE", 2018 (arXiv 1804.03599).

    Example:
        >>> model = Vae(channels=3)
        >>> networks = model.build()
        >>> images = model.adapt(networks["generator"]).sample(2, rng=torch.Generator().manual_seed(0))
        >>> images.shape, bool((images.abs() < 1).all())
        (torch.Size([2, 3, 64, 64]), True)
        >>> mean, log_variance = networks["encoder"](images)
        >>> mean.shape, log_variance.shape
        (torch.Size([2, 10]), torch.Size([2, 10]))
    """

    latent: Latent = field(default_factory=lambda: Normal(10))
    channels: int = 1
    resolution: int = 64
    architecture: Literal["study", "burgess"] = "study"

    def __post_init__(self) -> None:
        check_choices(self)
        if self._halvings < 2 or self.resolution != 4 * 2**self._halvings:
            raise ValueError(
                f"Vae(resolution={self.resolution}): the side is 4·2^n pixels, from 16 on; give 16, 32, 64, 128, ..."
            )
        if self.channels < 1:
            raise ValueError(f"Vae(channels={self.channels}): images have at least 1 channel, 1 or 3 by custom")

    @property
    def _halvings(self) -> int:
        return self.resolution.bit_length() - 3

    @property
    def regularized_layers(self) -> tuple[str, ...]:
        """Layers of the decoder for penalties: the outputs of its transposed convolutions, before their activation, but
        for the last, which is the image's logits.

        Example:
            >>> Vae().regularized_layers
            ('layers.0.layers.conv', 'layers.1.layers.conv', 'layers.2.layers.conv')
        """
        return tuple(f"layers.{i}.layers.conv" for i in range(self._halvings - 1))

    def adapt(self, generator: nn.Module) -> Generator:
        """The decoder as a `Generator`: images in [-1, 1] in place of logits."""
        return adapt(generator, latent=self.latent, call=_image)

    def build(self) -> dict[str, nn.Module]:
        """``generator``: codes ``(batch, dim)`` to logits; ``encoder``: images to mean and log variance."""
        n, dim = self._halvings, self.latent.dim
        hidden: tuple[int, ...]
        shape = (self.channels, self.resolution, self.resolution)
        if self.architecture == "study":
            down, kernels, hidden = (*(32,) * (n - 2), 64, 64), (*(4,) * (n - 2), 2, 2), (256,)
            up = (64, 64, *(32,) * (n - 2))
        else:
            down, kernels, hidden = (32,) * n, (4,) * n, (256, 256)
            up = (32,) * n
        return {
            "generator": VaeDecoder(dim, hidden, up, self.channels),
            "encoder": VaeEncoder(shape, down, kernels, hidden, dim),
        }
