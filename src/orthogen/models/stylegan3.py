"""StyleGAN3's generator, written from the paper in plain PyTorch."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.core.latent import Normal
from orthogen.models._mapping import MappingNetwork, StyledGenerator, in_space
from orthogen.models._stylegan3 import AliasFreeSynthesis, Band

__all__ = ["StyleGan3"]

CITATION = """\
@inproceedings{karras2021alias,
  title     = {Alias-Free Generative Adversarial Networks},
  author    = {Karras, Tero and Aittala, Miika and Laine, Samuli and H{\\"a}rk{\\"o}nen, Erik and Hellsten, Janne and
               Lehtinen, Jaakko and Aila, Timo},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2021}
}
"""

_CONFIGS, _SPACES = ("t", "r"), ("z", "w", "w+")
_RATE = 0.002  # of the mean style, per training batch
_DEEPEST = 100  # layers; a file must not ask for more


@dataclass(frozen=True)
class StyleGan3(Model):
    """The generator of StyleGAN3: every layer treats its signal as continuous, so that details move with objects.

    Layer i keeps the frequencies up to f_c, suppresses those from f_t on, and has s samples per side of the image:

        f_c = f_c0 (f_cN / f_c0)^e,   f_t = f_t0 (f_tN / f_t0)^e,   e = min(i / (N - num_critical), 1)
        s = 2^ceil(log2 min(2 f_t, resolution)),   f_h = max(f_t, s / 2) - f_c

    where f_cN = resolution / 2, f_tN = last_stopband_rel f_cN, and f_h is half the width of the filters' transition
    band. It has min(channel_base / (2 f_c), channel_max) channels, in config "r" twice as many. Published: 1024 px
    (FFHQ) in both configs; 256 px with base 16384. State dicts have the names of the official PyTorch code. There is no
    tanh: images may leave [-1, 1]. There is no noise either, and no such setting.

    Moving or turning ``module.synthesis.input.transform`` moves or turns the image.

    Attributes:
        resolution: side of the images, in pixels; a power of two from 8 on.
        config: "t", equivariant to translation, with 3x3 convolutions; "r", to rotation too, with 1x1 convolutions and
            downsampling filters that are alike in all directions.
        channels: of the images.
        dim_z: width of the latent z, standard normal, normalized by the network.
        dim_w: width of the styles w.
        mapping_layers: of the mapping network.
        lr_multiplier: of the mapping network's learning rate.
        classes: class labels are taken, as ``label=``, if positive.
        channel_base: channels times pixels; see above.
        channel_max: the most channels, in config "r" half of it.
        num_layers: N, between the Fourier features and the layer to the image.
        num_critical: how many of the last of them are critically sampled, that is, keep all that fits: f_c = s / 2.
        first_cutoff: f_c0, in cycles per side of the image.
        first_stopband: f_t0.
        last_stopband_rel: f_tN / f_cN.
        margin_size: samples that each layer works out beyond the image's edges, on every side.
        conv_clamp: bound on all activations, None for none.
        output_scale: what the last layer's output is multiplied with.
        space: what the adapted generator takes: "z", styles "w" that are the same in all layers, or "w+", one for the
            Fourier features and each layer, side by side. Latents of the style spaces are drawn by the mapping network.
        truncation: psi; styles drawn or mapped are pulled towards their mean: w_avg + psi (w - w_avg).

    Raises:
        ValueError: a field is out of range.

    Reference:
        T. Karras, M. Aittala, S. Laine, E. Härkönen, J. Hellsten, J. Lehtinen, T. Aila, "Alias-Free Generative
        Adversarial Networks", NeurIPS 2021, section 3 and appendix F. The critic, StyleGAN2's, is not part of this.

    Example:
        >>> import torch
        >>> model = StyleGan3(resolution=16, dim_z=8, dim_w=8, channel_base=64, num_layers=3, space="w+")
        >>> G = model.adapt(model.build()["generator"])
        >>> G.latent.dim, G.module.synthesis.names, G(torch.zeros(2, 40)).shape
        (40, ('L0_36_16', 'L1_36_4', 'L2_16_4', 'L3_16_3'), torch.Size([2, 3, 16, 16]))
    """

    resolution: int = 256
    config: str = "t"
    channels: int = 3
    dim_z: int = 512
    dim_w: int = 512
    mapping_layers: int = 2
    lr_multiplier: float = 0.01
    classes: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    conv_clamp: float | None = 256.0
    output_scale: float = 0.25
    space: str = "z"
    truncation: float = 1.0

    bounded: ClassVar[bool] = False  # there is no tanh

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"StyleGan3(resolution={self.resolution}): give a power of two from 8 on")
        for name, known in (("config", _CONFIGS), ("space", _SPACES)):
            if getattr(self, name) not in known:
                raise ValueError(f"StyleGan3({name}={getattr(self, name)!r}): give one of {', '.join(known)}")
        for name in ("channels", "dim_z", "dim_w", "mapping_layers", "lr_multiplier", "channel_max", "output_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"StyleGan3({name}={getattr(self, name)}): it must be positive")
        if max(self.mapping_layers, self.num_layers) > _DEEPEST or not math.isfinite(self.truncation):
            raise ValueError(
                f"StyleGan3(mapping_layers={self.mapping_layers}, num_layers={self.num_layers}, "
                f"truncation={self.truncation}): give at most {_DEEPEST} layers and a finite truncation"
            )
        if self.classes < 0 or self.margin_size < 0 or self.channel_base < self.resolution:
            raise ValueError(
                f"StyleGan3(classes={self.classes}, margin_size={self.margin_size}, channel_base={self.channel_base}): "
                f"classes and margin are 0 or more, and the base is at least the resolution, {self.resolution}"
            )
        if not 0 <= self.num_critical < self.num_layers:
            raise ValueError(
                f"StyleGan3(num_layers={self.num_layers}, num_critical={self.num_critical}): fewer layers are "
                "critically sampled than there are"
            )
        cutoffs_rise = 0 < self.first_cutoff < min(self.first_stopband, self.resolution / 2)
        if not cutoffs_rise or self.first_stopband < 0.5 or self.last_stopband_rel < 1:
            raise ValueError(
                f"StyleGan3(first_cutoff={self.first_cutoff:g}, first_stopband={self.first_stopband:g}, "
                f"last_stopband_rel={self.last_stopband_rel:g}): stop bands begin beyond the cutoffs, which grow to "
                f"{self.resolution // 2}, and the first at 0.5 at least"
            )

    @property
    def latent(self) -> Normal:  # type: ignore[override]
        """Where z comes from; the latent of an adapted generator is that of its space."""
        return Normal(self.dim_z)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The signals that the layers put out, the image last (section 3.2, "flexible layer specifications")."""
        last_cutoff, double = self.resolution / 2, 2 if self.config == "r" else 1
        last_stopband = self.last_stopband_rel * last_cutoff
        bands = []
        for i in range(self.num_layers + 1):
            e = min(i / (self.num_layers - self.num_critical), 1)
            cutoff = self.first_cutoff * (last_cutoff / self.first_cutoff) ** e
            stopband = self.first_stopband * (last_stopband / self.first_stopband) ** e
            rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.resolution)))
            width = min(double * self.channel_base / (2 * cutoff), double * self.channel_max)
            margin = self.margin_size if i < self.num_layers - 1 else 0  # the last convolution cuts it off
            bands.append(
                Band(
                    cutoff=cutoff,
                    half_width=max(stopband, rate / 2) - cutoff,
                    rate=rate,
                    size=rate + 2 * margin,
                    channels=round(width) if i < self.num_layers else self.channels,
                    critical=i >= self.num_layers - self.num_critical,
                )
            )
        return tuple(bands)

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim_z)``, with ``label=`` where there are classes, to images."""
        mapping = MappingNetwork(
            self.dim_z, self.dim_w, self.mapping_layers, self.lr_multiplier, self.classes, rate=_RATE
        )
        synthesis = AliasFreeSynthesis(
            self.bands,
            self.dim_w,
            kernel_size=3 if self.config == "t" else 1,
            radial=self.config == "r",
            clamp=self.conv_clamp,
            output_scale=self.output_scale,
        )
        return {"generator": StyledGenerator(mapping, synthesis, self.truncation)}

    def adapt(self, generator: nn.Module) -> Generator:
        """The `Generator` around a built (or loaded) network, on the latents of this model's ``space``.

        Raises:
            TypeError: another model's network.
        """
        if not isinstance(generator, StyledGenerator) or not isinstance(generator.synthesis, AliasFreeSynthesis):
            raise TypeError(f"StyleGan3.adapt was given {type(generator).__name__}; give the network it built")
        return in_space(generator, self.space)
