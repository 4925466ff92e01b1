"""Kernel distance of features; with Inception's, this is KID."""

from collections.abc import Iterator
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
from orthogen.metrics._mmd import cubic, discrepancy, variance
from orthogen.metrics._resampling import shuffled
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


@dataclass(frozen=True)
class Kid(ImageMetric):
    """Squared maximum mean discrepancy of real and generated features under a cubic kernel; 0 on average if they agree.

        KID = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean k(x_i, y_j)
        k(x, y) = (x.y / d + 1)^3,  d features

    averaged over random subsets of both sets. It has no bias, however few images there are, and can be below 0. Where
    a set has fewer images than ``size``, subsets are as large as it; where both have that many, they are taken whole
    and nothing is drawn. The part ``subset_size`` says what was taken.

    The standard error is that of the U-statistic, from estimates without bias of the variances of all its terms,

        Var_nm = 4 Var h(x) / n + 4 Var h(y) / m + terms of pairs,      h(x) = mean k(x, x') - mean k(x, y)
        Var = Var_nm + (Var_bb - Var_nm) / subsets,      b images per subset

    for any two counts. It is on the safe side where the sets hardly differ and the first terms vanish.

    Attributes:
        subsets: how many.
        size: images per subset.

    Raises:
        ValueError: fewer than four images, or four per subset, no subsets, features of different widths, or not finite.

    Reference:
        Bińkowski et al., "Demystifying MMD GANs", ICLR 2018; 100 subsets of 1000. Error: Serfling, "Approximation
        Theorems of Mathematical Statistics", 1980, chapter 5.

    Example:
        Four ones against four zeros: 8 + 1 - 2.

        >>> Kid()(torch.zeros(4, 2), torch.ones(4, 2)).value
        7.0
    """

    on_inception: ClassVar[str | None] = "KID"

    subsets: int = 100
    size: int = 1000

    def __post_init__(self) -> None:
        if self.subsets < 1 or self.size < 4:
            raise ValueError(f"Kid(subsets={self.subsets}, size={self.size}): at least 1 subset of 4 images is needed")

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
        size = min(self.size, len(x), len(y))
        whole = size == len(x) == len(y)
        subsets = [(x, y)] if whole else self._subsets(x, y, size, private() if rng is None else rng)
        shift = cubic(x.mean(dim=0)[None], y.mean(dim=0)[None])[0, 0]
        found = torch.stack([discrepancy(a, b, shift) for a, b in subsets]).mean(dim=0)
        complete, of_one = variance(found, len(x), len(y)), variance(found, size, size)
        drawing = 0.0 if whole else (of_one - complete) / self.subsets
        return Score(
            found[0].item(),
            stderr=(complete + drawing) ** 0.5,
            n=len(y),
            name="kernel distance",
            protocol={
                **GIVEN,
                "kernel": "(x.y / d + 1)^3",
                "subsets": self.subsets,
                "size": self.size,
                "stderr": "of the U-statistic over images of both sets, and of drawing subsets",
            },
            parts={"subset_size": size, "subsets_drawn": 0 if whole else self.subsets, "reference_n": len(x)},
        )

    def _subsets(
        self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], size: int, rng: torch.Generator
    ) -> Iterator[tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]]:
        """Random subsets of both sets."""
        for _ in track(range(self.subsets), "kernel distance"):
            yield tuple(z.index_select(0, shuffled(len(z), rng)[:size].to(z.device)) for z in (x, y))  # type: ignore[misc]
