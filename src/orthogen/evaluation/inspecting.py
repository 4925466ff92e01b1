"""What is in a data set: how many images of each class, what is wrong with them, how much memory they take."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from orthogen.core.kinds import FactorSet, ImageSet
from orthogen.core.progress import track
from orthogen.core.shapes import Int
from orthogen.evaluation.data_facts import DataFacts

__all__ = ["look_into"]

NAMED = 5  # of what a warning is about


def _some(names: Sequence[Any]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(str(name) for name in names[:NAMED]) + more


def _plural(one: str, many: str, items: Sequence[Any]) -> str:
    return one if len(items) == 1 else many


def _copies(images: ImageSet, compare: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """Each image among evenly spaced ones that has the pixels of an earlier one, and how many were compared."""
    count = min(compare, len(images))
    index = torch.arange(count) * len(images) // max(1, count)
    first: dict[bytes, int] = {}
    found = []
    for part in track(index.split(256), "comparing images"):
        for i, pixels in zip(part.tolist(), images.images(part).contiguous().numpy(), strict=True):
            earlier = first.setdefault(hashlib.blake2b(pixels.data, digest_size=16).digest(), i)
            if earlier != i:
                found.append((i, earlier))
    return tuple(found), count


def _label_warnings(images: ImageSet, labels: Int[Tensor, "n"] | None) -> list[str]:
    """What is wrong with labels and classes."""
    classes = images.classes
    if labels is None and isinstance(images, FactorSet):
        return []
    if labels is None:
        stated = f" although it names {len(classes)} classes" if classes else ""
        return [f"it has no class labels{stated}; networks with classes and scores by class need them"]
    found = []
    strange = labels[(labels < 0) | (labels >= len(classes))].unique().tolist()
    if strange:
        found.append(
            f"labels {_some(strange)} are none of the {len(classes)} classes, which are 0 to {len(classes) - 1}"
        )
    counts = _counts(labels, len(classes))
    empty = [f"{label} ({classes[label]})" for label, count in enumerate(counts) if not count]
    if empty:
        some = f"{len(empty):,} of {len(classes):,} classes"
        found.append(f"{some} without images: {_some(empty)}; number the classes without them")
    if len(classes) == 1:
        found.append(f"there is a single class, {classes[0]}; it says nothing about an image")
    names = sorted({name for name in classes if classes.count(name) > 1}) if len(set(classes)) < len(classes) else []
    if names:
        found.append(f"several classes have the same name: {_some(names)}")
    return found


def _counts(labels: Int[Tensor, "n"], classes: int) -> tuple[int, ...]:
    """Images of each class; labels that are none are not counted."""
    return tuple(labels[(labels >= 0) & (labels < classes)].bincount(minlength=classes).tolist())


def look_into(images: ImageSet, *, batch: int = 64, compare: int = 50_000) -> DataFacts:
    """Count, compare and check the images and labels of a set.

    Args:
        images: an opened data set.
        batch: images of a training batch, for the estimate of memory.
        compare: how many images to compare with one another, evenly spaced where there are more; 0 for none.

    Raises:
        ValueError: there are no images, or ``batch`` or ``compare`` is negative.

    Example:
        >>> from orthogen.data.sprites import Sprites
        >>> facts = look_into(Sprites(resolution=32).open(), compare=100)
        >>> facts.compared, facts.copies, facts.warnings, facts.decoded
        (100, (), (), 754974720)
    """
    if len(images) == 0:
        raise ValueError("the data set is empty; give one with at least one image")
    if batch < 1 or compare < 0:
        raise ValueError(
            f"batch={batch}, compare={compare}: give a batch of at least 1 image, and 0 or more to compare"
        )
    labels = images.labels(torch.arange(len(images))) if images.classes else None
    copies, compared = _copies(images, compare)
    warnings = _label_warnings(images, labels)
    if copies:
        pairs = [f"{i} is {j}" for i, j in copies]
        warnings.append(f"{len(copies):,} {_plural('copy', 'copies', copies)} of other images: {_some(pairs)}")
        torn = [] if labels is None else [f"{i} and {j}" for i, j in copies if labels[i] != labels[j]]
        if torn:
            verb = _plural("has", "have", torn)
            warnings.append(
                f"{len(torn):,} of the copies {verb} another label than the image they are like: {_some(torn)}"
            )
    pixels = images.channels * images.resolution**2
    sized = zip(images.factor_names, images.factor_sizes, strict=True) if isinstance(images, FactorSet) else ()
    return DataFacts(
        images=len(images),
        channels=images.channels,
        resolution=images.resolution,
        classes=tuple(images.classes),
        counts=() if labels is None else _counts(labels, len(images.classes)),
        factors=tuple(sized),
        compared=compared,
        copies=copies,
        decoded=len(images) * pixels,
        batch=batch,
        batch_bytes=4 * batch * pixels,
        warnings=tuple(warnings),
    )
