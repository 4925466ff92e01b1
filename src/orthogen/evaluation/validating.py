"""Validation during training: the protocol of `measure`, again and again."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from orthogen.core import catalogue
from orthogen.core.generator import Generator
from orthogen.core.kinds import Data, Extractor, ImageMetric, ImageSet, Validation
from orthogen.core.score import Score
from orthogen.evaluation.measuring import measure
from orthogen.extractors import as_extractor

__all__ = ["Validate"]

HIGH = ("DensityCoverage", "InceptionScore", "IntraClassDiversity", "ModeCoverage", "PrecisionRecall")


@dataclass(frozen=True)
class Validate(Validation):
    """An image metric of fresh images against data that training does not see; the best of a run is the lowest.

    Everything is as in `measure` with the same settings, so that a score made on the way and one of the finished run
    are of one protocol, which both state, and may be compared. Latents and labels are the same at every validation of a
    run, labels evenly drawn; and so is the reference.

    The best of many validations is selected on this very data: it is lower than what new data would give.

    Attributes:
        metric: an `ImageMetric` that is low for good images, or the name of one.
        data: real images; those of training if None, which rewards copies of them.
        n: how many images to generate. A Fréchet distance of 10,000 is not one of 50,000.
        reference_n: how many real images; all, up to 50,000, if None.
        balanced: take as many real images of each class, where there are classes.
        extractor: what sees images, see `orthogen.extractors.as_extractor`; Inception if None.

    Raises:
        TypeError: ``metric`` is no image metric.
        ValueError: it is one that is high for good images; fewer than two images.

    Reference:
        M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a Two Time-Scale Update Rule
        Converge to a Local Nash Equilibrium", NeurIPS 2017; selection of the best checkpoint as in StudioGAN.

    Example:
        >>> import orthogen as og
        >>> images = og.FactorClasses(og.Shapes3d(resolution=16)).open()
        >>> call = lambda module, z, label: z.view(-1, 3, 16, 16)
        >>> G = og.adapt(torch.nn.Identity(), og.Normal(768), call=call, classes=4)
        >>> score = Validate("Kid", n=40, reference_n=40, extractor="Pixels").score(G, images, seed=0)
        >>> score.n, score.protocol["generated"]["labels"], score.protocol["extractor"]["name"]
        (40, "drawn evenly, given as 'label'", 'pixels, 8 x 8')
    """

    metric: ImageMetric | str = "Fid"
    data: Data | ImageSet | None = None
    n: int = 10_000
    reference_n: int | None = None
    balanced: bool = True
    extractor: Extractor | str | None = None

    def __post_init__(self) -> None:
        metric = self._metric()
        if type(metric).__name__ in HIGH:
            raise ValueError(
                f"Validate(metric={type(metric).__name__}): the best is the lowest, and this one is high for good "
                "images; give Fid, Kid or PerClass"
            )
        if self.n < 2:
            raise ValueError(f"Validate(n={self.n}): at least 2 images are needed, and some thousands to say anything")

    def _metric(self) -> ImageMetric:
        found: Any = self.metric
        if isinstance(found, str):
            try:
                found = catalogue.find(found, "metrics").load()()
            except KeyError as error:
                raise TypeError(f"Validate: {error.args[0]}") from None
        if not isinstance(found, ImageMetric):
            raise TypeError(f"Validate was given {found!r}; it takes a metric of real and generated images, as Fid()")
        return found

    def with_data(self, data: ImageSet) -> "Validate":
        """With the metric's share of the training data (how many images classes have), and its own data opened."""
        metric = self._metric().with_data(data)
        try:
            as_extractor(self.extractor).load(torch.device("cpu"))  # what is missing is missed before training
            images = self.data.open() if isinstance(self.data, Data) else data if self.data is None else self.data
        except (FileNotFoundError, ModuleNotFoundError, ValueError) as error:
            raise type(error)(f"validation: {error}") from error
        ours, theirs = ((each.channels, each.resolution, len(each.classes)) for each in (images, data))
        if ours != theirs:
            said = ("{} channels, {} pixels and {} classes".format(*each) for each in (ours, theirs))
            raise ValueError("validation: its data has {} and that of training {}; fit one to the other".format(*said))
        return replace(self, metric=metric, data=images)

    def score(self, generator: Generator, data: ImageSet, *, seed: int) -> Score:
        """The metric, as `measure` has it."""
        ready = self if isinstance(self.data, ImageSet) else self.with_data(data)
        (score,) = measure(
            generator,
            [ready._metric()],
            data=ready.data,
            extractor=self.extractor,
            n=self.n,
            reference_n=self.reference_n,
            balanced=self.balanced,
            seed=seed,
            save=False,
            quiet=True,
        )
        return score
