"""The sizes at which the path lengths of the papers look at images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from orthogen.core.shapes import Float

__all__ = ["face", "resized"]


def face(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """StyleGAN's crop to the face: rows 3/8 to 7/8, columns 2/8 to 6/8.

    Raises:
        ValueError: the images have fewer than 8 rows or columns.

    Example:
        >>> face(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 3, 32, 32])
    """
    if min(images.shape[2:]) < 8:
        size = " x ".join(map(str, images.shape[2:]))
        raise ValueError(f"the crop to the face takes images from 8 x 8 pixels on, and was given {size}; crop='all'")
    rows, columns = images.shape[2] // 8, images.shape[3] // 8
    return images[:, :, 3 * rows : 7 * rows, 2 * columns : 6 * columns]


def _stretch(old: int, new: int, like: Tensor) -> Float[Tensor, "new old"]:
    """Bilinear weights from ``old`` to ``new`` pixels with TensorFlow 1's corners: pixel i looks at i old / new."""
    where = torch.arange(new, dtype=torch.float64) * (old / new)
    low = where.floor().long()
    weights = torch.zeros(new, old, dtype=torch.float64)
    rows = torch.arange(new)
    weights[rows, low] += 1 - (where - low)
    weights[rows, (low + 1).clamp_max(old - 1)] += where - low
    return weights.to(like)


def resized(images: Float[Tensor, "n c h w"], side: int = 256, *, enlarge: bool) -> Float[Tensor, "n c h2 w2"]:
    """Images larger than ``side`` averaged in boxes down to it, as all do; smaller ones enlarged to it if asked for.

    Enlarging is TensorFlow 1's bilinear one without half-pixel centers, as in the Hessian Penalty's ProGAN.

    Example:
        >>> row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 1, 2, 2)
        >>> resized(row, 4, enlarge=True)[0, 0, 0].tolist()
        [0.0, 0.5, 1.0, 1.0]
        >>> resized(torch.zeros(1, 3, 1024, 1024), enlarge=False).shape
        torch.Size([1, 3, 256, 256])
    """
    h, w = images.shape[2:]
    if h > side:
        return F.avg_pool2d(images, h // side)
    if not enlarge or h == side:
        return images
    return _stretch(h, side, images) @ images @ _stretch(w, side, images).T
