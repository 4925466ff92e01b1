"""Directions that a network can tell apart, with how far each was gone (Voynov and Babenko, ICML 2020)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.maps import given, probe
from orthogen.core.shapes import Float
from orthogen.discovery._descent import Descent, Search
from orthogen.discovery._found import initialized, latents
from orthogen.layers.conv_encoder import ConvEncoder

__all__ = ["LatentRegressor"]

CITATION = """\
@inproceedings{voynov2020unsupervised,
  title     = {Unsupervised Discovery of Interpretable Directions in the {GAN} Latent Space},
  author    = {Voynov, Andrey and Babenko, Artem},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class LatentRegressor(Descent):
    """Directions and a network R are trained together: from G(z) and G(z + e q_k), R must tell k and e.

        minimize over Q and R   E_{z, k, e} [ -log softmax(R_1)_k + weight |R_2 - e| ],   R = R(G(z), G(z + e q_k))

    k is uniform over the directions and e over [-reach, reach], with |e| below ``least`` set to ``least``. Directions
    that change the image in ways of their own make this easy. R sees both images side by side in their channels; ours
    is a plain convolutional network for any resolution (kernel 4, stride 2, channels doubling from ``width`` to
    ``8 width``, down to 4 pixels, then two linear layers), where the paper has LeNet and ResNet-18. Its accuracy, by
    which one judges the directions, is in the log.

    Attributes:
        weight: of the error in e, against the cross-entropy.
        reach: the longest way along a direction, in units of the latent.
        least: the shortest.
        width: channels after R's first convolution.
        hidden: width of its hidden linear layer.

    Fields of all searches: count, search_space, orthogonal, lr, batch, steps; for class labels: fix_class. The
    paper learns either orthonormal directions ("qr") or such of unit length ("unit").

    Raises:
        ValueError: the generator's output is no image, or fields are out of range.

    Reference:
        A. Voynov, A. Babenko, "Unsupervised Discovery of Interpretable Directions in the GAN Latent Space", ICML 2020:
        the method, ``weight``, ``reach``, ``least`` and ``lr``; ``batch`` and ``steps`` are those of its BigGAN
        (ProgGAN has twice the steps). The network's ``width`` and ``hidden`` are ours, as the network is.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8))), Normal(2))
        >>> found = LatentRegressor(steps=3).fit(G)
        >>> found.basis.shape, sorted(found.provenance["log"])
        (torch.Size([2, 2]), ['accuracy', 'error', 'loss', 'norm', 'step'])
    """

    weight: float = 0.25
    reach: float = 6.0
    least: float = 0.5
    width: int = 32
    hidden: int = 256
    lr: float = field(default=1e-4, kw_only=True)
    steps: int = field(default=100_000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.least <= self.reach or not self.reach > 0:
            raise ValueError(f"LatentRegressor(least={self.least}, reach={self.reach}): give 0 <= least <= reach")
        if self.weight < 0 or self.width < 1 or self.hidden < 1:
            raise ValueError(
                f"LatentRegressor(weight={self.weight}, width={self.width}, hidden={self.hidden}): the weight is not "
                "negative, and the network has at least 1 channel and 1 hidden unit"
            )

    def beside(self, generator: Generator, n: int, rng: torch.Generator) -> nn.Module:
        """The network R."""
        z = latents(generator, 2, rng)
        with torch.no_grad():
            (image,) = given(probe(generator), **self.conditions(generator, 2, rng, z.device))(z)
        if image.ndim != 4:
            raise ValueError(f"LatentRegressor looks at images (n, c, h, w); this generator gives {tuple(image.shape)}")
        _, c, h, w = image.shape
        halvings = max(0, min(h, w).bit_length() - 3)  # down to 4 to 7 pixels
        channels = tuple(self.width * 2 ** min(i, 3) for i in range(halvings))
        network = initialized(lambda: ConvEncoder((2 * c, h, w), channels, self.hidden, n + 1, norm=False), rng)
        return network.to(z)

    def losses(self, search: Search, basis: Float[Tensor, "n dim"]) -> Iterator[dict[str, Tensor]]:
        """Cross-entropy and error on one batch."""
        assert search.network is not None
        z, conditions = search.draw(self.batch)
        rng = search.rng
        k = torch.randint(len(basis), (len(z),), generator=rng, device=rng.device).to(z.device)
        e = (self.reach * (2 * torch.rand(len(z), generator=rng, device=rng.device) - 1)).to(z)
        e = torch.where(e < 0, -1.0, 1.0) * e.abs().clamp_min(self.least)

        f = given(search.f, **conditions)
        with torch.no_grad():
            (before,) = f(z)
        (after,) = f(z + e[:, None] * basis[k])
        outputs = search.network(torch.cat([before, after], dim=1))
        told, size = outputs[:, :-1], outputs[:, -1]
        error = (size - e).abs().mean()
        accuracy = (told.argmax(dim=1) == k).to(z).mean()
        yield {"loss": F.cross_entropy(told, k) + self.weight * error, "error": error, "accuracy": accuracy}
