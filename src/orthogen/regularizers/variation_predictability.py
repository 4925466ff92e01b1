"""Variation Predictability: from two images one can tell which latent coordinate changed."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.generator import Generator
from orthogen.core.kinds import ImageSet, LatentPenalty
from orthogen.core.maps import LatentMap
from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import seeded
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
    the pair: I(d; pair) >= log dim - VP. The published systems differ in the fields, and can be had by name:

    ==================  =========  ======  ==========  ==========  ===============  =====  ======  ======
    by name             ``delta``  eps     loss        pair        trunk            width  hidden  weight
    ==================  =========  ======  ==========  ==========  ===============  =====  ======  ======
    `vp_gan`            gauss      6       softmax     concat      residual stddev  8      512     0.01
    `vp_gan_all`        all        3       regression  concat      residual stddev  8      512
    `simple_gan`        gauss      1       binary      difference  simple           4      16      0.1
    (the default)       redraw             softmax     difference  simple           4      16
    ==================  =========  ======  ==========  ==========  ===============  =====  ======  ======

    They are VP-GAN's released script, its older scripts, and the simple GAN of OroJaR's release. VP-GAN's latents are
    uniform on [-2, 2]^dim, where a step of standard deviation 6 takes three quarters of the changed coordinates out of
    the range that the critic ever sees; with ``redraw``, as in the pairs of VP-GAN's metric, none leaves it.

    What the generator is given besides the latent, class labels for one, is the same in both images, and so is noise
    inside it if not asked otherwise. The simple recognizer has 2002 parameters for 64 pixels and 6 dimensions.

    Attributes:
        delta: how z' is made. ``redraw``: coordinate d is that of another latent of the batch, which is a draw from the
            prior, whatever that is. ``gauss``: N(0, eps^2) is added to it. ``step``: eps is added to it. ``all``:
            eps (u - 1/2) is added to the whole latent, u uniform on [0, 1]^dim, and u is what the recognizer must tell;
            ``loss`` is then ``regression``.
        eps: size of the change, in units of the latent; not used by ``redraw``.
        cascade: steps in which the coordinates that may change become more, from the first 2 to all: d is uniform on
            the first min(dim, 2 + (step // (cascade // dim)) mod dim), over and over. Released with 100,000, and off;
            0 for all from the start. A step is a call, of which a batch in several parts makes several; the recognizer
            counts them.
        loss: ``softmax``: cross-entropy over the coordinates. ``binary``: one cross-entropy per coordinate against the
            one-hot of d, averaged over them. ``regression``: sum over coordinates of (sigmoid(Q) - u)^2.
        pair: whether the recognizer sees the ``difference`` of the images or both (``concat``, in their channels).
        trunk: the recognizer's layers. ``simple``: convolutions of kernel 4 and stride 2, as many as bring the image
            down to 4 pixels. ``residual``: those of StyleGAN2's critic. ``residual stddev``: with its minibatch
            standard deviation too, as released, by which what is said of a pair depends on the others.
        width: channels of each convolution (``simple``), or at full resolution, from where they double with every
            halving, up to 512 (``residual``); VP-GAN has 1024 / r for images of r pixels.
        hidden: width of its hidden linear layer; a ``simple`` trunk can do without (0).
        noise: what a generator draws inside: the ``same`` for both images of a pair, or each its ``own``, as VP-GAN's
            release does, so that the recognizer must tell noise from what the latent did.

    Raises:
        ValueError: ``loss`` or ``cascade`` and ``delta`` do not go together; a field is out of range; a batch of one
            with ``redraw``; no recognizer was given; probes were given.

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

    delta: Literal["redraw", "gauss", "step", "all"] = "redraw"
    eps: float = 1.0
    cascade: int = 0
    loss: Literal["softmax", "binary", "regression"] = "softmax"
    pair: Literal["difference", "concat"] = "difference"
    trunk: _recognizer.Trunk = "simple"
    width: int = 4
    hidden: int = 16
    noise: Literal["same", "own"] = "same"

    def __post_init__(self) -> None:
        check_choices(self)
        if (self.delta == "all") != (self.loss == "regression"):
            raise ValueError(
                f"VariationPredictability(delta={self.delta!r}, loss={self.loss!r}): 'all' goes with 'regression', "
                "the others go with 'softmax' or 'binary'"
            )
        if not 0 < self.eps < math.inf:
            raise ValueError(
                f"VariationPredictability(eps={self.eps}): the size of the change must be positive, and finite"
            )
        _recognizer.check(self, self.trunk, self.width, self.hidden)
        if self.cascade < 0 or (self.cascade and self.delta == "all"):
            raise ValueError(
                f"VariationPredictability(cascade={self.cascade}, delta={self.delta!r}): a cascade has some steps, in "
                "which single coordinates change; 0 is none"
            )

    @classmethod
    def vp_gan(cls) -> "VariationPredictability":
        """VP-GAN's released training script, for 128 pixels; ``width`` is 16 for 64 pixels."""
        return cls("gauss", 6.0, pair="concat", trunk="residual stddev", width=8, hidden=512, noise="own")

    @classmethod
    def vp_gan_all(cls) -> "VariationPredictability":
        """VP-GAN's older scripts, in which the whole latent changes."""
        return replace(cls.vp_gan(), delta="all", eps=3.0, loss="regression")

    @classmethod
    def simple_gan(cls) -> "VariationPredictability":
        """The baseline in OroJaR's release."""
        return cls("gauss", 1.0, loss="binary")

    def init(self, generator: Generator, data: ImageSet | None = None) -> nn.Module:
        """The recognizer, on the generator's device and in its precision."""
        recognizer = _recognizer.build(
            generator,
            data,
            images=1 if self.pair == "difference" else 2,
            outputs=generator.latent.dim,
            trunk=self.trunk,
            width=self.width,
            hidden=self.hidden,
        )
        if self.cascade:
            recognizer.register_buffer("calls", torch.zeros((), dtype=torch.int64, device=generator.device))
        return recognizer

    def eligible(self, calls: Int[Tensor, ""], dim: int) -> Int[Tensor, ""]:
        """How many coordinates, the first ones, may change after so many calls.

        Example:
            >>> penalty = VariationPredictability(cascade=40)
            >>> [int(penalty.eligible(torch.tensor(calls), dim=4)) for calls in (0, 10, 20, 30, 40)]
            [2, 3, 4, 4, 2]
        """
        return (2 + calls // max(1, self.cascade // dim) % dim).clamp(max=dim)

    def change(
        self, z: Float[Tensor, "batch dim"], rng: torch.Generator, among: Int[Tensor, ""] | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Latents z' and what the recognizer must tell: the one-hot of d, or u.

        Args:
            z: the latents.
            rng: draws.
            among: how many coordinates, the first ones, may change; all for None.
        """
        batch, dim = z.shape
        if self.delta == "all":
            u = torch.rand(batch, dim, generator=rng, device=rng.device).to(z)
            return z + self.eps * (u - 0.5), u
        drawn = torch.randint(dim if among is None else 2**62, (batch,), generator=rng, device=rng.device)
        d = drawn.to(z.device) if among is None else drawn.to(z.device) % among.to(z.device)
        changed = (d[:, None] == torch.arange(dim, device=z.device)).to(z)
        if self.delta == "step":
            return z + self.eps * changed, changed
        if self.delta == "gauss":
            return z + changed * (self.eps * torch.randn(batch, 1, generator=rng, device=rng.device).to(z)), changed
        if batch < 2:
            raise ValueError(
                "VariationPredictability: 'redraw' takes values from other latents; give 2 or more, or 'gauss'"
            )
        shift = torch.randint(1, batch, (batch,), generator=rng, device=rng.device)
        other = (torch.arange(batch, device=rng.device) + shift) % batch
        return torch.where(changed > 0, z[other.to(z.device)], z), changed

    @property
    def shares_base(self) -> bool:
        """The first images are those that the critic sees."""
        return True

    def errors(self, outputs: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """The loss of each pair, for the recognizer's outputs."""
        if self.loss == "softmax":
            return -(F.log_softmax(outputs, dim=1) * target).sum(1)
        if self.loss == "binary":
            return F.binary_cross_entropy_with_logits(outputs, target, reduction="none").mean(1)
        return (outputs.sigmoid() - target).square().sum(1)

    def _among(self, state: nn.Module | None, dim: int) -> Int[Tensor, ""] | None:
        """How many coordinates may change at this call, which is counted."""
        if not self.cascade or state is None:
            return None
        calls = state.get_buffer("calls")
        among = self.eligible(calls, dim)
        calls += 1
        return among

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
        rng = private() if rng is None else rng
        changed, target = self.change(z, rng, self._among(state, z.shape[1]))
        known = f.known(z)
        if self.noise == "own":
            known = f(z) if known is None else known
            with seeded(rng, z.device):
                after = f(changed)
        elif known is None:
            known, after = f.passes(torch.stack([z, changed]))
        else:
            after = f(changed)
        first, second = known[-1], after[-1]
        pair = first - second if self.pair == "difference" else torch.cat([first, second], dim=1)
        outputs = _recognizer.look(state, pair, type(self).__name__)
        return {f.layers[-1]: self.errors(outputs, target).mean()}
