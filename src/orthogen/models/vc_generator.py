"""The generator of Variation Predictability, a list of modules that each take some of the latent, and its critic."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent, Uniform
from orthogen.models._vc_generator import VcCritic, VcNetwork
from orthogen.models._vc_modules import Layer, Part, layers, parse

__all__ = ["VcGenerator"]

CITATION = """\
@inproceedings{zhu2020learning,
  title     = {Learning Disentangled Representations with Latent Variation Predictability},
  author    = {Zhu, Xinqi and Xu, Chang and Tao, Dacheng},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
"""

_DEEPEST, _LARGEST = 100, 4096  # layers, and pixels of a side; a file must not ask for more


@dataclass(frozen=True)
class VcGenerator(Model):
    """Modules from left to right on a learned constant of 4 x 4 pixels; each C_global takes the next few coordinates.

    ===================  ============================================================================================
    module               what it is
    ===================  ============================================================================================
    Conv-up-n            n 3x3 convolutions, each of which doubles the resolution
    Conv-id-n            n 3x3 convolutions
    Conv-down-n          n 3x3 convolutions, each of which halves the resolution
    Noise-n              n 3x3 convolutions, each with a map of noise that all channels share, times a learned strength
    C_global-n           a 3x3 convolution whose weights n coordinates modulate and normalize, as in StyleGAN2; with
                         classes, behind a gate that says how much each of the n matters to the class
    C_nocond_global-n    the same behind a hidden layer of 128, and never a gate
    D_global-n           the same for n classes, which the generator then takes as ``label=``
    ===================  ============================================================================================

    A count of 0 leaves a module out. Module i of the list, from 0 on, has max(width / 2^(0.15 i), 16) channels, rounded
    down, C_global always 128. All are followed by LeakyReLU 0.2, times sqrt(2); weights have equalized learning rates;
    a 1x1 convolution makes the image. There is no tanh: images may leave [-1, 1]. Published lists, by name:

    ===========  =====================  ======  ========  ==========
    ``modules``  latent                 pixels  channels  parameters
    ===========  =====================  ======  ========  ==========
    celeba_30    Uniform(30, -2, 2)     128     3         11,369,595
    celeba_14    Uniform(14, -2, 2)     128     3         10,433,727
    mnist        Uniform(6, -2, 2)      32      1          9,439,869
    dsprites     Uniform(6, -2, 2)      64      1          8,246,665
    ===========  =====================  ======  ========  ==========

    The critic is the residual one of StyleGAN2, far narrower: the released one has 1024 / r channels at r pixels, which
    is 8 at 128 (``critic_width``) where StyleGAN2 has 128. It sees images alone, no classes.

    Attributes:
        latent: where latents come from, in training and ever after.
        modules: the list, separated by commas or as a tuple, or the name of a published one.
        channels: of the images.
        width: channels of the first module.
        decay: how fast they become fewer: a factor 2^-decay per module.
        min_width: the fewest channels.
        global_width: channels of each C_global.
        noise: "independent": drawn anew, from torch's global generator, for each image in training mode, while
            evaluation has stored noise, so that an image depends on the latent alone; "shared": stored noise always.
        class_constants: whether each class has a constant of its own to begin with, in place of D_global's convolution.
        critic_width: channels of the critic at full resolution; they double with every halving.
        critic_hidden: width of the critic's linear layer before the last.

    Raises:
        ValueError: a module is none, there is more than one D_global, the latent is not as wide as the modules take, or
            a field is out of range.

    Reference:
        X. Zhu, C. Xu, D. Tao, "Learning Disentangled Representations with Latent Variation Predictability", ECCV 2020
        (arXiv 2007.12885), and its released code; layers: T. Karras et al., "Analyzing and Improving the Image Quality
        of StyleGAN", CVPR 2020.

    Example:
        >>> import torch
        >>> modules = "Conv-up-1, C_global-2, Noise-1, Conv-up-1, C_global-1, Conv-id-2"
        >>> model = VcGenerator(Uniform(3, -2.0, 2.0), modules, width=16, global_width=8)
        >>> networks = model.build()
        >>> images = networks["generator"](model.latent.sample(4))
        >>> images.shape, networks["critic"](images).shape
        (torch.Size([4, 3, 16, 16]), torch.Size([4, 1]))
    """

    latent: Latent = field(default_factory=lambda: Uniform(30, -2.0, 2.0))
    modules: str | tuple[str, ...] = "celeba_30"
    channels: int = 3
    width: int = 512
    decay: float = 0.15
    min_width: int = 16
    global_width: int = 128
    noise: Literal["independent", "shared"] = "independent"
    class_constants: bool = False
    critic_width: int = 8
    critic_hidden: int = 512

    bounded: ClassVar[bool] = False  # there is no tanh

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("channels", "width", "min_width", "global_width", "critic_width", "critic_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"VcGenerator({name}={getattr(self, name)}): it is 1 at least")
        if not 0 <= self.decay < math.inf:
            raise ValueError(f"VcGenerator(decay={self.decay}): give 0, for modules as wide as the first, or more")
        parts = self.parts
        taken, deep = sum(part.coordinates for part in parts), sum(part.repeats for part in parts)
        if taken != self.latent.dim:
            raise ValueError(
                f"VcGenerator: the modules take {taken} coordinates and the latent has {self.latent.dim}; change one "
                "to fit the other"
            )
        if sum(part.kind == "D_global" for part in parts) > 1:
            raise ValueError("VcGenerator(modules): there is more than one D_global; classes come in once")
        if self.class_constants and not self.classes:
            raise ValueError("VcGenerator(class_constants=True): there are no classes; give a D_global in modules")
        if deep > _DEEPEST or self.resolution < 4:
            wrong = f"they have {deep} layers" if deep > _DEEPEST else f"images end at {self.resolution} pixels"
            raise ValueError(f"VcGenerator(modules): {wrong}; give {_DEEPEST} layers at most, and 4 pixels at least")
        if (side := max(layer.side for layer in self.table)) > _LARGEST:
            raise ValueError(f"VcGenerator(modules): a layer has {side:,} pixels to a side; give {_LARGEST:,} at most")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The modules, each with its kind and count.

        Example:
            >>> VcGenerator().parts[:2]
            (Part(kind='Conv-up', count=1), Part(kind='C_global', count=10))
        """
        return parse(self.modules)

    @property
    def table(self) -> tuple[Layer, ...]:
        """The convolutions from the constant to the layer before the image, which is the table of the paper's code.

        Example:
            >>> layer = VcGenerator().table[1]
            >>> layer.kind, layer.before, layer.after, layer.side
            ('C_global', 512, 128, 8)
        """
        found = layers(
            self.parts, self.width, self.decay, self.min_width, self.global_width, skip_classes=self.class_constants
        )
        return tuple(found)

    @property
    def classes(self) -> int:  # type: ignore[override]
        """How many class labels the generator takes: those of D_global."""
        return sum(part.count for part in self.parts if part.kind == "D_global")

    @property
    def resolution(self) -> int:
        """Side of the images, in pixels."""
        return self.table[-1].side

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim)``, with ``label=`` where there are classes, to images; ``critic``:
        images to logits ``(batch, 1)``.
        """
        generator = VcNetwork(
            self.table,
            len(self.parts),
            self.classes,
            self.classes if self.class_constants else 1,
            self.channels,
            independent=self.noise == "independent",
        )
        shape = (self.channels, self.resolution, self.resolution)
        return {"generator": generator, "critic": VcCritic(shape, self.critic_width, self.critic_hidden)}
