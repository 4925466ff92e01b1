"""How images of a run are measured: as somebody asks, else as the run was validated."""

from dataclasses import dataclass
from typing import Any

from orthogen.core.kinds import Data, ImageMetric, ImageSet

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

    def of_training(self, metric: ImageMetric) -> ImageMetric:
        """A metric that knows how many images classes have in training."""
        return metric if self.trained_on is None else metric.with_data(self.trained_on)
