"""Finding a sprite in an image: where it is by its center of brightness, what it is by templates."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.images import to_float
from orthogen.core.shapes import Float, Int
from orthogen.data._drawn import shrink, standardize

__all__ = ["SpriteTemplates"]

READ = 64  # images are read at this resolution at most
SAMPLES = 12  # frames, at different places between the pixels, that a template is the mean of


def _smooth(gray: Tensor, width: int) -> Tensor:
    """Box filter of about ``width`` 64ths of the image."""
    size = int(width * gray.shape[-1] / 64) // 2 * 2 + 1
    return F.avg_pool2d(gray, size, stride=1, padding=size // 2)


def _center(gray: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 2"]:
    """Center (x, y) of the brightest blob, in pixels: of what is above half its contrast, around its brightest spot."""
    side = gray.shape[-1]
    axis = torch.arange(side, device=gray.device) + 0.5
    spot = _smooth(gray, 9).flatten(1).argmax(dim=1)
    near_x, near_y = ((axis - at[:, None] - 0.5).abs() <= 15 / 64 * side for at in (spot % side, spot // side))
    background = gray.flatten(1).median(dim=1).values[:, None, None]
    above = (_smooth(gray, 3)[:, 0] - background) * (near_y[:, :, None] & near_x[:, None, :])
    weight = (above - 0.5 * above.amax(dim=(1, 2), keepdim=True)).clamp(min=0)
    total = weight.sum(dim=(1, 2)).clamp(min=1e-6)
    return torch.stack([weight.sum(dim=1) @ axis, weight.sum(dim=2) @ axis], dim=1) / total[:, None]


def _crop(gray: Float[Tensor, "n 1 h w"], center: Float[Tensor, "n 2"]) -> Float[Tensor, "n p"]:
    """The surroundings of ``center``, interpolated between pixels, with mean 0 and norm 1."""
    side = gray.shape[-1]
    reach = 15 * side // 64
    offset = torch.arange(-reach, reach + 1, device=gray.device)
    x, y = ((center[:, :, None] + offset) * 2 / side - 1).unbind(dim=1)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
    patch = F.grid_sample(gray, grid, padding_mode="border", align_corners=False)
    return standardize(patch.flatten(1))


class SpriteTemplates:
    """What each sprite looks like around its center of brightness, and where its own center is from there.

    Both are means over frames that are drawn and cropped just as the images to be read are.

    Args:
        draw: draws the frames of rows (shape, scale, orientation, posX, posY).
        looks: the rows (shape, scale, orientation) that can be told apart.
    """

    def __init__(self, draw: Callable[[Tensor], Tensor], looks: Int[Tensor, "t 3"]) -> None:
        self.looks = looks
        crops, shifts = [], []
        for sample in range(SAMPLES):
            # 7 and 11 have no factor in common with 31: every sample falls differently between the pixels
            place = (torch.arange(len(looks), device=looks.device)[:, None] + looks.new_tensor([7, 11]) * sample) % 32
            gray = shrink(to_float(draw(torch.cat([looks, place], dim=1))), READ)
            center = _center(gray)
            crops.append(_crop(gray, center))
            shifts.append(16 + 32 / 31 * place - center * 64 / gray.shape[-1])
        self.crops = standardize(torch.stack(crops).mean(dim=0))
        self.shifts = torch.stack(shifts).mean(dim=0)

    def match(self, images: Float[Tensor, "n c h w"], k: int) -> Int[Tensor, "n k 5"]:
        """The rows of factors of the ``k`` templates that correlate best with what is around the brightest blob.

        Below 64 pixels a step of the position is less than a pixel: then the four places around the measured one.
        """
        gray = shrink(images.mean(dim=1, keepdim=True), READ)
        center = _center(gray)
        best = (_crop(gray, center) @ self.crops.T).topk(k, dim=1).indices
        at = center[:, None] * 64 / gray.shape[-1] + self.shifts[best]
        step = (at - 16) * 31 / 32
        if gray.shape[-1] >= READ:
            return self._rows(best, step.round())
        low, high = step.floor(), step.ceil()
        corners = [
            low,
            high,
            torch.stack([low[..., 0], high[..., 1]], -1),
            torch.stack([high[..., 0], low[..., 1]], -1),
        ]
        return torch.cat([self._rows(best, corner) for corner in corners], dim=1)

    def _rows(self, look: Int[Tensor, "n k"], place: Float[Tensor, "n k 2"]) -> Int[Tensor, "n k 5"]:
        return torch.cat([self.looks[look], place.clamp(0, 31).long()], dim=2)
