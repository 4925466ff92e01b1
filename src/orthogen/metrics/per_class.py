"""An image metric class by class, with groups of frequent and rare classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from orthogen.core import catalogue, record
from orthogen.core.features import Features
from orthogen.core.kinds import ImageMetric, ImageSet
from orthogen.core.progress import track
from orthogen.core.score import Score
from orthogen.metrics._by_class import OneClass, columns, groups, listed, mean
from orthogen.metrics._frechet import FrechetMetric
from orthogen.metrics._sets import GIVEN, logits_of, vectors_of

__all__ = ["PerClass"]

CITATION = """\
@inproceedings{miyato2018cgans,
  title     = {{cGANs} with Projection Discriminator},
  author    = {Miyato, Takeru and Koyama, Masanori},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2018}
}
"""


@dataclass(frozen=True)
class PerClass(ImageMetric):
    """One metric on the real and generated images of each class; the value is its mean over classes.

        value = mean over classes c of metric( real of class c, generated of class c )

    The parts hold, class by class, both counts, the value, its standard error and 95 % interval, and the metric's own
    ``biased`` flag. A class without enough images of both kinds is listed as ``missing``. A Fréchet distance is refused
    to classes of fewer than ``least`` images: its bias would drown everything else. These are listed as ``refused``,
    with ``instead`` (KID has no bias at any count) and its interval, and do not enter the value, unless all are
    refused: then the value, and its name, are those of ``instead``.

    For imbalanced sets the classes are grouped by how many images they have: ``tail``, ``medium`` and ``head``, each
    with its mean, standard error and classes. The counts are those of training where ``counts`` gives them, which
    `with_data` fills in, otherwise those of the reference; there are no groups where all classes fall into one.
    ``balanced_reference`` says whether the reference has the same number of images of each class, as it should:
    otherwise classes differ in bias.

    The protocol lists the classes that were averaged (a count and a hash where there are many): means over others are
    not compared.

    Attributes:
        metric: an `ImageMetric`, or the name of one.
        least: images of both kinds below which a class is refused a Fréchet distance; 1000 is a class of CIFAR-10's
            test images, and about a class of ImageNet, the smallest that such distances are published for.
        instead: what a refused class gets.
        counts: training images of each class, by label; the data's, or else the reference's own, if empty.
        bins: a class of at most the first number of images is tail, of at most the second medium, of more head; group
            spectral regularization's sampler has (100, 400).

    Raises:
        ValueError: no labels, a single class, no class with enough images, counts that leave out a class, or bins that
            do not ascend.
        TypeError: ``metric`` or ``instead`` is neither an image metric nor the name of one.

    Reference:
        Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018 (intra-class FID); bins as in the released
        code of Rangwani et al., "Improving GANs for Long-Tailed Data through Group Spectral Regularization", ECCV 2022.

    Example:
        Two classes, of which the generator moves the second.

        >>> labels = torch.arange(2000) % 2
        >>> x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> real, fake = Features(2000, x, labels=labels), Features(2000, x + 3 * labels[:, None], labels=labels)
        >>> [round(value, 3) for value in PerClass()(real, fake).parts["value"]]
        [0.0, 18.0]
    """

    metric: ImageMetric | str = "Fid"
    least: int = 1000
    instead: ImageMetric | str = "Kid"
    counts: tuple[int, ...] = ()
    bins: tuple[int, int] = (40, 100)

    def __post_init__(self) -> None:
        if not 0 <= self.bins[0] < self.bins[1]:
            raise ValueError(f"PerClass(bins={self.bins}): the two numbers of images must ascend, as in (40, 100)")

    @classmethod
    def group_spectral(cls) -> "PerClass":
        """With the groups of group spectral regularization's sampler: up to 100 images tail, up to 400 medium."""
        return cls(bins=(100, 400))

    @staticmethod
    def _find(given: ImageMetric | str) -> ImageMetric:
        found: Any = given
        if isinstance(given, str):
            try:
                found = catalogue.find(given, "metrics").load()()
            except KeyError as error:
                raise TypeError(f"PerClass: {error.args[0]}") from None
        if not isinstance(found, ImageMetric) or isinstance(found, PerClass):
            raise TypeError(f"PerClass was given {found!r}; it takes a metric of real and generated images, as Fid()")
        return found

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override]
        """What the metric reads, and ``instead`` where it may be needed, by image and not streamed; and the labels."""
        metric = self._find(self.metric)
        parts = metric.reads | (self._find(self.instead).reads if isinstance(metric, FrechetMetric) else set())
        return frozenset("vectors" if part == "moments" else part for part in parts | {"labels"})

    @property
    def may_read(self) -> frozenset[str]:  # type: ignore[override]
        """What the metric can make use of."""
        return self._find(self.metric).may_read - self.reads

    def with_data(self, data: ImageSet) -> "PerClass":
        """With the counts of the data's classes, all images counted, where none were given."""
        metric, instead = (self._find(each).with_data(data) for each in (self.metric, self.instead))
        counts = None if self.counts else data.class_counts()
        return replace(
            self, metric=metric, instead=instead, counts=self.counts if counts is None else tuple(counts.tolist())
        )

    @torch.no_grad()
    def __call__(
        self, real: torch.Tensor | Features, fake: torch.Tensor | Features, *, rng: torch.Generator | None = None
    ) -> Score:
        """The mean over classes; ``rng`` is handed to the metric, class after class."""
        x, y = Features.of(real), Features.of(fake)
        labels = x.need_labels("PerClass").cpu(), y.need_labels("PerClass").cpu()
        self._check(x, y)
        present = torch.cat(labels).unique().tolist()
        if len(present) < 2:
            raise ValueError(f"PerClass found the single class {present[0]}; measure the metric itself instead")
        classes = []
        for each in track(present, "classes"):
            its_real, its_fake = ((of == each).nonzero()[:, 0] for of in labels)
            classes.append(self._one(each, x.take(its_real), y.take(its_fake), rng))
        return self._score(classes)

    def _check(self, x: Features, y: Features) -> None:
        """What is wrong with all images is said once; in the loop over classes it is only that there are too few."""
        if "vectors" in self.reads:
            vectors_of("PerClass", x, y)
        if "logits" in self.reads:
            logits_of("PerClass", x, y)

    def _one(self, label: int, x: Features, y: Features, rng: torch.Generator | None) -> OneClass:
        metric = self._find(self.metric)
        refused = isinstance(metric, FrechetMetric) and min(x.n, y.n) < self.least
        try:
            score = (self._find(self.instead) if refused else metric)(x, y, rng=rng)
        except ValueError as error:
            return OneClass(label, x.n, y.n, None, why=str(error))
        return OneClass(label, x.n, y.n, score, refused)

    def _score(self, classes: Sequence[OneClass]) -> Score:
        kept = [each for each in classes if each.score and not each.refused] or [each for each in classes if each.score]
        scores = [each.score for each in kept if each.score]
        if not scores:
            raise ValueError(f"PerClass: no class has enough images; the first of {len(classes)}: {classes[0].why}")
        value, error = mean(scores)
        refused, missing = [c for c in classes if c.refused], [c for c in classes if not c.score]
        instead = columns(classes, refused=True) if refused else {}
        notes = [
            f"{len(some)} of {len(classes)} classes {what}"
            for some, what in (
                (refused, f"have fewer than {self.least:,} images and got {type(self._find(self.instead)).__name__}"),
                (missing, "have too few images of one kind and are missing"),
            )
            if some
        ]
        return Score(
            value,
            stderr=error,
            n=sum(each.fake for each in classes),
            name=f"{scores[0].name} by class",
            protocol={
                **GIVEN,
                "metric": record.to_json(self._find(self.metric)),
                "least": self.least,
                "instead": record.to_json(self._find(self.instead)),
                "reference_per_class": [min(each.real for each in kept), max(each.real for each in kept)],
                "classes": listed([each.label for each in kept]),
                "counts": listed(self.counts),
                "bins": list(self.bins),
                "stderr": "of the mean of the classes' values, as independent",
            },
            parts={
                **({"note": "; ".join(notes)} if notes else {}),
                "classes": [each.label for each in classes],
                "real": [each.real for each in classes],
                "fake": [each.fake for each in classes],
                **columns(classes, refused=False),
                "biased": [each.score.parts.get("biased") if each.score else None for each in classes],
                "refused": [each.label for each in refused],
                **{f"instead_{name}": column for name, column in instead.items()},
                "missing": [each.label for each in missing],
                "missing_because": [each.why for each in missing],
                "balanced_reference": len({each.real for each in classes}) == 1,
                **groups(classes, kept, self._counts(classes), self.bins),
            },
        )

    def _counts(self, classes: Sequence[OneClass]) -> dict[int, int]:
        """The training images of each class found."""
        last = max(each.label for each in classes)
        if self.counts and last >= len(self.counts):
            raise ValueError(f"PerClass has training counts of {len(self.counts)} classes, and there is a class {last}")
        return {each.label: self.counts[each.label] if self.counts else each.real for each in classes}
