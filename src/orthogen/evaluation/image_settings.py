"""How images of a run are measured: as somebody asks, else as the run was validated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from orthogen.core.kinds import Data, ImageMetric, ImageSet
from orthogen.metrics.fid import Fid

__all__ = ["ImageSettings"]


@dataclass(frozen=True)
class ImageSettings:
    """How images are measured; None where nobody has said.

    Attributes:
        data, extractor, n, reference_n, balanced: as in `measure`.
        trained_on: the images of training, where they are not the reference.
    """

    data: Data | ImageSet | None
    extractor: Any
    n: int | None
    reference_n: int | None
    balanced: bool | None
    trained_on: ImageSet | None = None

    def filled_in(self, recipe: Any) -> "ImageSettings":
        """With those of the validation of a run, where it had one and the data is not another."""
        from orthogen.evaluation.validating import Validate

        validation = getattr(recipe, "validation", None)
        if not isinstance(validation, Validate) or self.data is not None:
            return self
        theirs = {key: getattr(validation, key) for key in ("data", "extractor", "n", "reference_n", "balanced")}
        known = {key: theirs[key] if getattr(self, key) is None else getattr(self, key) for key in theirs}
        return ImageSettings(**known, trained_on=recipe.data.open() if validation.data is not None else None)

    def asked_by(self, metrics: Sequence[Any]) -> "ImageSettings":
        """With as many generated images as a protocol by name takes; as they are where there is none.

        Raises:
            ValueError: two protocols take different numbers.
        """
        asked = sorted({each.images for each in metrics if isinstance(each, Fid) and each.images is not None})
        if len(asked) > 1:
            raise ValueError(f"metrics of {asked[0]} and of {asked[1]} images cannot share them; measure one by one")
        return replace(self, n=asked[0]) if asked else self

    def of_training(self, metric: ImageMetric) -> ImageMetric:
        """A metric that knows how many images classes have in training."""
        return metric if self.trained_on is None else metric.with_data(self.trained_on)
