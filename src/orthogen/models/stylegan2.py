"""StyleGAN2's generator, written from the papers in plain PyTorch."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.core.latent import Normal
from orthogen.models._mapping import MappingNetwork, StyledGenerator, in_space
from orthogen.models._stylegan2 import SynthesisNetwork

__all__ = ["StyleGan2"]

CITATION = """\
@inproceedings{karras2020analyzing,
  title     = {Analyzing and Improving the Image Quality of {StyleGAN}},
  author    = {Karras, Tero and Laine, Samuli and Aittala, Miika and Hellsten, Janne and Lehtinen, Jaakko and
               Aila, Timo},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2020}
}
"""

_SPACES, _NOISES = ("z", "w", "w+"), ("const", "random", "none")
_RATE = 0.005  # of the mean style, per training batch
_DEEPEST = 100  # layers; a file must not ask for more


@dataclass(frozen=True)
class StyleGan2(Model):
    """The generator of StyleGAN2 and StyleGAN2-ADA: skip architecture, weight demodulation, filtered upsampling.

    Channels at r pixels: min(channel_base / r, channel_max). Published: 1024 px (FFHQ, config F) with base 32768, 256
    px with base 16384 (StyleGAN2-ADA), CIFAR-10 at 32 px with base 32768, 2 mapping layers and 10 classes. State dicts
    have the names of the official PyTorch code. There is no tanh: images may leave [-1, 1].

    Attributes:
        resolution: side of the images, in pixels; a power of two from 8 on.
        channels: of the images.
        dim_z: width of the latent z, standard normal, normalized by the network.
        dim_w: width of the styles w.
        mapping_layers: of the mapping network.
        lr_multiplier: of the mapping network's learning rate.
        classes: class labels are taken, as ``label=``, if positive.
        channel_base: channels times pixels; see above.
        channel_max: the most channels.
        clamp: bound on all activations; 256 where StyleGAN2-ADA computes in half precision, None for none.
        space: what the adapted generator takes: "z", styles "w" that are the same in all layers, or "w+", one for each
            layer, side by side. Latents of the style spaces are drawn by the mapping network.
        noise: "const" (the image depends on the latent alone), "random" (drawn from torch's global generator, as
            dropout is; for training) or "none".
        truncation: psi; styles drawn or mapped are pulled towards their mean: w_avg + psi (w - w_avg).

    Raises:
        ValueError: a field is out of range.

    Reference:
        T. Karras, S. Laine, M. Aittala, J. Hellsten, J. Lehtinen, T. Aila, "Analyzing and Improving the Image Quality
        of StyleGAN", CVPR 2020; T. Karras, M. Aittala, J. Hellsten, S. Laine, J. Lehtinen, T. Aila, "Training
        Generative Adversarial Networks with Limited Data", NeurIPS 2020. The critic is not part of this.

    Example:
        >>> import torch
        >>> model = StyleGan2(resolution=16, dim_z=8, dim_w=8, channel_base=64, space="w+")
        >>> G = model.adapt(model.build()["generator"])
        >>> G.latent.dim, G.latent.slices["coarse"], G(torch.zeros(2, 48)).shape
        (48, slice(0, 32, None), torch.Size([2, 3, 16, 16]))
    """

    resolution: int = 256
    channels: int = 3
    dim_z: int = 512
    dim_w: int = 512
    mapping_layers: int = 8
    lr_multiplier: float = 0.01
    classes: int = 0
    channel_base: int = 16384
    channel_max: int = 512
    clamp: float | None = None
    space: str = "z"
    noise: str = "const"
    truncation: float = 1.0

    bounded: ClassVar[bool] = False  # there is no tanh

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"StyleGan2(resolution={self.resolution}): give a power of two from 8 on")
        for name, known in (("space", _SPACES), ("noise", _NOISES)):
            if getattr(self, name) not in known:
                raise ValueError(f"StyleGan2({name}={getattr(self, name)!r}): give one of {', '.join(known)}")
        for name in ("channels", "dim_z", "dim_w", "mapping_layers", "lr_multiplier", "channel_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"StyleGan2({name}={getattr(self, name)}): it must be positive")
        if self.mapping_layers > _DEEPEST or not math.isfinite(self.truncation):
            raise ValueError(
                f"StyleGan2(mapping_layers={self.mapping_layers}, truncation={self.truncation}): give at most "
                f"{_DEEPEST} layers and a finite truncation"
            )
        if self.classes < 0 or self.channel_base < self.resolution:
            raise ValueError(
                f"StyleGan2(classes={self.classes}, channel_base={self.channel_base}): classes are 0 or more, and the "
                f"base is at least the resolution, {self.resolution}"
            )

    @property
    def latent(self) -> Normal:  # type: ignore[override]
        """Where z comes from; the latent of an adapted generator is that of its space."""
        return Normal(self.dim_z)

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim_z)``, with ``label=`` where there are classes, to images."""
        sides = [2**i for i in range(2, self.resolution.bit_length())]
        widths = {side: min(self.channel_base // side, self.channel_max) for side in sides}
        mapping = MappingNetwork(
            self.dim_z, self.dim_w, self.mapping_layers, self.lr_multiplier, self.classes, rate=_RATE
        )
        synthesis = SynthesisNetwork(widths, self.channels, self.dim_w, noise=self.noise, clamp=self.clamp)
        return {"generator": StyledGenerator(mapping, synthesis, self.truncation)}

    def adapt(self, generator: nn.Module) -> Generator:
        """The `Generator` around a built (or loaded) network, on the latents of this model's ``space``.

        Raises:
            TypeError: another model's network.
        """
        if not isinstance(generator, StyledGenerator) or not isinstance(generator.synthesis, SynthesisNetwork):
            raise TypeError(f"StyleGan2.adapt was given {type(generator).__name__}; give the network it built")
        return in_space(generator, self.space)
