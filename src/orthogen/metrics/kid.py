"""Kernel distance of features; with Inception's, this is KID."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._sets import GIVEN, vectors_of

__all__ = ["Kid"]

CITATION = """\
@inproceedings{binkowski2018demystifying,
  title     = {Demystifying {MMD} {GANs}},
  author    = {Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
"""

ENTRIES = 2**24  # of features or kernels held at once


def _mmd(x: Float[Tensor, "s b d"], y: Float[Tensor, "s b d"]) -> Float[Tensor, "s"]:
    """The unbiased squared maximum mean discrepancy of each pair of subsets, added up in float64."""
    size, width = x.shape[1:]
    one = x.new_ones(1, 1, 1)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.baddbmm(one, a, b.mT, alpha=1 / width).pow_(3)

    def total(k: Tensor) -> Tensor:
        return k.sum(dim=2).sum(dim=1, dtype=torch.float64)

    def within(z: Tensor) -> Tensor:  # over pairs of different images
        k = kernel(z, z)
        return total(k) - k.diagonal(dim1=1, dim2=2).sum(dim=1, dtype=torch.float64)

    return (within(x) + within(y)) / (size * (size - 1)) - 2 * total(kernel(x, y)) / size**2


@dataclass(frozen=True)
class Kid(ImageMetric):
    """Squared maximum mean discrepancy of real and generated features under a cubic kernel; 0 on average if they agree.

        KID = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean k(x_i, y_j)
        k(x, y) = (x.y / d + 1)^3,  d features

    averaged over random subsets of both sets. It has no bias, however few images there are, and can be below 0. Where
    a set has fewer images than ``size``, subsets are as large as it; where both have that many, they are taken whole
    and nothing is drawn. The part ``subset_size`` says what was taken.

    The standard error is the delete-d jackknife over subsets of b of n images (n the harmonic mean of both counts),

        Var = b / (n - b) Var over subsets + (Var over subsets) / subsets,

    where subsets larger than half of the images, which overlap too much to say anything, are replaced by halves for
    the first term. It is right for overlapping subsets, and on the safe side where the sets hardly differ.

    Attributes:
        subsets: how many.
        size: images per subset.

    Raises:
        ValueError: fewer than four images, two subsets or two images per subset, features of different widths, or not
            finite.

    Reference:
        Bińkowski et al., "Demystifying MMD GANs", ICLR 2018; 100 subsets of 1000. Error: Shao and Wu, "A
        General Theory for Jackknife Variance Estimation", Annals of Statistics 1989.

    Example:
        Four ones against four zeros: 8 + 1 - 2.

        >>> Kid()(torch.zeros(4, 2), torch.ones(4, 2)).value
        7.0
    """

    on_inception: ClassVar[str | None] = "KID"

    subsets: int = 100
    size: int = 1000

    def __post_init__(self) -> None:
        if self.subsets < 2 or self.size < 2:
            raise ValueError(f"Kid(subsets={self.subsets}, size={self.size}): at least 2 of each are needed")

    @torch.no_grad()
    def __call__(
        self,
        real: Float[Tensor, "n d"] | Features,
        fake: Float[Tensor, "m d"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The distance, on random subsets."""
        x, y = vectors_of("Kid", real, fake, least=4)
        fewest, rng = min(len(x), len(y)), private() if rng is None else rng
        size = min(self.size, fewest)
        whole = size == len(x) == len(y)
        values = _mmd(x[None], y[None]) if whole else self._draw(x, y, size, rng)
        drawing = 0.0 if whole else values.var().item() / self.subsets
        part = min(size, fewest // 2)
        spread = values if part == size else self._draw(x, y, part, rng)
        n = 2 / (1 / len(x) + 1 / len(y))
        return Score(
            values.mean().item(),
            stderr=(spread.var().item() * part / (n - part) + drawing) ** 0.5,
            n=len(y),
            name="kernel distance",
            protocol={
                **GIVEN,
                "kernel": "(x.y / d + 1)^3",
                "subsets": self.subsets,
                "size": self.size,
                "stderr": "delete-d jackknife over subsets of both sets",
            },
            parts={"subset_size": size, "subsets_drawn": 0 if whole else self.subsets, "reference_n": len(x)},
        )

    def _draw(
        self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], size: int, rng: torch.Generator
    ) -> Float[Tensor, "s"]:
        """The distance on random subsets, a few at a time."""
        pairs = [[torch.randperm(len(of), generator=rng)[:size] for of in (x, y)] for _ in range(self.subsets)]
        at_once = max(1, ENTRIES // (size * max(size, x.shape[1])))
        values = []
        for start in track(range(0, self.subsets, at_once), "kernel distance"):
            rows, columns = (
                torch.stack(part).to(x.device) for part in zip(*pairs[start : start + at_once], strict=True)
            )
            values.append(_mmd(x[rows], y[columns]))
        return torch.cat(values)
