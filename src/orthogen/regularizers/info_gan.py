"""InfoGAN: the latent can be read back off the image."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.generator import Generator
from orthogen.core.kinds import ImageSet, LatentPenalty
from orthogen.core.maps import LatentMap
from orthogen.core.shapes import Float
from orthogen.regularizers import _recognizer

__all__ = ["InfoGan"]


@dataclass(frozen=True)
class InfoGan(LatentPenalty):
    """An encoder of its own predicts the first n latents from the image; it is trained together with the generator.

        gaussian:  E sum_i [ (z_i - m_i)^2 / (2 s_i^2) + log s_i + log(2 pi) / 2 ],   m, log s^2 from the encoder
        mse:       E (1/n) sum_i (z_i - m_i)^2
        classes:   - class_weight  E log softmax(l)_y,   l from the encoder, y the label that the generator was given

    The first is the negative log-likelihood of InfoGAN's continuous codes, as in VP-GAN's baseline (weight 0.01; that
    of the classes is 1, so that ``class_weight`` is 100). The second is the baseline of the Hessian Penalty and of
    OroJaR (weight 1), whose encoder is a head on the critic's features. The third is added where the generator takes
    class labels. Here the encoder sees images, and has the layers of the recognizer of `VariationPredictability`, so
    that the two differ only in the question they ask.

    Attributes:
        codes: n, how many latents are predicted; None for all.
        loss: ``gaussian`` or ``mse``.
        class_weight: of the classes' part, beside that of the codes; 0 leaves it out.
        trunk: the encoder's layers: ``simple``, ``residual`` or ``residual stddev`` (as in VP-GAN), see
            `VariationPredictability`.
        width: channels of each of its convolutions, or at full resolution (``residual``; VP-GAN has 1024 / r for images
            of r pixels).
        hidden: width of its hidden linear layer; 512 in VP-GAN.

    Raises:
        ValueError: a field is out of range; more codes than latents; no encoder was given; probes were given; a map
            without the labels that are to be predicted.

    Reference:
        X. Chen, Y. Duan, R. Houthooft, J. Schulman, I. Sutskever, P. Abbeel, "InfoGAN: Interpretable Representation
        Learning by Information Maximizing Generative Adversarial Nets", NeurIPS 2016.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.core.maps import probe
        >>> G = adapt(nn.Sequential(nn.Linear(6, 256), nn.Unflatten(1, (1, 16, 16))), Normal(6))
        >>> penalty = InfoGan(codes=2, loss="mse")
        >>> encoder = penalty.init(G)                # its parameters go to the generator's optimizer
        >>> for parameter in encoder.parameters():   # one that says 0 is wrong by the codes' own mean square
        ...     _ = nn.init.zeros_(parameter)
        >>> loss = penalty(probe(G), torch.full((8, 6), 2.0), state=encoder)  # times a weight, to the generator's loss
        >>> loss.item()
        4.0
    """

    codes: int | None = None
    loss: Literal["gaussian", "mse"] = "gaussian"
    class_weight: float = 1.0
    trunk: _recognizer.Trunk = "simple"
    width: int = 4
    hidden: int = 16

    def __post_init__(self) -> None:
        check_choices(self)
        if self.codes is not None and self.codes < 1:
            raise ValueError(f"InfoGan(codes={self.codes}): give at least 1 code, or None for the whole latent")
        _recognizer.check(self, self.trunk, self.width, self.hidden)
        if not self.class_weight >= 0:
            raise ValueError(f"InfoGan(class_weight={self.class_weight}): give 0, for no classes, or more")

    def _count(self, dim: int) -> int:
        if self.codes is not None and self.codes > dim:
            raise ValueError(f"InfoGan(codes={self.codes}): the latent has {dim} dimensions; give as many at most")
        return dim if self.codes is None else self.codes

    def init(self, generator: Generator, data: ImageSet | None = None) -> nn.Module:
        """The encoder, on the generator's device and in its precision."""
        classes = generator.classes if self.class_weight else 0
        return _recognizer.build(
            generator,
            data,
            images=1,
            outputs=classes + self._outputs(generator.latent.dim),
            trunk=self.trunk,
            width=self.width,
            hidden=self.hidden,
        )

    def _outputs(self, dim: int) -> int:
        """How many of the encoder's outputs, the last ones, are about codes."""
        return self._count(dim) * (1 if self.loss == "mse" else 2)

    @property
    def shares_base(self) -> bool:
        """The images are those that the critic sees."""
        return True

    def errors(
        self, outputs: Float[Tensor, "batch outputs"], codes: Float[Tensor, "batch n"]
    ) -> Float[Tensor, "batch"]:
        """The loss of each image, for the encoder's outputs: means, then (``gaussian``) logarithms of variances."""
        if self.loss == "mse":
            return (codes - outputs).square().mean(1)
        mean, log_variance = outputs.chunk(2, dim=1)
        standardized = (codes - mean).square() * torch.exp(-log_variance)
        return (standardized + log_variance + math.log(2 * math.pi)).sum(1) / 2

    def terms(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
        probes: Float[Tensor, "k batch dim"] | None = None,
    ) -> dict[str, Tensor]:
        """One scalar under the name of the map's last layer, which must be the image. There are no probes to give."""
        if probes is not None:
            raise ValueError("InfoGan has no probes: it reads the latents back off their own images; leave probes out")
        known = f.known(z)
        image = (f(z) if known is None else known)[-1]
        outputs = _recognizer.look(state, image, type(self).__name__)
        logits, about = outputs.split([outputs.shape[1] - self._outputs(z.shape[1]), self._outputs(z.shape[1])], dim=1)
        loss = self.errors(about, z[:, : self._count(z.shape[1])]).mean()
        if logits.shape[1]:
            label = _recognizer.label_of(f, len(z), type(self).__name__)
            loss = loss + self.class_weight * F.cross_entropy(logits, label)
        return {f.layers[-1]: loss}
