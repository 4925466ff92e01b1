"""Variation Predictability: from two images one can tell which latent coordinate changed."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.generator import Generator
from orthogen.core.kinds import ImageSet, LatentPenalty
from orthogen.core.maps import LatentMap
from orthogen.core.rng import private
from orthogen.core.shapes import Float
from orthogen.regularizers import _recognizer

__all__ = ["VariationPredictability"]

CITATION = """\
@inproceedings{zhu2020learning,
  title     = {Learning Disentangled Representations with Latent Variation Predictability},
  author    = {Zhu, Xinqi and Xu, Chang and Tao, Dacheng},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class VariationPredictability(LatentPenalty):
    """A recognizer Q sees a pair of images whose latents z, z' differ in one random coordinate d, and must name it.

        VP = -E log softmax(Q(G(z) - G(z')))_d

    Minimized over generator and recognizer together, it maximizes a lower bound of the mutual information between d and
    the pair: I(d; pair) >= log dim - VP. The published systems differ in the fields:

    =====================  =========  ===========  ==============  ==============  ======
    system                 ``delta``  ``eps``      ``loss``        ``pair``        weight
    =====================  =========  ===========  ==============  ==============  ======
    VP-GAN, released code  gauss      6, U[-2, 2]  softmax         concat          0.01
    VP-GAN, older scripts  all        3, U[-2, 2]  regression      concat
    OroJaR's simple GAN    gauss      1, N(0, 1)   binary          difference      0.1
    default                redraw                  softmax         difference
    =====================  =========  ===========  ==============  ==============  ======

    The default has VP-GAN's objective and the pairs of its metric. The released step has standard deviation 6 on a
    prior of half-width 2, so that three quarters of the changed coordinates leave the range that the critic ever sees;
    with ``redraw`` none does. The recognizer is that of OroJaR's simple GAN (2002 parameters for 64 pixels and 6
    dimensions), with as many convolutions as bring another resolution down to 4 pixels. Noise inside the generator is
    the same in both images.

    Attributes:
        delta: how z' is made. ``redraw``: coordinate d is that of another latent of the batch, which is a draw from the
            prior, whatever that is. ``gauss``: N(0, eps^2) is added to it. ``all``: eps (u - 1/2) is added to the whole
            latent, u uniform on [0, 1]^dim, and u is what the recognizer must tell; ``loss`` is then ``regression``.
        eps: size of the change, in units of the latent; not used by ``redraw``.
        loss: ``softmax``: cross-entropy over the coordinates. ``binary``: one cross-entropy per coordinate against the
            one-hot of d, averaged over them. ``regression``: sum over coordinates of (sigmoid(Q) - u)^2.
        pair: whether the recognizer sees the ``difference`` of the images or both (``concat``, in their channels).
        width: channels of each of the recognizer's convolutions.
        hidden: width of its hidden linear layer.

    Raises:
        ValueError: ``loss`` and ``delta`` do not go together; ``eps`` is not positive; a batch of one with ``redraw``;
            no recognizer was given; probes were given.

    Reference:
        X. Zhu, C. Xu, D. Tao, "Learning Disentangled Representations with Latent Variation Predictability", ECCV 2020
        (arXiv 2007.12885); simple-GAN variant: Y. Wei et al., "Orthogonal Jacobian Regularization", ICCV 2021.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.core.maps import probe
        >>> G = adapt(nn.Sequential(nn.Linear(6, 256), nn.Unflatten(1, (1, 16, 16))), Normal(6))
        >>> penalty = VariationPredictability()
        >>> recognizer = penalty.init(G)               # its parameters go to the generator's optimizer
        >>> for parameter in recognizer.parameters():  # one that knows nothing is wrong by log 6
        ...     _ = nn.init.zeros_(parameter)
        >>> loss = penalty(probe(G), G.latent.sample(8), state=recognizer)  # times a weight, to the generator's loss
        >>> f"{loss:.4f}"
        '1.7918'
    """

    delta: Literal["redraw", "gauss", "all"] = "redraw"
    eps: float = 1.0
    loss: Literal["softmax", "binary", "regression"] = "softmax"
    pair: Literal["difference", "concat"] = "difference"
    width: int = 4
    hidden: int = 16

    def __post_init__(self) -> None:
        check_choices(self)
        if (self.delta == "all") != (self.loss == "regression"):
            raise ValueError(
                f"VariationPredictability(delta={self.delta!r}, loss={self.loss!r}): 'all' goes with 'regression', "
                "'redraw' and 'gauss' go with 'softmax' or 'binary'"
            )
        if not self.eps > 0:
            raise ValueError(f"VariationPredictability(eps={self.eps}): the size of the change must be positive")

    def init(self, generator: Generator, data: ImageSet | None = None) -> nn.Module:
        """The recognizer, on the generator's device and in its precision."""
        return _recognizer.build(
            generator,
            data,
            images=1 if self.pair == "difference" else 2,
            outputs=generator.latent.dim,
            width=self.width,
            hidden=self.hidden,
        )

    def change(
        self, z: Float[Tensor, "batch dim"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Latents z' and what the recognizer must tell: the one-hot of d, or u."""
        batch, dim = z.shape
        if self.delta == "all":
            u = torch.rand(batch, dim, generator=rng, device=rng.device).to(z)
            return z + self.eps * (u - 0.5), u
        changed = F.one_hot(torch.randint(dim, (batch,), generator=rng, device=rng.device), dim).to(z)
        if self.delta == "gauss":
            return z + changed * (self.eps * torch.randn(batch, 1, generator=rng, device=rng.device).to(z)), changed
        if batch < 2:
            raise ValueError(
                "VariationPredictability: 'redraw' takes values from other latents; give 2 or more, or 'gauss'"
            )
        shift = torch.randint(1, batch, (batch,), generator=rng, device=rng.device)
        other = (torch.arange(batch, device=rng.device) + shift) % batch
        return torch.where(changed > 0, z[other.to(z.device)], z), changed

    def errors(self, outputs: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """The loss of each pair, for the recognizer's outputs."""
        if self.loss == "softmax":
            return -(F.log_softmax(outputs, dim=1) * target).sum(1)
        if self.loss == "binary":
            return F.binary_cross_entropy_with_logits(outputs, target, reduction="none").mean(1)
        return (outputs.sigmoid() - target).square().sum(1)

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
            raise ValueError(
                "VariationPredictability has no probes: it draws pairs of latents with rng; leave probes out"
            )
        changed, target = self.change(z, private() if rng is None else rng)
        known = f.known(z)
        if known is None:
            known, after = f.passes(torch.stack([z, changed]))
        else:
            after = f(changed)
        first, second = known[-1], after[-1]
        pair = first - second if self.pair == "difference" else torch.cat([first, second], dim=1)
        outputs = _recognizer.look(state, pair, type(self).__name__)
        return {f.layers[-1]: self.errors(outputs, target).mean()}
