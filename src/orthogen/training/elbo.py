"""What a variational autoencoder minimizes: a bound on the likelihood, and weights on the parts of its divergence."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.shapes import Float

__all__ = ["Elbo", "Parts", "decomposed", "divergence"]

CITATION = """\
@inproceedings{kingma2014auto,
  title     = {Auto-Encoding Variational {Bayes}},
  author    = {Kingma, Diederik P. and Welling, Max},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2014}
}

@inproceedings{higgins2017beta,
  title     = {beta-{VAE}: Learning Basic Visual Concepts with a Constrained Variational Framework},
  author    = {Higgins, Irina and Matthey, Loic and Pal, Arka and Burgess, Christopher and Glorot, Xavier and
               Botvinick, Matthew and Mohamed, Shakir and Lerchner, Alexander},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2017}
}

@inproceedings{chen2018isolating,
  title     = {Isolating Sources of Disentanglement in Variational Autoencoders},
  author    = {Chen, Ricky T. Q. and Li, Xuechen and Grosse, Roger and Duvenaud, David},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2018}
}
"""


@dataclass(frozen=True, eq=False)
class Parts:
    """What an `Elbo` is made of, in nats: means over the images of a batch.

    Attributes:
        error: of reconstruction, -log p(x|z).
        divergence: of each latent's posterior from the prior.
        index_code: estimate of I(n; z), what a code tells about which image it is of.
        total_correlation: estimate of what the latents of the aggregated posterior tell about each other.
        dimension_wise: estimate of how far each of them, by itself, is from the prior, summed.
    """

    error: Float[Tensor, ""]
    divergence: Float[Tensor, "dim"]
    index_code: Float[Tensor, ""]
    total_correlation: Float[Tensor, ""]
    dimension_wise: Float[Tensor, ""]


@dataclass(frozen=True)
class Elbo:
    """The negative evidence lower bound, with a weight on its divergence and one more on the total correlation.

        L = E_q(z|x) [ -log p(x|z) ]  +  beta KL( q(z|x) || p(z) )  +  total_correlation TC(z)
        KL( q(z|x) || p(z) ) = I(n; z)  +  TC(z)  +  sum_i KL( q(z_i) || p(z_i) )      (mean over images)
        TC(z) = KL( q(z) || prod_i q(z_i) ),   q(z) = mean over images n of q(z|n)

    =============  ======  =====================
    paper          beta    ``total_correlation``
    =============  ======  =====================
    VAE            1       0
    beta-VAE       beta    0
    beta-TC-VAE    1       beta - 1
    =============  ======  =====================

    The posterior q(z|x) is a normal distribution with diagonal covariance, the prior N(0, I), the code z one sample.
    The divergence is exact; its three summands are estimated from the batch, see `decomposed`. All is in nats per
    image, summed over pixels and latents.

    Attributes:
        beta: weight of the divergence.
        total_correlation: weight of the total correlation, on top of the share that it has in the divergence.
        reconstruction: the likelihood of brightness b in [0, 1] under the decoder's mean m = sigmoid(logit), pixel by
            pixel. ``bernoulli``: -b log m - (1 - b) log(1 - m), a likelihood of binary images, for others a
            cross-entropy that is lowest at m = b. ``gaussian``: (b - m)^2 / 2, of variance 1 and without its constant;
            variance s^2 is the same as s^2 times the weights.

    Raises:
        ValueError: beta is negative, or there is no such likelihood.

    Reference:
        D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014; beta: I. Higgins et al., "beta-VAE:
        Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017; total correlation: R. T. Q.
        Chen, X. Li, R. Grosse, D. Duvenaud, "Isolating Sources of Disentanglement in Variational Autoencoders", NeurIPS
        2018, eqs. 2 to 4.

    Example:
        >>> z = mean = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
        >>> parts = Elbo().parts(torch.zeros(2, 1, 4, 4), -torch.ones(2, 1, 4, 4), z, mean, torch.zeros(2, 2))
        >>> f"{parts.error:.4f}"  # 16 log 2
        '11.0904'
        >>> parts.divergence.tolist()
        [2.0, 0.0]
        >>> f"{Elbo(beta=4.0).loss(parts):.4f}"
        '19.0904'
    """

    beta: float = 1.0
    total_correlation: float = 0.0
    reconstruction: Literal["bernoulli", "gaussian"] = "bernoulli"

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"Elbo(beta={self.beta}): the weight of the divergence cannot be negative; 1 is the VAE")
        if not math.isfinite(self.total_correlation):
            raise ValueError(f"Elbo(total_correlation={self.total_correlation}): give a number; 0 is the VAE")

    def errors(
        self, logits: Float[Tensor, "batch c h w"], images: Float[Tensor, "batch c h w"]
    ) -> Float[Tensor, "batch"]:
        """-log p(x|z) of each image in [-1, 1]."""
        brightness = (images + 1) / 2
        if self.reconstruction == "bernoulli":
            each = F.binary_cross_entropy_with_logits(logits, brightness, reduction="none")
        else:
            each = (brightness - logits.sigmoid()).square() / 2
        return each.flatten(1).sum(1)

    def parts(
        self,
        logits: Float[Tensor, "batch c h w"],
        images: Float[Tensor, "batch c h w"],
        z: Float[Tensor, "batch dim"],
        mean: Float[Tensor, "batch dim"],
        log_variance: Float[Tensor, "batch dim"],
    ) -> Parts:
        """The summands for images, the codes drawn for them and what was decoded; without gradients where unused."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.total_correlation != 0):
            index_code, total_correlation, dimension_wise = decomposed(z, mean, log_variance)
        return Parts(
            self.errors(logits, images).mean(),
            divergence(mean, log_variance).mean(0),
            index_code,
            total_correlation,
            dimension_wise,
        )

    def loss(self, parts: Parts) -> Float[Tensor, ""]:
        """L."""
        bound = parts.error + self.beta * parts.divergence.sum()
        return bound + self.total_correlation * parts.total_correlation if self.total_correlation else bound


def divergence(
    mean: Float[Tensor, "batch dim"], log_variance: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch dim"]:
    """KL( N(m, s^2) || N(0, 1) ) = (m^2 + s^2 - log s^2 - 1) / 2, of every latent of every image.

    Example:
        >>> divergence(torch.tensor([[2.0]]), torch.zeros(1, 1))
        tensor([[2.]])
    """
    return (mean.square() + log_variance.exp() - log_variance - 1) / 2


def decomposed(
    z: Float[Tensor, "batch dim"], mean: Float[Tensor, "batch dim"], log_variance: Float[Tensor, "batch dim"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Index-code mutual information, total correlation and dimension-wise divergence, by minibatch-weighted sampling.

        log q(z_n) = log (1/M) sum_m q(z_n | m),      log q(z_ni) = log (1/M) sum_m q(z_ni | m)

    over the M images of the batch, each with one code z_n of its own among them. The paper has 1 / (N M) in place of
    1 / M, with N the images of the data set (eq. 3). That changes each logarithm by log N, which has no gradient, and
    the total correlation by (dim - 1) log N; with 1 / M it becomes the true one as the batch grows. In a batch of M the
    information cannot show beyond log M nats, and what it lacks is in the total correlation: compare estimates from
    batches of one size, and know that a batch in parts (processes, accumulation) has one estimate per part.

    The three add up to the mean of log q(z_n | n) - log p(z_n), whose expectation is the divergence.

    Example:
        >>> z = mean = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # two points on a diagonal, far apart for their width
        >>> _, correlation, _ = decomposed(z, mean, torch.full((2, 2), -9.0))
        >>> f"{correlation:.4f}"  # log 2: each latent tells all about the other
        '0.6931'
    """
    log_2pi = math.log(2 * math.pi)
    own = -((z - mean).square() * (-log_variance).exp() + log_variance + log_2pi).sum(1) / 2
    prior = -(z.square() + log_2pi).sum(1) / 2
    # of the code in row n, latent i, under the posterior of image m: (n, m, i)
    pairs = -((z[:, None] - mean).square() * (-log_variance).exp() + log_variance + log_2pi) / 2
    joint = pairs.sum(2).logsumexp(1) - math.log(len(z))
    marginals = (pairs.logsumexp(1) - math.log(len(z))).sum(1)
    return (own - joint).mean(), (joint - marginals).mean(), (marginals - prior).mean()
