"""What drawn data sets share: drawing in small chunks, and reading factors back by drawing again.

To read an image, a set proposes a few rows of factors; each is drawn, and the drawing that correlates best with the
image is taken. Correlation forgives wrong contrast, blur and noise, which generated images have.
"""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.images import to_float
from orthogen.core.kinds import FactorSet
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int, UInt8

__all__ = ["DrawnSet", "check_resolution", "shrink", "standardize"]

PIXELS = 2**18  # drawn at a time, at most: intermediate results stay in the cache
COMPARE = 64  # images are compared at this resolution at most


def check_resolution(name: str, resolution: int) -> None:
    """Refuse what is not worth drawing.

    Raises:
        ValueError: the resolution is not within 16 to 256.
    """
    if not 16 <= resolution <= 256:
        raise ValueError(f"{name}(resolution={resolution}): give a side of 16 to 256 pixels")


def shrink(images: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c s s"]:
    """Images averaged down to ``side`` pixels; smaller ones as they are."""
    return images if images.shape[-1] <= side else F.adaptive_avg_pool2d(images, side)


def standardize(x: Float[Tensor, "*n p"]) -> Float[Tensor, "*n p"]:
    """Mean 0 and norm 1 along the last axis, so that inner products are correlations; 0 where it is constant."""
    x = x - x.mean(dim=-1, keepdim=True)
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def _smooth(images: Tensor) -> Tensor:
    # images may be softer than drawings: without this, an orientation whose edges happen to look softer is preferred
    return F.avg_pool2d(shrink(images, COMPARE), 3, stride=1, padding=1, count_include_pad=False)


class DrawnSet(FactorSet):
    """A `FactorSet` whose frames are drawn when they are asked for, on the device of the index."""

    @abstractmethod
    def _draw(self, factors: Int[Tensor, "n f"]) -> UInt8[Tensor, "n c h w"]:
        """Plain frames of those factors."""

    @abstractmethod
    def _propose(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, "n k f"]:
        """A few rows of factors that each image may show, the likeliest first."""

    @property
    def _chunk(self) -> int:
        return PIXELS // self.resolution**2

    def _dress(
        self, frames: UInt8[Tensor, "n plain h w"], factors: Int[Tensor, "n f"], rng: torch.Generator | None
    ) -> UInt8[Tensor, "n c h w"]:
        """What is done to plain frames before they are shown; nothing by default."""
        return frames

    def draw(
        self, factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> UInt8[Tensor, "n {self.channels} {self.resolution} {self.resolution}"]:
        """The frames of those factor classes. A frame does not depend on which others are drawn with it.

        Raises:
            ValueError: a factor is outside its range, or there are too few or too many.
        """
        if factors.shape[1] != len(self.factor_sizes):
            raise ValueError(f"{factors.shape[1]} factors were given; give {len(self.factor_sizes)}: {self._ranges()}")
        sizes = torch.tensor(self.factor_sizes, device=factors.device)
        if ((factors < 0) | (factors >= sizes)).any():
            bad = factors[((factors < 0) | (factors >= sizes)).any(dim=1)][0].tolist()
            raise ValueError(f"there is no frame of factors {bad}; the ranges are {self._ranges()}")
        return torch.cat([self._dress(self._draw(rows), rows, rng) for rows in factors.split(self._chunk)])

    def images(
        self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None
    ) -> UInt8[Tensor, "n {self.channels} {self.resolution} {self.resolution}"]:
        """The frames of those indices.

        Raises:
            ValueError: an index is outside the set.
        """
        if len(index) and not (0 <= int(index.min()) and int(index.max()) < len(self)):
            raise ValueError(
                f"index {int(index.min())} to {int(index.max())}: this set has frames 0 to {len(self) - 1}"
            )
        return self.draw(self.factors(index), rng=rng)

    def _ranges(self) -> str:
        return ", ".join(f"{n} 0-{s - 1}" for n, s in zip(self.factor_names, self.factor_sizes, strict=True))

    def read_factors(self, images: Float[Tensor, "n c h w"]) -> tuple[Int[Tensor, "n f"], Float[Tensor, "n f"]]:
        """The factor classes read back off images in [-1, 1], and a confidence in [0, 1] for each.

        Proposed drawings are compared with the image. With r their correlation, the unexplained share 1 - r^2 of each
        gives it a weight (1.01 - r^2)^-8; the confidence in a factor is the best r^2 times the weight of the proposals
        that agree with the best one there.

        Args:
            images: drawn or generated, blurred and noisy ones too.

        Raises:
            ValueError: the images are not of this set's resolution, or have neither 1 nor 3 channels.
        """
        channels, *sides = images.shape[1:]
        if sides != [self.resolution] * 2 or channels not in (1, 3):
            raise ValueError(
                f"images of {channels} x {sides[0]} x {sides[1]}: this reader takes 1 or 3 channels of "
                f"{self.resolution} x {self.resolution} pixels; resize them or open the set at their resolution"
            )
        if not len(images):
            empty = torch.zeros(0, len(self.factor_sizes), device=images.device)
            return empty.long(), empty
        values, confidence = zip(
            *map(self._read, images.detach().float().split(max(1, self._chunk // 16))), strict=True
        )
        return torch.cat(values), torch.cat(confidence)

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        proposed = self._propose(images)
        n, k, f = proposed.shape
        drawn = _smooth(self._draw(proposed.reshape(n * k, f)).float())
        if drawn.shape[1] == 1:
            images = images.mean(dim=1, keepdim=True)
        image = standardize(_smooth(images).flatten(1))
        r = torch.einsum("nkp,np->nk", standardize(drawn.view(n, k, -1)), image).clamp(0, 1)
        explained, best = r.square().max(dim=1)
        weight = (-8 * (1.01 - r.square()).log()).softmax(dim=1)
        values = proposed[torch.arange(n, device=best.device), best]
        agree = self.same(proposed, values[:, None].expand_as(proposed))
        return values, explained[:, None] * (weight[:, :, None] * agree).sum(dim=1).clamp(max=1)

    def reading_error(
        self, n: int = 2000, *, blur: float = 0.0, noise: float = 0.0, rng: torch.Generator | None = None
    ) -> dict[str, Score]:
        """How often `read_factors` is wrong, factor by factor, on frames whose factors are known.

        Args:
            n: frames to read.
            blur: standard deviation of a Gaussian blur, in pixels.
            noise: standard deviation of Gaussian noise, on the scale of [-1, 1].
            rng: draws frames and noise.

        Returns:
            By factor name, the share of frames that are read wrong (up to `same`). The standard error is that of a
            share, with one imagined error and one imagined success more, so that it is not 0 where no error was seen.
        """
        rng = private() if rng is None else rng
        index = torch.randint(len(self), (n,), generator=rng, device=rng.device)
        images = _blur(to_float(self.images(index)), blur)
        images += noise * torch.randn(images.shape, generator=rng, device=rng.device)
        truth = self.factors(index)
        wrong = (~self.same(self.read_factors(images)[0], truth)).double()
        share = (wrong.sum(dim=0) + 1) / (n + 2)
        stderr = (share * (1 - share) / n).sqrt()
        protocol = {"blur": blur, "noise": noise, "resolution": self.resolution}
        return {
            name: Score(float(rate), float(error), n, f"reading error of {name}", protocol)
            for name, rate, error in zip(self.factor_names, wrong.mean(dim=0), stderr, strict=True)
        }


def _blur(images: Tensor, sigma: float) -> Tensor:
    if sigma == 0:
        return images
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-torch.arange(-reach, reach + 1, device=images.device).square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[:, None, None, :], groups=len(kernel))
    return F.conv2d(across, kernel[:, None, :, None], groups=len(kernel))
