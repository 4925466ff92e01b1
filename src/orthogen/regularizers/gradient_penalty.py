"""Penalties on the critic's gradient with respect to its images: R1, R2 and the one of WGAN-GP.

They differentiate a derivative, so the critic must be twice differentiable; every layer of ours is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.kinds import CriticBatch, CriticPenalty
from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import untouched

__all__ = ["R1", "R2", "GradientPenalty"]


def image_gradient(
    critic: nn.Module, images: Float[Tensor, "batch c h w"], labels: Int[Tensor, "batch"] | None = None
) -> Float[Tensor, "batch chw"]:
    """grad_x D(x) of each image, differentiable in the critic's parameters; in float32 at least, outside autocast.

    The critic's buffers stay as they are: this pass does not count for batch statistics or power iterations.
    """
    x = images.detach().to(torch.promote_types(images.dtype, torch.float32)).requires_grad_()
    with untouched(critic, x.device) as host, torch.enable_grad():
        host.rewind()
        logits = critic(x) if labels is None else critic(x, labels)
        # samples do not see each other, so the gradient of the sum holds each one's own
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1)


@dataclass(frozen=True)
class R1(CriticPenalty):
    """A zero-centered gradient penalty on real images.

        R1 = gamma / 2  E_{x real} |grad_x D(x)|^2

    A conditional critic is called with the real labels, ``critic(images, labels)``.

    Attributes:
        gamma: its strength.

    Reference:
        L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018, with
        gamma = 10. StyleGAN2 applies it every 16 steps, as `Term(R1(), every=16)` does.

    Example:
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
        >>> _ = nn.init.ones_(critic[1].weight)                     # the gradient is (1, 1, 1, 1)
        >>> real, fake = torch.randn(8, 1, 2, 2), torch.randn(8, 1, 2, 2)
        >>> batch = CriticBatch(real, fake, critic(real), critic(fake))
        >>> R1()(critic, batch).item()                              # add to the critic's loss
        20.0
    """

    gamma: float = 10.0

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss."""
        return self.gamma / 2 * image_gradient(critic, batch.real, batch.real_labels).square().sum(1).mean()


@dataclass(frozen=True)
class R2(CriticPenalty):
    """A zero-centered gradient penalty on generated images.

        R2 = gamma / 2  E_{x fake} |grad_x D(x)|^2

    A conditional critic is called with the labels of the generated images.

    Attributes:
        gamma: its strength.

    Reference:
        L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018, with
        gamma = 10.

    Example:
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
        >>> _ = nn.init.ones_(critic[1].weight)
        >>> real, fake = torch.randn(8, 1, 2, 2), torch.randn(8, 1, 2, 2)
        >>> R2(gamma=1.0)(critic, CriticBatch(real, fake, critic(real), critic(fake))).item()
        2.0
    """

    gamma: float = 10.0

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss."""
        return self.gamma / 2 * image_gradient(critic, batch.fake, batch.fake_labels).square().sum(1).mean()


@dataclass(frozen=True)
class GradientPenalty(CriticPenalty):
    """WGAN-GP: the critic's gradient has norm 1 between real and generated images.

        GP = strength  E (|grad_x D(x)| - target)^2,   x = real + a (fake - real),   a ~ U[0, 1] for each pair

    A conditional critic is called with the real labels; draw the generated images for the same ones.

    Attributes:
        strength: lambda of the paper.
        target: the wanted norm.

    Raises:
        ValueError: there are not as many real as generated images.

    Reference:
        I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of Wasserstein GANs",
        NeurIPS 2017, equation 3 with lambda = 10; the simple GAN of OroJaR has the same values.

    Example:
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
        >>> _ = nn.init.ones_(critic[1].weight)                     # the gradient has norm 2 everywhere
        >>> real, fake = torch.randn(8, 1, 2, 2), torch.randn(8, 1, 2, 2)
        >>> batch = CriticBatch(real, fake, critic(real), critic(fake))
        >>> GradientPenalty()(critic, batch).item()                 # add to the critic's loss
        10.0
    """

    strength: float = 10.0
    target: float = 1.0

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss."""
        if batch.real.shape != batch.fake.shape:
            raise ValueError(
                f"GradientPenalty pairs real with generated images; {tuple(batch.real.shape)} and "
                f"{tuple(batch.fake.shape)} were given, give as many of each"
            )
        rng = private() if rng is None else rng
        alpha = torch.rand(len(batch.real), 1, 1, 1, generator=rng, device=rng.device).to(batch.real)
        between = torch.lerp(batch.real, batch.fake.to(batch.real), alpha)
        # where a gradient is exactly 0, torch's norm has the subgradient 0 and not nan
        norm = torch.linalg.vector_norm(image_gradient(critic, between, batch.real_labels), dim=1)
        return self.strength * (norm - self.target).square().mean()
