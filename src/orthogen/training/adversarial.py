"""Adversarial losses: what critic and generator play. Logits are the critic's raw outputs, high for real images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["AdversarialLoss", "Hinge", "LeastSquares", "NonSaturating", "Relativistic", "Wasserstein"]


class AdversarialLoss(ABC):
    """Two scalars to minimize: the critic's, of the logits of real and fake images, and the generator's.

    Example:
        >>> import torch
        >>> loss = NonSaturating()
        >>> real, fake = torch.zeros(4), torch.zeros(4)           # critic(images), critic(G(z).detach())
        >>> f"{loss.critic(real, fake):.4f}"                      # 2 log 2: it cannot tell them apart
        '1.3863'
        >>> f"{loss.generator(fake):.4f}"
        '0.6931'
    """

    @property
    def needs_real(self) -> bool:
        """Whether the generator's loss needs the logits of real images."""
        return False

    @abstractmethod
    def critic(self, real_logits: Float[Tensor, "n ..."], fake_logits: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """The critic's loss."""

    @abstractmethod
    def generator(
        self, fake_logits: Float[Tensor, "m ..."], real_logits: Float[Tensor, "n ..."] | None = None
    ) -> Float[Tensor, ""]:
        """The generator's loss; ``real_logits`` only where `needs_real`."""


@dataclass(frozen=True)
class Wasserstein(AdversarialLoss):
    """L_D = s (E D(fake) - E D(real)),   L_G = -E D(fake); together with `GradientPenalty`.

    Attributes:
        critic_scale: s; 1/2 in the simple GAN of OroJaR (its default), 1 in the paper below.

    Reference:
        M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", ICML 2017.
    """

    critic_scale: float = 0.5

    def critic(self, real_logits: Float[Tensor, "n ..."], fake_logits: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """The critic's loss, L_D."""
        return self.critic_scale * (fake_logits.mean() - real_logits.mean())

    def generator(
        self, fake_logits: Float[Tensor, "m ..."], real_logits: Float[Tensor, "n ..."] | None = None
    ) -> Float[Tensor, ""]:
        """The generator's loss, L_G."""
        return -fake_logits.mean()


@dataclass(frozen=True)
class NonSaturating(AdversarialLoss):
    """L_D = s (E softplus(-D(real)) + E softplus(D(fake))),   L_G = E softplus(-D(fake)).

    Attributes:
        critic_scale: s; 1 in the paper, 1/2 in the "vanilla" mode of the simple GAN.

    Reference:
        I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014.
    """

    critic_scale: float = 1.0

    def critic(self, real_logits: Float[Tensor, "n ..."], fake_logits: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """The critic's loss, L_D."""
        return self.critic_scale * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())

    def generator(
        self, fake_logits: Float[Tensor, "m ..."], real_logits: Float[Tensor, "n ..."] | None = None
    ) -> Float[Tensor, ""]:
        """The generator's loss, L_G."""
        return F.softplus(-fake_logits).mean()


@dataclass(frozen=True)
class Hinge(AdversarialLoss):
    """L_D = E relu(1 - D(real)) + E relu(1 + D(fake)),   L_G = -E D(fake).

    Attributes:
        bounded: L_G = E relu(1 - D(fake)) instead, as in EigenGAN.

    Reference:
        J. H. Lim, J. C. Ye, "Geometric GAN", 2017; T. Miyato et al., "Spectral Normalization for Generative
        Adversarial Networks", ICLR 2018.
    """

    bounded: bool = False

    def critic(self, real_logits: Float[Tensor, "n ..."], fake_logits: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """The critic's loss, L_D."""
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()

    def generator(
        self, fake_logits: Float[Tensor, "m ..."], real_logits: Float[Tensor, "n ..."] | None = None
    ) -> Float[Tensor, ""]:
        """The generator's loss, L_G."""
        return F.relu(1 - fake_logits).mean() if self.bounded else -fake_logits.mean()


@dataclass(frozen=True)
class LeastSquares(AdversarialLoss):
    """L_D = (E (D(real) - 1)^2 + E D(fake)^2) / 2,   L_G = E (D(fake) - 1)^2 / 2.

    Reference:
        X. Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.
    """

    def critic(self, real_logits: Float[Tensor, "n ..."], fake_logits: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """The critic's loss, L_D."""
        return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2

    def generator(
        self, fake_logits: Float[Tensor, "m ..."], real_logits: Float[Tensor, "n ..."] | None = None
    ) -> Float[Tensor, ""]:
        """The generator's loss, L_G."""
        return (fake_logits - 1).square().mean() / 2


@dataclass(frozen=True)
class Relativistic(AdversarialLoss):
    """L_D = E softplus(D(fake) - D(real)),   L_G = E softplus(D(real) - D(fake)),   over pairs of real and fake images.

    Reference:
        A. Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", ICLR 2019
        (RpGAN); with `R1` and `R2`: N. Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline",
        NeurIPS 2024.
    """

    @property
    def needs_real(self) -> bool:
        """Both losses pair real with fake logits."""
        return True

    @staticmethod
    def _margin(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D(real) - D(fake) of each pair. Shapes must agree: (n, 1) - (n,) would pair every real with every fake."""
        if real_logits.shape != fake_logits.shape:
            raise ValueError(
                f"Relativistic pairs real with fake logits; {tuple(real_logits.shape)} and {tuple(fake_logits.shape)} "
                "were given, give as many of each"
            )
        return real_logits - fake_logits

    def critic(self, real_logits: Float[Tensor, "n ..."], fake_logits: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """The critic's loss, L_D."""
        return F.softplus(-self._margin(real_logits, fake_logits)).mean()

    def generator(
        self, fake_logits: Float[Tensor, "m ..."], real_logits: Float[Tensor, "n ..."] | None = None
    ) -> Float[Tensor, ""]:
        """The generator's loss, L_G."""
        if real_logits is None:
            raise ValueError("Relativistic.generator needs the critic's logits of real images too; give real_logits")
        return F.softplus(self._margin(real_logits, fake_logits)).mean()
