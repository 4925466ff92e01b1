"""The image itself, made small: features without any network."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.images import to_float
from orthogen.core.kinds import Extractor, Eye
from orthogen.core.shapes import UInt8

__all__ = ["Pixels"]


@dataclass(frozen=True)
class Pixels(Extractor):
    """Pixels of the image, averaged down to a few: where something is, and in which color, and nothing else.

        uint8 image -> [-1, 1] -> means over side x side equal parts -> channels * side² features

    It needs no weights, so that scores can be had anywhere, and the gradient of nothing learned from photographs is in
    them. For simple drawn images they rise and fall with what one sees; of photographs they say little.

    Attributes:
        side: of the small image, in pixels.

    Raises:
        ValueError: a side below 1.

    Reference:
        M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a Two Time-Scale Update Rule
        Converge to a Local Nash Equilibrium", NeurIPS 2017, for why features of a network are better.

    Example:
        >>> eye = Pixels(side=1).load(torch.device("cpu"))
        >>> eye.see(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8))[0].tolist()
        [[1.0, 1.0, 1.0]]
    """

    side: int = 8

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"Pixels(side={self.side}): give a side of at least 1 pixel")

    def load(self, device: torch.device) -> Eye:
        """Averaging, ready to look at images."""

        def see(images: UInt8[Tensor, "n c h w"]) -> tuple[Tensor, None]:
            return F.adaptive_avg_pool2d(to_float(images.to(device)), self.side).flatten(1), None

        protocol: dict[str, Any] = {
            "name": f"pixels, {self.side} x {self.side}",
            "input": "uint8, scaled to [-1, 1]",
            "resize": f"means over {self.side} x {self.side} parts",
        }
        return Eye(see, protocol)
