"""The real images that generated ones are held against: which they are, and what an extractor sees in them."""

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.features import Features
from orthogen.core.kinds import Eye, ImageSet
from orthogen.core.progress import track
from orthogen.core.shapes import Int, UInt8
from orthogen.evaluation.kept import Kept
from orthogen.evaluation.seeing import gather

__all__ = ["choose", "see_reference"]

LIMIT = 50_000  # images, as FID is usually quoted
LISTED = 20  # classes whose counts the protocol lists


def _labels(data: ImageSet, index: Int[Tensor, "n"]) -> Int[Tensor, "n"] | None:
    """The classes of some images, if they are numbers of the data's classes."""
    labels = data.labels(index) if data.classes else None
    if labels is None:
        return None
    fewest, most = int(labels.min()), int(labels.max())
    if fewest < 0 or most >= len(data.classes):
        raise ValueError(
            f"the data has {len(data.classes)} classes and labels from {fewest} to {most}; labels must be from 0 to "
            f"{len(data.classes) - 1}"
        )
    return labels


def choose(data: ImageSet, n: int | None, *, balanced: bool, rng: torch.Generator) -> Int[Tensor, "m"]:
    """Indices of the real images that are taken, in random order.

    With ``balanced`` every class is taken equally often: as often as the rarest one has images, or ``n`` divided by the
    number of classes if that is less. Else, and where there are no classes, ``n`` images at random.

    Args:
        data: all of them.
        n: how many; all, up to 50,000, if None.
        balanced: whether classes count alike.
        rng: what decides.

    Raises:
        ValueError: there are fewer, a class has none, or labels are not numbers of classes.
    """
    order = torch.randperm(len(data), generator=rng)
    wanted = LIMIT if n is None else n
    if n is not None and not 2 <= n <= len(data):
        raise ValueError(f"{n} reference images were asked for and the data has {len(data)}; take 2 or more of them")
    labels = _labels(data, order) if balanced else None
    if labels is None:
        return order[:wanted]
    counts = torch.bincount(labels.cpu(), minlength=len(data.classes))
    each = min(int(counts.min()), wanted // len(counts))
    if each < 1:
        name = data.classes[int(counts.argmin())]
        why = f"class {name!r} has no image" if int(counts.min()) == 0 else f"{n} images do not go round"
        raise ValueError(f"no balanced reference of {len(counts)} classes: {why}; take more, or balanced=False")
    by_class = order[labels.cpu().argsort(stable=True)].split(counts.tolist())
    taken = torch.cat([part[:each] for part in by_class])
    return taken[torch.randperm(len(taken), generator=rng)]  # the first few must be a fair sample


def _content(
    data: ImageSet, index: Int[Tensor, "n"], labels: Int[Tensor, "n"] | None, batches: Iterator[Tensor]
) -> str:
    """BLAKE2b of the images' pixels and labels, in order."""
    found = hashlib.blake2b(f"{len(index)} {data.channels} {data.resolution}".encode(), digest_size=16)
    for images in batches:
        found.update(images.contiguous().numpy().data)
    if labels is not None:
        found.update(labels.cpu().contiguous().numpy().data)
    return found.hexdigest()


def _how(data: ImageSet, labels: Int[Tensor, "n"] | None, n: int, balanced: bool) -> dict[str, Any]:
    """Which images they are, for the protocol."""
    how: dict[str, Any] = {"images": n, "of": len(data), "shape": [data.channels, data.resolution, data.resolution]}
    if labels is not None:
        counts = torch.bincount(labels.cpu(), minlength=len(data.classes)).tolist()
        how["balanced"] = balanced
        how["per_class"] = (
            dict(zip(data.classes, counts, strict=True))
            if len(counts) <= LISTED
            else {"classes": len(counts), "fewest": min(counts), "most": max(counts)}
        )
    return how


def see_reference(
    data: ImageSet,
    eye: Eye,
    parts: Collection[str],
    *,
    n: int | None = None,
    balanced: bool = True,
    seed: int = 0,
    batch: int = 64,
    cache: Path | None = None,
) -> tuple[Features, dict[str, Any]]:
    """Real images as the eye sees them, and which they are, for the protocol.

    With a ``cache`` what was seen is kept in a file named after the pixels, the labels and the eye's protocol, and read
    from there the next time: pixels are then hashed, and the eye looks only at the first few, to be sure that it is the
    same one.

    Args:
        data: real images.
        eye: a loaded extractor.
        parts: what to keep, of `orthogen.core.features.PARTS`.
        n: how many; all, up to 50,000, if None.
        balanced: take every class equally often, where there are classes, see `choose`.
        seed: of the choice.
        batch: images per pass.
        cache: the folder; nothing is kept if None.

    Raises:
        ValueError: see `choose`; or labels are asked for and there are none, or logits and the eye has none.
    """
    if len(data) < 2:
        raise ValueError(
            f"the data has {len(data)} images; a reference needs at least 2, and some thousands to say much"
        )
    index = choose(data, n, balanced=balanced, rng=randomness.generator(seed, "measure", "reference"))
    labels = _labels(data, index)
    if labels is None and "labels" in parts:
        raise ValueError("the class of each real image is needed, and the data has none; give data with class labels")

    def batches(doing: str) -> Iterator[Tensor]:
        for part in track(index.split(batch), doing):
            yield _as_stated(data.images(part), data)

    def seen(wanted: Collection[str]) -> Features:
        groups = (None,) * len(index) if labels is None else labels.split(batch)
        return gather(zip(batches("seeing real images"), groups, strict=labels is not None), eye, wanted, "real")

    identity = _content(data, index, labels, batches("reading real images"))
    how = {**_how(data, labels, len(index), balanced), "hash": identity}
    if cache is None:
        return seen(parts), how
    kept = Kept(cache, identity, len(index), eye, _as_stated(data.images(index[:8]), data))
    return kept.features(parts, labels, batch, seen), how


def _as_stated(images: UInt8[Tensor, "n c h w"], data: ImageSet) -> UInt8[Tensor, "n c h w"]:
    """The images, if they have the shape their set says."""
    stated = (data.channels, data.resolution, data.resolution)
    if tuple(images.shape[1:]) != stated:
        raise ValueError(f"the data says its images are {stated} and gives {tuple(images.shape[1:])}")
    return images
