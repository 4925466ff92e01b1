"""Diversity within classes: do generated images of a class differ as much as real ones do?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.metrics._by_class import mean
from orthogen.metrics._neighbors import distances
from orthogen.metrics._sets import GIVEN, logits_of, vectors_of

__all__ = ["IntraClassDiversity"]

CITATION = """\
@inproceedings{odena2017conditional,
  title     = {Conditional Image Synthesis with Auxiliary Classifier {GANs}},
  author    = {Odena, Augustus and Olah, Christopher and Shlens, Jonathon},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2017}
}
"""


LEAST = 4  # images of a class from which on there is a standard error


def _spread(x: Float[Tensor, "n d"]) -> tuple[float, float | None]:
    """Mean distance of two different vectors, and its jackknife standard error over vectors.

    In float64 around one of the vectors, because distances within a class can be tiny beside those between classes, and
    vectors that are all alike are then exactly 0 apart.
    """
    n, x, sums = len(x), x.double() - x[0].double(), []
    for rows, block in distances(x, x):
        block.diagonal(rows.start).zero_()  # to itself, free of rounding
        sums.append(block.sqrt_().sum(dim=1))
    each = torch.cat(sums) / (n - 1)
    if n < LEAST:
        return each.mean().item(), None
    # without image i the mean is (n D - 2 D_i) / (n - 2)
    return each.mean().item(), (2 * (n - 1) / (n - 2) * each.std() / n**0.5).item()


def _ratio(real: tuple[float, float | None], fake: tuple[float, float | None]) -> Score:
    """The second as a share of the first, which is not 0."""
    (one, one_error), (other, other_error) = real, fake
    if one_error is None or other_error is None:
        return Score(other / one)
    return Score(other / one, (other_error**2 + (other / one * one_error) ** 2) ** 0.5 / one)


@dataclass(frozen=True)
class IntraClassDiversity(ImageMetric):
    """Mean distance between features of two generated images of one class, as a share of the same in real images.

        D(c) = mean over pairs i != j of class c of |x_i - x_j|
        value = mean over classes of D_generated(c) / D_real(c)

    1: generated images of a class differ as much as real ones; 0: each class is one image, over and over, which a
    distance of all classes together hardly notices. The parts hold both D for each class, their ratio and its standard
    error. Given the logits of a classifier too, ``modes`` is the number of classes it sees in the generated images of
    each class, and ``modes_real`` in the real ones: the modes covered, where the classifier is finer than the classes.

    The standard errors are those of the jackknife over images of both sets; a class of fewer than 4 has none, and then
    neither has the value.

    Raises:
        ValueError: no labels, a single class, no class with two images of both kinds, real images of a class that are
            all alike, features of different widths, or not finite.

    Reference:
        After Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", ICML 2017, where the
        similarity of two images of a class is MS-SSIM.

    Example:
        The second class has collapsed to half its spread.

        >>> x, labels = torch.randn(100, 4), torch.arange(100) % 2
        >>> real, fake = (Features(100, x / (1 + fewer * labels[:, None]), labels=labels) for fewer in (0, 1))
        >>> [round(ratio, 4) for ratio in IntraClassDiversity()(real, fake).parts["ratio"]]
        [1.0, 0.5]
    """

    reads: ClassVar[frozenset[str]] = frozenset({"vectors", "labels"})
    may_read: ClassVar[frozenset[str]] = frozenset({"logits"})

    @torch.no_grad()
    def __call__(
        self, real: Tensor | Features, fake: Tensor | Features, *, rng: torch.Generator | None = None
    ) -> Score:
        """The mean ratio over classes; draws nothing."""
        given = Features.of(real), Features.of(fake)
        x, y = vectors_of("IntraClassDiversity", *given)
        of_x, of_y = (each.need_labels("IntraClassDiversity").to(x.device) for each in given)
        present = torch.cat([of_x, of_y]).unique().tolist()
        if len(present) < 2:
            raise ValueError(f"IntraClassDiversity found the single class {present[0]}; give images of at least 2")
        kept = [c for c in present if min(int((of_x == c).sum()), int((of_y == c).sum())) >= 2]
        if not kept:
            raise ValueError("IntraClassDiversity found no class with 2 real and 2 generated images; give more of each")
        rows = [(_spread(x[of_x == c]), _spread(y[of_y == c])) for c in kept]
        for c, (its_real, _) in zip(kept, rows, strict=True):
            if its_real[0] == 0:
                raise ValueError(f"IntraClassDiversity: the real images of class {c} are all alike; there is no ratio")
        ratios = [_ratio(*row) for row in rows]
        value, error = mean(ratios)
        parts = {
            "classes": kept,
            "missing": [c for c in present if c not in kept],
            "real": [its_real[0] for its_real, _ in rows],
            "fake": [its_fake[0] for _, its_fake in rows],
            "ratio": [ratio.value for ratio in ratios],
            "ratio_stderr": [ratio.stderr for ratio in ratios],
        }
        if all(each.has("logits") for each in given):
            seen = [logits.argmax(dim=1) for logits in logits_of("IntraClassDiversity", *given)]
            for name, found, labels in (("modes_real", seen[0], of_x.cpu()), ("modes", seen[1], of_y.cpu())):
                parts[name] = [len(found.cpu()[labels == c].unique()) for c in kept]
        return Score(
            value,
            stderr=error,
            n=len(y),
            name="diversity within classes",
            protocol={**GIVEN, "distance": "Euclidean", "stderr": "jackknife over images of both sets"},
            parts=parts,
        )
