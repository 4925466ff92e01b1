"""One pass of an extractor over images: everything that any metric needs of them is gathered on the way."""

from collections.abc import Collection, Iterable

from torch import Tensor

from orthogen.core.features import Features, Gathering
from orthogen.core.kinds import Eye

__all__ = ["gather"]


def gather(
    batches: Iterable[tuple[Tensor, Tensor | None]], eye: Eye, parts: Collection[str], *, classes: int = 0
) -> Features:
    """What the eye sees in batches of uint8 images and their labels.

    Args:
        batches: images ``(n, c, h, w)`` and the class of each, or None.
        eye: a loaded extractor.
        parts: what to keep, of `orthogen.core.features.PARTS`.
        classes: where labels are asked for and not given: how many classes the eye's logits must tell to predict them.

    Raises:
        ValueError: logits are asked for and the eye has none, or labels and neither they nor such logits are there.
    """
    gathering = Gathering(parts)
    for images, labels in batches:
        vectors, logits = eye.see(images)
        if logits is None and "logits" in parts:
            raise ValueError(
                f"class logits are needed, and {eye.protocol.get('name', 'the extractor')} gives none; use Inception, "
                "or an extractor that returns (features, logits)"
            )
        if labels is None and "labels" in parts:
            if logits is None or logits.shape[1] != classes:
                found = "no logits" if logits is None else f"{logits.shape[1]} logits"
                raise ValueError(
                    f"the class of each generated image is needed: name the generator's condition (condition='label'), "
                    f"or use an extractor that predicts the {classes} classes of the data; this one gives {found}"
                )
            labels = logits.argmax(dim=1)
        gathering.add(vectors, logits, labels)
    return gathering.finish()
