"""LeCam: the critic's logits for real and generated images stay near where those of the other kind usually are."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import CriticBatch, CriticPenalty, ImageSet
from orthogen.core.shapes import Float

__all__ = ["LeCam"]

CITATION = """\
@inproceedings{tseng2021regularizing,
  title     = {Regularizing Generative Adversarial Networks under Limited Data},
  author    = {Tseng, Hung-Yu and Jiang, Lu and Liu, Ce and Yang, Ming-Hsuan and Yang, Weilong},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2021}
}
"""


class _Anchors(nn.Module):
    """Averages of the critic's logits: one number each, or, as released, one for each place in the batch."""

    real: Tensor
    fake: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("real", "fake"):  # released: as many as the batch had when it was written down
            if (kept := state_dict.get(prefix + name)) is not None and kept.shape != getattr(self, name).shape:
                setattr(self, name, torch.empty_like(kept, device=self.calls.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


@dataclass(frozen=True)
class LeCam(CriticPenalty):
    """Each kind's logits are held to where they do not pass the average of the other kind.

        L = E relu(D(x) - a_F)^2 + E relu(a_R - D(G(z)))^2
        a_R, a_F <- decay a + (1 - decay) (mean of D(x), of D(G(z)) over the batch), before they are used

    The averages begin as the means of the first batch seen, so nothing has to be set. Wait before the first use with
    ``Term(LeCam(), weight=0.3, start=...)``, which begins after so many images (StudioGAN: 1000 generator steps): it
    starts from averages of 7777 that the wait has to replace, and without one its penalty is 5.7e7.

    ``compat="released"`` is the form in the release of group spectral regularization:

        L = E relu(D(x) - a_F)^2 + E relu(D(G(z)) - a_R)^2

    of which the second term is about 0, as generated images rarely beat real ones. It averages the logits of each place
    in the batch over batches, each process its own; averages begin at 0, and move after the first ``held`` calls.

    Attributes:
        decay: of the averages, per call.
        compat: None, or ``"released"``.
        held: calls before the released averages move: the critic steps of the first generator step.

    Raises:
        ValueError: a decay out of [0, 1), another compat, or a negative ``held``; there is no memory; the batch changed
            its size (released).

    Reference:
        H.-Y. Tseng, L. Jiang, C. Liu, M.-H. Yang, W. Yang, "Regularizing Generative Adversarial Networks under Limited
        Data", CVPR 2021; decay as in StudioGAN, with a weight of 0.3.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 1.0])  # averages: 2 and 0
        >>> images = torch.zeros(2, 1, 4, 4)
        >>> penalty = LeCam()
        >>> state = penalty.init(adapt(nn.Identity(), Normal(2)))
        >>> penalty(nn.Identity(), CriticBatch(images, images, real, fake), state=state).item()  # (1 + 9 + 9 + 1) / 2
        10.0
    """

    decay: float = 0.99
    compat: Literal["released"] | None = None
    held: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"LeCam(decay={self.decay}): give a number from 0 to less than 1")
        if self.compat not in (None, "released"):
            raise ValueError(f"LeCam(compat={self.compat!r}): None or 'released' is accepted")
        if self.held < 0:
            raise ValueError(f"LeCam(held={self.held}): give a number of calls, 0 at least")

    def init(self, generator: Generator, data: ImageSet | None = None, critic: nn.Module | None = None) -> nn.Module:
        """The averages."""
        return _Anchors().to(generator.device)

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss; the averages move."""
        if not isinstance(state, _Anchors):
            raise ValueError(
                "LeCam remembers averages of logits: make its memory with state = penalty.init(generator) and hand it "
                "over as state=state"
            )
        real, fake = batch.real_logits, batch.fake_logits
        with torch.no_grad():
            (self._follow if self.compat is None else self._follow_each)(state, real, fake)
            state.calls += 1
        above = fake - state.real if self.compat else state.real - fake
        return F.relu(real - state.fake).square().mean() + F.relu(above).square().mean()

    def _follow(self, state: _Anchors, real: Tensor, fake: Tensor) -> None:
        share = torch.where(state.calls == 0, 1.0, 1 - self.decay)  # on the device: an `if` would wait for it
        state.real.lerp_(real.mean().to(state.real), share)
        state.fake.lerp_(fake.mean().to(state.fake), share)

    def _follow_each(self, state: _Anchors, real: Tensor, fake: Tensor) -> None:
        share = torch.where(state.calls < self.held, 0.0, 1 - self.decay)
        for name, logits in (("real", real), ("fake", fake)):
            average = getattr(state, name)
            if average.ndim and average.shape != logits.shape:
                raise ValueError(
                    f"LeCam(compat='released') has an average for each place in a batch of {tuple(average.shape)} "
                    f"logits; {tuple(logits.shape)} were given, keep one size"
                )
            setattr(state, name, torch.lerp(average.to(logits).expand_as(logits), logits, share.to(logits)))
