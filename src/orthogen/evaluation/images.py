"""Image scores: generated and real images are each seen once, and every metric is computed from what was seen."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.features import Features
from orthogen.core.generator import Generator
from orthogen.core.images import to_uint8
from orthogen.core.kinds import Data, Extractor, Eye, ImageMetric, ImageSet
from orthogen.core.progress import track
from orthogen.core.score import Score
from orthogen.core.shapes import Int
from orthogen.evaluation.drawing import missing_condition, resting, see_each_other
from orthogen.evaluation.kept import cache_folder
from orthogen.evaluation.reference import LIMIT, see_reference
from orthogen.evaluation.seeing import gather
from orthogen.extractors import as_extractor

__all__ = ["image_scores", "see_generated"]

OTHER_WEIGHTS = "Inception with weights other than the published ones"
BLOCK = 1024  # latents drawn at once, so that they do not depend on the batch


def _balanced(n: int, classes: int, rng: torch.Generator) -> Int[Tensor, "n"]:
    """``n`` labels in random order, every class as often as every other, or once less."""
    return (torch.arange(n) % classes)[torch.randperm(n, generator=rng)]


def _pixels(images: Tensor, data: ImageSet | None) -> Tensor:
    """The images as uint8, if they are images, finite, and of the data's shape."""
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"the generator makes {tuple(images.shape)}; square images (batch, channel, n, n) are needed")
    channels, size = images.shape[1:3]
    if data is not None and (channels, size) != (data.channels, data.resolution):
        raise ValueError(
            f"the generator makes {channels} x {size} x {size} images and the data has {data.channels} x "
            f"{data.resolution} x {data.resolution}; open the data at the generator's resolution and channels"
        )
    bad = int((~images.isfinite().flatten(1).all(dim=1)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(images)} generated images are not finite; the generator has diverged")
    return to_uint8(images)


def _draw(
    generator: Generator, n: int, batch: int, seed: int, conditions: dict[str, Int[Tensor, "n"]]
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Batches of images, with the labels they were made from."""
    rng, device, done = randomness.generator(seed, "measure", "images"), generator.device, 0
    for start in range(0, n, BLOCK):
        for z in generator.latent.sample(min(BLOCK, n - start), rng=rng, device=device).split(batch):
            given = {name: labels[done : done + len(z)].to(device) for name, labels in conditions.items()}
            done += len(z)
            yield generator(z, **given), next(iter(given.values()), None)


@contextmanager
def _conditions_explained(condition: str | None) -> Iterator[None]:
    """What the generator's signature says of conditions, in words of ours."""
    try:
        yield
    except TypeError as error:
        if condition is not None and "unexpected keyword" in str(error):
            raise ValueError(f"the generator takes no condition {condition!r} ({error})") from None
        missing = missing_condition(error)
        if missing is not None and condition is None:
            raise ValueError(
                f"the generator needs class labels: give condition={missing!r} (--condition {missing}) ({error})"
            ) from None
        raise


@torch.no_grad()
def see_generated(
    generator: Generator,
    eye: Eye,
    parts: Collection[str],
    *,
    optional: Collection[str] = (),
    n: int,
    seed: int = 0,
    data: ImageSet | None = None,
    condition: str | None = None,
    batch: int = 64,
) -> tuple[Features, dict[str, Any]]:
    """``n`` fresh images of a generator as the eye sees them, and how they were made, for the protocol.

    The generator is in evaluation mode and left as it was. Images are rounded to 256 levels before they are seen, as
    files of them would be. One seed gives the same latents and labels whatever the batch; where images depend on the
    others of their batch (batch statistics), the protocol says so and names its size.

    Args:
        generator: what is measured.
        eye: a loaded extractor.
        parts: what to keep, of `orthogen.core.features.PARTS`.
        optional: what to keep beside, where it can be had.
        n: how many images.
        seed: of latents, labels and the generator's own noise.
        data: real images, which the generated ones must match in size; their classes are those of the condition.
        condition: the keyword for class labels of a generator that does not say it takes any (``adapt(...,
            classes=...)``). Labels are given to a generator that takes them, each class as often as every other;
            otherwise the classes of images, where they are asked for, are those that the extractor predicts.
        batch: images per pass, at most 1,024.

    Raises:
        ValueError: fewer than two images, images of another shape than the data's or not finite, a condition without
            classes or unknown to the generator, one that the generator needs and is not named, or parts that the eye
            does not see.
    """
    if n < 2 or batch < 1:
        raise ValueError(f"n={n}, batch={batch}: image scores need at least 2 images, and some thousands to say much")
    classes, conditions = 0 if data is None else len(data.classes), {}
    if generator.classes:
        condition = generator.condition if condition is None else condition
        if classes not in (0, generator.classes):
            raise ValueError(
                f"the generator has {generator.classes} classes and the data {classes}; give data of its own"
            )
        classes = generator.classes
    if condition is not None:
        if classes < 1:
            raise ValueError(f"condition={condition!r}: the data has no classes to draw labels from")
        conditions[condition] = _balanced(n, classes, randomness.generator(seed, "measure", "labels"))
    with (
        _conditions_explained(condition),
        resting(generator, randomness.generator(seed, "measure", "noise")),
    ):
        together = see_each_other(generator, conditions)
        total = sum(-(-min(BLOCK, n - start) // batch) for start in range(0, n, BLOCK))
        drawn = track(_draw(generator, n, batch, seed, conditions), "seeing generated images", total)
        shape: list[int] = []

        def batches() -> Iterator[tuple[Tensor, Tensor | None]]:
            for images, labels in drawn:
                shape[:] = images.shape[1:]
                yield _pixels(images, data), labels

        features = gather(batches(), eye, parts, "generated", optional=optional, classes=classes)
    how: dict[str, Any] = {"images": n, "shape": shape, "quantization": "uint8, round((x + 1) 127.5), clipped"}
    if together:
        how |= {"batch": batch, "samples see each other": True}
    if condition is not None:
        how["labels"] = f"drawn evenly, given as {condition!r}"
    elif features.has("labels"):
        how["labels"] = "predicted by the extractor"
    return features, how


def _thinned(reference: Mapping[str, Any], asked: int | None) -> list[str]:
    """What to say where balancing drops most of the real images asked for."""
    taken, wanted = reference["images"], asked or min(reference["of"], LIMIT)
    if 2 * taken >= wanted:
        return []
    return [f"balancing leaves {taken} of {wanted} real images; balanced=False keeps them"]


def _noted(score: Score, notes: Sequence[str]) -> Score:
    """The score with notes added to its own."""
    said = [score.parts["note"], *notes] if "note" in score.parts else list(notes)
    return replace(score, parts={**score.parts, "note": "; ".join(said)}) if notes else score


def image_scores(
    generator: Generator,
    metrics: Sequence[ImageMetric],
    *,
    data: Data | ImageSet | None,
    extractor: Extractor | Callable[..., Any] | str | None = None,
    n: int = 5000,
    reference_n: int | None = None,
    balanced: bool = True,
    condition: str | None = None,
    seed: int = 0,
    cache: Path | None = None,
    batch: int = 64,
) -> list[Score]:
    """Scores of generated against real images, all from one pass over each.

    A score is called FID, KID or IS where the extractor is Inception, and never otherwise. Its protocol names the
    extractor with the hash of its weights, how images were drawn, and the reference with its hash, where the metric
    looks at one. The reference does not depend on the seed, so that scores of several seeds can be compared.

    Args:
        generator: what is measured.
        metrics: metrics of images.
        data: the real images; may be None for metrics that look at generated images alone.
        extractor: what both are seen with, see `orthogen.extractors.as_extractor`; Inception if None.
        n: how many images to generate.
        reference_n: how many real images; all, up to 50,000, if None.
        balanced: take as many real images of each class, where there are classes.
        condition: the keyword for class labels of a generator that does not say it takes any.
        seed: of everything drawn.
        cache: folder where what was seen of the real images is kept for the next time; the user's cache if None.
        batch: images per pass.

    Raises:
        ValueError: see `see_generated`, `orthogen.evaluation.reference.see_reference` and the metrics.
        FileNotFoundError: the extractor's weights are not there.
    """
    data, extractor = data.open() if isinstance(data, Data) else data, as_extractor(extractor)
    if data is not None:
        metrics = [metric.with_data(data) for metric in metrics]
    held = [metric for metric in metrics if metric.needs_reference]
    if held and data is None:
        raise ValueError("image scores hold generated images against real ones; give data, such as ImageFolder(path)")
    parts = frozenset[str]().union(*(metric.reads for metric in metrics))
    optional = frozenset[str]().union(*(metric.may_read for metric in metrics)) - parts
    if "labels" in parts and (data is None or not data.classes):
        who = ", ".join(type(metric).__name__ for metric in metrics if "labels" in metric.reads)
        raise ValueError(f"{who} needs classes, and the data has none; give data with class labels")
    eye = extractor.load(generator.device)
    fake, how = see_generated(
        generator, eye, parts, optional=optional, n=n, seed=seed, data=data, condition=condition, batch=batch
    )  # first, because its mistakes turn up in the first batch
    real, against = fake, dict[str, Any]()
    if held and data is not None:
        parts = frozenset().union(*(metric.reads for metric in held))
        parts |= {part for metric in held for part in metric.may_read if fake.has(part)}
        real, against = see_reference(
            data,
            eye,
            parts,
            n=reference_n,
            balanced=balanced,
            batch=batch,
            cache=cache_folder() if cache is None else cache,
        )
    scores = []
    for metric in metrics:
        score = metric(
            real if metric.needs_reference else fake,
            fake,
            rng=randomness.generator(seed, "measure", type(metric).__name__),
        )
        about: dict[str, Any] = {"extractor": dict(eye.protocol), "generated": dict(how)}
        if condition is None and not generator.classes and "labels" not in metric.reads | metric.may_read:
            about["generated"].pop("labels", None)  # predicted for another metric; nothing to this one
        notes = [] if eye.protocol.get("published_weights", True) else [OTHER_WEIGHTS]
        if metric.needs_reference:
            about["reference"] = against
            notes += _thinned(against, reference_n)
        name = metric.on_inception if extractor.inception and metric.on_inception else score.name
        score = replace(score, name=name, protocol={**score.protocol, **about})
        scores.append(_noted(score, notes))
    return scores
