"""The weak augmentation of consistency regularization: a mirror and a small shift."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.augment._moves import moved
from orthogen.augment._operations import beside
from orthogen.core.kinds import Augmentation
from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["FlipShift"]

CITATION = """\
@inproceedings{zhang2020consistency,
  title     = {Consistency Regularization for Generative Adversarial Networks},
  author    = {Zhang, Han and Zhang, Zizhao and Odena, Augustus and Lee, Honglak},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class FlipShift(Augmentation):
    """Mirrors half of the images, then moves each of them by a few whole pixels; its own reflection comes in.

        y[r, s] = x'[r + a, s + b],   a, b ~ U{-m, ..., m},   m = share of the side,   x' = x, or mirrored if u < 1/2

    Every image draws u ~ U[0, 1), a and b of its own. The augmentation that `Consistency` compares images under.

    Attributes:
        flip: probability of the mirror.
        shift: the largest shift, as a share of the side; rounded down to whole pixels.

    Raises:
        ValueError: a probability out of [0, 1], or a shift out of [0, 1).

    Reference:
        H. Zhang, Z. Zhang, A. Odena, H. Lee, "Consistency Regularization for Generative Adversarial Networks",
        ICLR 2020.

    Example:
        >>> x = torch.arange(8.0).expand(2, 1, 8, 8)
        >>> FlipShift()(x, rng=torch.Generator().manual_seed(2))[:, 0, 0]
        tensor([[1., 2., 3., 4., 5., 6., 7., 6.],
                [6., 7., 6., 5., 4., 3., 2., 1.]])
    """

    flip: float = 0.5
    shift: float = 0.125

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"FlipShift(flip={self.flip}): give a probability from 0 to 1")
        if not 0 <= self.shift < 1:
            raise ValueError(f"FlipShift(shift={self.shift}): give a share of the side, from 0 to less than 1")

    def __call__(
        self,
        images: Float[Tensor, "batch c h w"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """The changed images; draws are made on the device of ``rng``."""
        rng = private() if rng is None else rng
        mirrored = torch.rand(len(images), generator=rng, device=rng.device) < self.flip
        most = [int(self.shift * side) for side in images.shape[2:]]
        rows, columns = (torch.randint(-m, m + 1, (len(images),), generator=rng, device=rng.device) for m in most)
        return moved(images, *(beside(images, drawn) for drawn in (mirrored, rows, columns)))
