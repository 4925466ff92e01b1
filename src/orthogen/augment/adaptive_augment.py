"""ADA: augmentation of everything the critic sees, as strong as the critic overfits."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orthogen.augment._pipeline import PARTS, Draws
from orthogen.core.kinds import Augmentation
from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["AdaptiveAugment"]

CITATION = """\
@inproceedings{karras2020training,
  title     = {Training Generative Adversarial Networks with Limited Data},
  author    = {Karras, Tero and Aittala, Miika and Hellsten, Janne and Laine, Samuli and Lehtinen, Jaakko and
               Aila, Timo},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2020}
}
"""


class _Strength(nn.Module):
    """How strong the augmentation is, and what the critic said since that was last looked at."""

    p: Tensor
    signs: Tensor
    images: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(()))  # sum over those images
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))


@dataclass(frozen=True)
class AdaptiveAugment(Augmentation):
    """Changes of place and color, each with probability p for each sample; p follows the critic.

        every `interval` critic steps:  p <- p + sign(r - target) N / length, within [0, 1]
        r = E sign(D(x)), x real: the N images since p last moved

    r is 0 where the critic knows nothing, 1 where it is sure of all real images. In this order, side meaning the
    image's side and n a normal number:

        blit      mirror (half of them); 0 to 3 quarter turns; shift by round(side U[-1/8, 1/8])
        geometry  scale by 2^(0.2 n); turn by U[-pi, pi]; stretch by 2^(0.2 n), one side, and by its inverse, the
                  other; turn by U[-pi, pi]; shift by side n / 8
        color     brightness + 0.2 n; contrast 2^(0.5 n); luma flip (half of them); hue by U[-pi, pi]; saturation 2^n

    The two turns have probability 1 - sqrt(1 - p) each, so that there is one at least with p. Blits copy pixels as they
    are; for the geometry images are resampled once, at twice the resolution behind a wavelet's low-pass filter. What
    comes in from outside is the image's reflection. Samples that nothing was drawn for stay as they are to the bit, and
    all do at p = 0. Images may leave [-1, 1]. It can be differentiated twice, as `R1` does.

    The paper composes blits and geometry to one change of place, and so resamples images for blits too.

    Attributes:
        policy: what is done, in this order, separated by commas: blit, geometry, color.
        p: a fixed probability; None for the adaptive one, which begins at 0.
        target: the r to be held.
        length: images over which p would go from 0 to 1. The release of group spectral regularization multiplies its
            step by the target, which a length of 833,333 does for its 500,000 and 0.6.
        interval: critic steps between changes of p.

    Raises:
        ValueError: an unknown or repeated part of the policy, a p out of [0, 1], or an interval or length below 1; an
            adaptive one without its memory; images that are not square, or not of 1 or 3 channels.

    Reference:
        T. Karras, M. Aittala, J. Hellsten, S. Laine, J. Lehtinen, T. Aila, "Training Generative Adversarial Networks
        with Limited Data", NeurIPS 2020, section 3 and appendix B; without its filters, noise and cutout.

    Example:
        >>> augment = AdaptiveAugment(interval=1, length=100)
        >>> state = augment.init()
        >>> x = torch.rand(20, 3, 8, 8)
        >>> bool((augment(x, state=state) == x).all())
        True
        >>> augment.observe(state, torch.ones(20))  # the critic is sure of all 20
        {'p': tensor(0.2000), 'r': tensor(1.)}
        >>> bool((augment(x, state=state) == x).all())
        False
    """

    policy: str = "blit,geometry,color"
    p: float | None = None
    target: float = 0.6
    length: int = 500_000
    interval: int = 4

    def __post_init__(self) -> None:
        for name in self.parts:
            if name not in PARTS:
                known = ", ".join(PARTS)
                raise ValueError(f"AdaptiveAugment(policy={self.policy!r}): there is no {name!r}; give some of {known}")
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"AdaptiveAugment(policy={self.policy!r}): name each part once")
        if self.p is not None and not 0 <= self.p <= 1:
            raise ValueError(f"AdaptiveAugment(p={self.p}): give a probability from 0 to 1, or None to adapt it")
        if min(self.length, self.interval) < 1:
            raise ValueError(f"AdaptiveAugment(length={self.length}, interval={self.interval}): both are 1 at least")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the policy."""
        return tuple(name.strip() for name in self.policy.split(","))

    def init(self) -> nn.Module | None:
        """The adaptive p and what moves it; None where p is fixed."""
        return _Strength() if self.p is None else None

    def __call__(
        self,
        images: Float[Tensor, "batch c h w"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """The changed images; draws are made on the device of ``rng``."""
        p = self._probability(state)
        rng = private() if rng is None else rng
        changed = images.to(torch.promote_types(images.dtype, torch.float32))
        draws = Draws(changed, rng, p)
        with torch.autocast(images.device.type, enabled=False):
            for name in self.parts:
                changed = PARTS[name](changed, draws)
        return changed.to(images.dtype)

    def _probability(self, state: nn.Module | None) -> Tensor | float:
        if self.p is not None:
            return self.p
        if not isinstance(state, _Strength):
            raise ValueError(
                "AdaptiveAugment follows the critic: make its memory with state = augment.init() and hand it over as "
                "state=state, or fix the probability, as in AdaptiveAugment(p=0.2)"
            )
        return state.p

    @torch.no_grad()
    def observe(self, state: nn.Module | None, real_logits: Float[Tensor, "batch ..."]) -> dict[str, Tensor]:
        """Adapt p to the critic's logits for a batch of real images; p and r of the images since it last moved."""
        if not isinstance(state, _Strength):
            return {}
        signs, parts = real_logits.float().sign().mean() * len(real_logits), 1
        if dist.is_available() and dist.is_initialized():  # each sees its part of a step's images; p is that of all
            dist.all_reduce(signs)
            parts = dist.get_world_size()
        state.signs += signs
        state.images += len(real_logits) * parts
        state.calls += 1
        due = state.calls % self.interval == 0  # on the device: an `if` would wait for it
        r = state.signs / state.images
        stepped = (state.p + (r - self.target).sign() * state.images / self.length).clamp(0, 1)
        state.p.copy_(torch.where(due, stepped, state.p))
        for sums in (state.signs, state.images):
            sums.masked_fill_(due, 0)
        return {"p": state.p.clone(), "r": r}
