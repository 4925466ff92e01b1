"""What each class counts in a penalty that is a sum over classes."""

import math
from typing import Literal

import torch
from torch import Tensor

from orthogen.core.kinds import ImageSet
from orthogen.core.long_tail import effective_number_weights
from orthogen.core.shapes import Float

__all__ = ["ClassWeights", "class_weights"]

ClassWeights = Literal["effective-number", "uniform"] | tuple[float, ...]


def class_weights(
    weights: ClassWeights, beta: float, classes: int, data: ImageSet | None, who: str
) -> Float[Tensor, "classes"]:
    """One factor per class.

    Args:
        weights: "effective-number" for those of the data's class counts, of mean 1; "uniform" for 1; or the factors.
        beta: of the effective number.
        classes: how many there are.
        data: labeled images; needed for the effective number alone.
        who: asks, for messages.

    Raises:
        ValueError: there is not one factor per class, or the data has no labels, other classes, or an empty one.

    Example:
        >>> class_weights("uniform", 0.999, 3, None, "example"), class_weights((0.5, 2.0), 0.999, 2, None, "example")
        (tensor([1., 1., 1.]), tensor([0.5000, 2.0000]))
    """
    if weights == "uniform":
        return torch.ones(classes)
    if isinstance(weights, tuple):
        if len(weights) != classes:
            raise ValueError(f"{who}: {len(weights)} weights were given for the {classes} classes of the generator")
        if not all(0 <= weight < math.inf for weight in weights):
            raise ValueError(f"{who}(weights={weights}): weights are 0 or more, and finite")
        return torch.tensor(weights)
    counts = None if data is None else data.class_counts()
    if data is None or counts is None:
        given = "no data was" if data is None else "data without labels was"
        raise ValueError(
            f"{who} weighs classes by how many images they have, and {given} given to init(generator, data); give a "
            "labeled set, or weights='uniform', or one weight per class"
        )
    if len(counts) != classes:
        raise ValueError(f"{who}: the data has {len(counts)} classes and the generator {classes}; fit one to the other")
    if not counts.all():
        empty = int((counts == 0).nonzero()[0])
        raise ValueError(
            f"{who}: class {empty} ({data.classes[empty]}) has no images, so it has no weight; leave it out of data "
            "and generator, or give weights='uniform', or one weight per class"
        )
    return effective_number_weights(counts, beta).float()
