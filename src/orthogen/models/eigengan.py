"""EigenGAN: a generator with a linear subspace in each layer, whose coordinates are its directions."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator, adapt
from orthogen.core.kinds import Model
from orthogen.core.latent import Blocks
from orthogen.layers.constrain import constrain
from orthogen.models._eigengan import EigenCritic, EigenGenerator, layered

__all__ = ["EigenGan"]

CITATION = """\
@inproceedings{he2021eigengan,
  title     = {EigenGAN: Layer-Wise Eigen-Learning for GANs},
  author    = {He, Zhenliang and Kan, Meina and Shan, Shiguang},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class EigenGan(Model):
    """Generator and critic of EigenGAN, at the published resolutions or any 4·2^n.

    ==========  =======================================  =============================================
    published   channels at 4, 8, ... pixels             dimensions that the layers' subspaces lie in
    ==========  =======================================  =============================================
    128 px      512, 256, 128, 64, 32, 16                8192, 16384, 32768, 65536, 131072
    256 px      512, 512, 256, 128, 64, 32, 16           8192, 32768, 65536, 131072, 262144, 524288
    ==========  =======================================  =============================================

    That is ``base_channels`` at full size and twice as many at each halving, up to ``max_channels``. The latent is
    ``epsilon``, the noise that the maps of 4 pixels are made of, and ``layer0``, ``layer1``, ...: coordinates in the
    subspaces of the layers at 4, 8, ... pixels, which move what those layers hold. State dicts have the names of the
    released PyTorch code, so weights trained with it load.

    Attributes:
        resolution: side of the images, in pixels.
        channels: of the images.
        n_basis: directions of each layer.
        noise_dim: width of ``epsilon``.
        base_channels: of the maps at full size.
        max_channels: the most channels.
        basis: "free" bases, as published, which are orthonormal at first and then learn as they will; or "orthogonal"
            ones, which stay so: each is the polar factor of what is learned (`orthogen.layers.constrain`). The names of
            the state dict are others then, and those of `subspaces` mean what is learned.

    Raises:
        ValueError: the resolution is no 4·2^n, a size is out of range, or there is no such kind of basis.

    Reference:
        Z. He, M. Kan, S. Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021; sizes are those of the
        networks trained on FFHQ in Y. Song, N. Sebe, W. Wang, "Improving Covariance Conditioning of the SVD Meta-layer
        by Orthogonality", ECCV 2022.

    Example:
        >>> model = EigenGan(resolution=16, noise_dim=8, base_channels=4, max_channels=8)
        >>> networks = model.build()
        >>> list(model.latent.slices), model.subspaces
        (['epsilon', 'layer0', 'layer1'], ('blocks.0.projection.U', 'blocks.1.projection.U'))
        >>> model.directions(networks["generator"]).names[:2]
        ('layer 0, dim 0', 'layer 0, dim 1')
        >>> model.adapt(networks["generator"]).sample(2).shape
        torch.Size([2, 3, 16, 16])
    """

    resolution: int = 256
    channels: int = 3
    n_basis: int = 6
    noise_dim: int = 512
    base_channels: int = 16
    max_channels: int = 512
    basis: Literal["free", "orthogonal"] = "free"

    def __post_init__(self) -> None:
        check_choices(self)
        n = self._layers
        if n < 1 or self.resolution != 4 * 2**n:
            raise ValueError(
                f"EigenGan(resolution={self.resolution}): the side is 4·2^n pixels; give 8, 16, 32, 64, 128, ..."
            )
        for name in ("channels", "noise_dim", "base_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"EigenGan({name}={getattr(self, name)}): it must be positive")
        if self.max_channels < self.base_channels:
            raise ValueError(
                f"EigenGan(base_channels={self.base_channels}, max_channels={self.max_channels}): the most channels "
                "cannot be fewer than those at full size"
            )
        smallest = min(c * 4**i for i, c in enumerate(self._levels[:-1])) * 16
        if not 1 <= self.n_basis <= smallest:
            raise ValueError(
                f"EigenGan(n_basis={self.n_basis}): give 1 to {smallest} directions, the dimensions of its smallest "
                "layer"
            )

    @property
    def _layers(self) -> int:
        return self.resolution.bit_length() - 3

    @property
    def _levels(self) -> tuple[int, ...]:
        n = self._layers
        return tuple(min(self.max_channels, self.base_channels * 2 ** (n - i)) for i in range(n + 1))

    @property
    def latent(self) -> Blocks:  # type: ignore[override]
        """``epsilon``, ``layer0``, ``layer1``, ...; all standard normal."""
        return layered(self.noise_dim, self.n_basis, self._layers)

    @property
    def subspaces(self) -> tuple[str, ...]:
        """The names of the layers' bases U, for penalties and step rules on them.

        Example:
            >>> from orthogen import NearestOrthogonalGradient, SoftOrthogonality
            >>> small = EigenGan(resolution=8)
            >>> NearestOrthogonalGradient(small.subspaces).layers, SoftOrthogonality(small.subspaces).form
            (('blocks.0.projection.U',), 'mean')
        """
        return tuple(f"blocks.{i}.projection.U" for i in range(self._layers))

    def build(self) -> dict[str, nn.Module]:
        """``generator``: latents ``(batch, dim)`` to images; ``critic``: images to logits ``(batch, 1)``."""
        levels = self._levels
        generator = EigenGenerator(self.noise_dim, self.n_basis, levels, self.channels)
        if self.basis == "orthogonal":
            constrain(generator, self.subspaces, "polar")
        return {"generator": generator, "critic": EigenCritic(levels, self.channels)}

    def adapt(self, generator: nn.Module) -> Generator:
        """The `Generator` around a built (or loaded) network; its own directions are those of its subspaces."""
        return replace(super().adapt(generator), own=self.directions)

    @staticmethod
    def directions(generator: nn.Module) -> Directions:
        """The directions that a built (or loaded) generator was trained to have: the coordinates of its subspaces.

        From the first layer to the last, and in each from the strongest to the weakest; strength is how far a unit of
        the coordinate moves the layer's maps, |L_j| |U_j|. They are called ``layer i, dim j``, by their places in the
        latent.

        Raises:
            TypeError: another model's generator.

        Example:
            >>> model = EigenGan(resolution=8, n_basis=3, noise_dim=4)
            >>> found = EigenGan.directions(model.build()["generator"])
            >>> [round(strength, 3) for strength in found.strength.tolist()], found.basis.shape
            ([9.0, 6.0, 3.0], torch.Size([3, 7]))
        """
        if not isinstance(generator, EigenGenerator):
            raise TypeError(f"EigenGan.directions was given {type(generator).__name__}; give the generator it built")
        latent, rows, strengths, names = generator.latent, [], [], []
        axes = torch.eye(latent.dim)
        for i, subspace in enumerate(generator.subspaces):
            strength, order = subspace.reach.cpu().float().sort(descending=True, stable=True)
            rows.append(axes[latent.slices[f"layer{i}"]][order])
            strengths.append(strength)
            names += [f"layer {i}, dim {j}" for j in order.tolist()]
        basis = torch.cat(rows)
        return Directions(
            basis,
            strength=torch.cat(strengths),
            names=names,
            provenance={"method": "EigenGan", "generator": adapt(generator, latent).digest},
            deviation=latent.spread(basis),
        )
