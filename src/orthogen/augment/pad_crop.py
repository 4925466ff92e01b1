"""Padding, a random crop and a mirror: how small images are varied for a classifier."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.augment._operations import beside, translation
from orthogen.core.kinds import Augmentation
from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["PadCrop"]

CITATION = """\
@inproceedings{he2016deep,
  title     = {Deep Residual Learning for Image Recognition},
  author    = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2016}
}
"""


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """A crop of the padded image, as large as the image was, and a mirror for half of all images.

        y[r, s] = x[r + a, m (s + b)],   a, b ~ U{-padding, ..., padding},   m mirrors with probability 1/2

    Where that is outside, y is black, -1. Each image draws its own.

    Attributes:
        padding: pixels on each side.
        flip: whether images are mirrored.

    Raises:
        ValueError: the padding is negative.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.

    Example:
        >>> x = torch.ones(1, 1, 2, 2)
        >>> PadCrop(padding=0)(x), PadCrop(padding=1, flip=False)(x, rng=torch.Generator().manual_seed(1))
        (tensor([[[[1., 1.], [1., 1.]]]]), tensor([[[[ 1., -1.], [ 1., -1.]]]]))
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"PadCrop(padding={self.padding}): give the pixels on each side, 0 for none")

    def __call__(
        self,
        images: Float[Tensor, "batch c h w"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """The changed images; draws are made on the device of ``rng``."""
        rng = private() if rng is None else rng
        n, p = len(images), self.padding
        rows, columns = torch.randint(-p, p + 1, (2, n), generator=rng, device=rng.device)
        mirrored = torch.rand(n, generator=rng, device=rng.device) < 0.5
        rows, columns, mirrored = (beside(images, drawn) for drawn in (rows, columns, mirrored))
        if self.flip:
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return translation(images + 1, rows, columns) - 1 if p else images
