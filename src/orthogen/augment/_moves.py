"""Changes of place that copy pixels as they are: a mirror, quarter turns, a shift by whole pixels."""

import torch
from torch import Tensor

from orthogen.core.shapes import Bool, Float, Int

__all__ = ["moved"]


def moved(
    images: Float[Tensor, "batch c h w"],
    mirrored: Bool[Tensor, "batch"],
    rows: Int[Tensor, "batch"],
    columns: Int[Tensor, "batch"],
    turns: Int[Tensor, "batch"] | None = None,
) -> Float[Tensor, "batch c h w"]:
    """Each image, mirrored left to right, turned by quarters, then shifted; what comes in is its own reflection.

    Args:
        images: any; square ones where there are turns.
        mirrored: which of them are mirrored.
        rows: the pixel at (r, s) comes from (r + rows, s + columns) of what was mirrored and turned, less than a side
            away; a border pixel is not repeated.
        columns: the same to the side.
        turns: quarter turns, counterclockwise, 0 to 3.

    Example:
        >>> x, none = torch.tensor([[[[1.0, 2.0, 3.0]]]]).expand(2, 1, 1, 3), torch.tensor([0, 0])
        >>> moved(x, torch.tensor([True, False]), none, torch.tensor([0, 1])).flatten(1)
        tensor([[3., 2., 1.],
                [2., 3., 2.]])
    """
    height, width = images.shape[2:]
    # where each pixel comes from, from the last change back to the first
    r, s = _reflected(rows, height)[:, :, None], _reflected(columns, width)[:, None, :]
    if turns is not None:
        end = height - 1
        ways = torch.stack(torch.broadcast_tensors(r, s, end - r, end - s))
        each = torch.arange(len(images), device=images.device)
        r, s = ways[turns, each], ways[(turns + 1) % 4, each]
    s = torch.where(mirrored[:, None, None], width - 1 - s, s)
    place = (r * width + s).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, place).view_as(images)


def _reflected(by: Tensor, side: int) -> Tensor:
    """Where each pixel of a side comes from: its place moved by so many, folded back at the ends."""
    place = torch.arange(side, device=by.device) + by[:, None]
    return (side - 1) - ((side - 1) - place.abs()).abs()
