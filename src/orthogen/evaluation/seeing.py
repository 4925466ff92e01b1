"""One pass of an extractor over images: everything that any metric needs of them is gathered on the way."""

from collections.abc import Collection, Iterable

from torch import Tensor

from orthogen.core.features import Features, Gathering
from orthogen.core.kinds import Eye

__all__ = ["gather"]


class _Checks:
    """What must hold of an eye's answers for them to be gathered: finite numbers, equally many for every image."""

    def __init__(self, eye: Eye, whose: str) -> None:
        self.name, self._whose = str(eye.protocol.get("name", "given")), whose
        self._widths: dict[str, int] = {}
        self._looked_at = 0

    def __call__(self, images: int, **values: Tensor | None) -> None:
        self._looked_at += images
        for what, value in values.items():
            if value is None:
                continue
            width = self._widths.setdefault(what, value.shape[1])
            if value.shape[1] != width:
                raise ValueError(
                    f"the extractor {self.name} gave {width} {what} for an image and {value.shape[1]} for another; "
                    "equally many for each are needed"
                )
            bad = int((~value.isfinite().all(dim=1)).sum())
            if bad:
                raise ValueError(
                    f"the extractor {self.name} gave values that are not finite for {bad} of {self._looked_at} "
                    f"{self._whose} images ({what})"
                )


def gather(
    batches: Iterable[tuple[Tensor, Tensor | None]],
    eye: Eye,
    parts: Collection[str],
    whose: str,
    *,
    optional: Collection[str] = (),
    classes: int = 0,
) -> Features:
    """What the eye sees in batches of uint8 images and their labels.

    Args:
        batches: images ``(n, c, h, w)`` and the class of each, or None.
        eye: a loaded extractor.
        parts: what to keep, of `orthogen.core.features.PARTS`.
        whose: which images they are, "real" or "generated"; for messages.
        optional: what to keep beside, if the eye has it and, for labels, they are given or can be predicted.
        classes: where labels are asked for and not given: how many classes the eye's logits must tell to predict them.

    Raises:
        ValueError: logits are asked for and the eye has none, or labels and neither they nor such logits are there; or
            what the eye sees is not finite, or of another width from batch to batch.
    """
    wanted, gathering, check = set(parts), Gathering(parts), _Checks(eye, whose)
    for at, (images, labels) in enumerate(batches):
        vectors, logits = eye.see(images)
        predicts = logits is not None and logits.shape[1] == classes
        if at == 0:
            there = {"logits": logits is not None, "labels": labels is not None or predicts}
            wanted |= {part for part in optional if there.get(part, True)}
            gathering = Gathering(wanted)
        if logits is None and "logits" in wanted:
            raise ValueError(
                f"class logits are needed, and {check.name} gives none; use Inception, or an extractor that returns "
                "(features, logits)"
            )
        predicted = labels is None and "labels" in wanted
        if predicted and not predicts:
            found = "no logits" if logits is None else f"{logits.shape[1]} logits"
            raise ValueError(
                f"the class of each generated image is needed: name the generator's condition (condition='label'), "
                f"or use an extractor that predicts the {classes} classes of the data; this one gives {found}"
            )
        check(len(images), features=vectors, logits=logits if predicted or "logits" in wanted else None)
        if predicted and logits is not None:
            labels = logits.argmax(dim=1)
        gathering.add(vectors, logits, labels)
    return gathering.finish()
