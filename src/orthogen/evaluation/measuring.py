"""`measure`: scores of a generator, kept in its run folder. `measure_codes`: scores of an encoder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orthogen import __version__
from orthogen.checkpoints import load, open_run
from orthogen.checkpoints.run_folder import Checkpoint
from orthogen.core import catalogue
from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import (
    CodeMetric,
    Data,
    Extractor,
    FactorSet,
    ImageMetric,
    ImageSet,
    LatentMetric,
    LatentPenalty,
)
from orthogen.core.score import Score
from orthogen.core.score_file import merge, read
from orthogen.evaluation import factors
from orthogen.evaluation.encoders import OWN, encoder_of
from orthogen.evaluation.image_settings import ImageSettings
from orthogen.evaluation.images import image_scores
from orthogen.evaluation.published import read_directions
from orthogen.evaluation.waiting import waiting
from orthogen.metrics.penalty_value import PenaltyValue
from orthogen.metrics.variation_score import Pairs, VariationScore

__all__ = ["measure", "measure_codes"]

Metric = LatentMetric | CodeMetric | ImageMetric
Given = str | Metric | LatentPenalty | type[Metric] | type[LatentPenalty]
KINDS = (LatentMetric, CodeMetric, ImageMetric)


def _metric(given: Given) -> Metric:
    """A metric by name, class or value; a penalty stands for its value. ``NAME.protocol`` is a protocol with a name."""
    found: Any = given
    if isinstance(found, str):
        name, _, protocol = found.partition(".")
        try:
            found = catalogue.find(name, "metrics", "regularizers").load()
        except KeyError:
            raise ValueError(f"no metric is called {given!r}; there are {_names()}, or name a penalty") from None
        if protocol:
            known = [key for key, value in vars(found).items() if isinstance(value, classmethod)]
            if protocol not in known:
                raise ValueError(f"{name} has no protocol {protocol!r}; it has {', '.join(known) or 'none by name'}")
            found = getattr(found, protocol)()
    if isinstance(found, type):
        found = found()
    if isinstance(found, LatentPenalty):
        found = PenaltyValue(found)
    if not isinstance(found, KINDS):
        raise TypeError(f"measure was given {given!r}; it takes metrics, such as Activeness(), or a penalty on latents")
    return found


def _names() -> str:
    return ", ".join(sorted({entry.name for entry in catalogue.entries("metrics")} - {"Pairs"}))


def _versions() -> dict[str, str]:
    return {"orthogen": __version__, "torch": torch.__version__.partition("+")[0]}


def _with(score: Score, protocol: dict[str, Any], about: dict[str, Any]) -> Score:
    return replace(
        score,
        protocol={**score.protocol, **protocol, "versions": _versions()},
        about={**score.about, **about},
    )


def _pairs_folder(source: object) -> bool:
    """Whether it holds pairs of images, whole or not; what is missing, the reader of pairs says."""
    path = Path(source) if isinstance(source, str | Path) else None
    return path is not None and ((path / "labels.npy").is_file() or (path.is_dir() and any(path.glob("pair_[0-9]*.*"))))


def _of_pairs(folder: str | Path, chosen: Sequence[Metric], seed: int) -> Iterator[Score]:
    """Scores of pairs of images on disk, in the released format of the VP score."""
    pairs = Pairs.read(folder)
    for metric in chosen:
        if not isinstance(metric, VariationScore):
            raise ValueError(
                f"{folder} holds pairs of images, which VariationScore reads, and {type(metric).__name__} does not"
            )
        score = metric.of(pairs, rng=randomness.generator(seed, "measure", "VariationScore"))
        yield _with(score, {}, {"seed": seed, "pairs": str(folder)})


def measure(
    source: Generator | str | Path,
    metrics: Sequence[Given] = (),
    *,
    data: Data | ImageSet | None = None,
    directions: Directions | str | Path | None = None,
    extractor: "Extractor | Any | None" = None,
    n: int | None = None,
    reference_n: int | None = None,
    balanced: bool | None = None,
    condition: str | None = None,
    fix_class: int | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    save: bool = True,
    each: Callable[[Score], None] | None = None,
    quiet: bool = False,
) -> list[Score]:
    """Scores of a generator, each with its standard error and the protocol that gave it.

    *Latent metrics* draw latents of their own.

    *Code metrics* share ``n`` latents: their images are drawn once, the true factors are read off the images by the
    data's reader, and the latents are scored as codes of these factors. Images that the reader is unsure of are kept,
    which lowers a score rather than raising it; how many, ``Score.about`` says. Factors that an image does not
    determine, such as the orientation of a square, are left out and named in the protocol. Of a run or checkpoint with
    an encoder, such as that of a VAE, its mean codes of ``n`` images of the data are scored in place of all this, as in
    `measure_codes`, and the protocol says so; a generator file alone is scored by its latents.

    *Image metrics* share one pass: ``n`` images are drawn once, quantized to uint8, and seen once by the extractor; the
    reference is seen once and kept in a cache for the next time. Of a run that was validated while it trained, they
    have the data and settings of the validation where none are given, so that all its scores are of one protocol, and
    classes are grouped by their counts in training.

    Args:
        source: a generator, a run folder, a checkpoint file, or a folder of pairs in the VP score's released format.
        metrics: names, classes or values; the recipe's own for a run folder. A penalty on latents, such as OroJaR,
            stands for its value on the image, see `orthogen.metrics.penalty_value.PenaltyValue`.
        data: where factors are read and reference images come from; the recipe's own for a run folder.
        directions: what latent metrics look along; the latent's coordinates if None.
        extractor: what sees images: an `Extractor`, a function or module from images in [-1, 1] to features (and
            logits), or ``"my_file.py:make"``; Inception if None.
        n: images drawn for code metrics and image metrics, each; 5000 if None, or as many as a protocol by name takes.
        reference_n: images of the reference; all, up to 50,000, if None.
        balanced: whether the reference has equally many images of each class, where there are classes; it has if None.
        condition: the keyword for class labels of a generator that does not say it takes any (``adapt(...,
            classes=...)``); image metrics draw labels evenly.
        fix_class: one class for all images, of a generator that takes class labels; latent metrics and code metrics of
            such a one need it.
        settings: how to use another system's network, such as ``{"truncation": 0.7}``; see `orthogen.load`.
        seed: of everything drawn.
        device: where to draw images; as it is if None.
        save: keep each score, as soon as it is there, in the ``scores.json`` of ``source``, where it is a run folder or
            a folder of pairs. A score of the same name, protocol and subject replaces the one before.
        each: called with each score as soon as it is there.
        quiet: show no progress and no estimate of the time.

    Raises:
        ValueError: a metric is unknown, there is none, or the data has no factors.
        FileNotFoundError: there is no such run or file.

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(torch.nn.Identity(), og.Normal(2), call=lambda m, z: z[:, None, None, :])
        >>> [score.name for score in measure(G, ["Activeness"], quiet=True)]
        ['Activeness']
    """
    folder = _run_of(source)
    on_images = ImageSettings(data, extractor, n, reference_n, balanced)
    if folder is not None and (not metrics or data is None):
        recipe = open_run(folder).recipe
        metrics, data = metrics or recipe.metrics, recipe.data if data is None else data
        on_images = on_images.filled_in(recipe)
    if not metrics:
        raise ValueError(f"name a metric; there are {_names()}")
    chosen = [_metric(one) for one in metrics]
    on_images = on_images if n is not None else on_images.asked_by(chosen)
    n = 5000 if n is None else n
    if n < 2:
        raise ValueError(f"n={n}: at least 2 images are needed, and some thousands to say anything")
    if settings and isinstance(source, Generator):
        raise ValueError(f"settings={dict(settings)} are for files; load the generator with them: og.load(path, ...)")
    kept = _path(source) if save and (_pairs_folder(source) or folder == _path(source)) else None
    # a damaged file is better found now than after an hour
    before = read(kept) if kept is not None and (kept / "scores.json").exists() else []

    found: dict[int, Score] = {}

    def keep(where: int, score: Score) -> None:
        found[where] = score
        if kept is not None:
            merge(kept, [score])
        if each is not None:
            each(score)

    with waiting(quiet=quiet):
        if _pairs_folder(source):
            assert not isinstance(source, Generator)
            for i, score in enumerate(_of_pairs(source, chosen, seed)):
                keep(i, score)
            return list(found.values())

        generator = source if isinstance(source, Generator) else load(source, **(settings or {}))
        if device is not None:
            generator.module.to(device)
        if directions is not None and not isinstance(directions, Directions):
            directions = read_directions(directions, dim=generator.latent.dim)
        if directions is not None:
            directions.warn_if_of_another(generator)
        about: dict[str, Any] = {"seed": seed, **(settings or {})}
        if fix_class is not None:
            generator, about["class"] = generator.of_class(fix_class), fix_class
        elif generator.classes and not all(isinstance(metric, ImageMetric) for metric in chosen):
            raise ValueError(
                f"this generator takes class labels (0 to {generator.classes - 1}), and scores along its latent are of "
                "one class; choose it: fix_class=0 (--fix-class 0)"
            )
        checkpoint = _checkpoint(source, folder)
        if checkpoint is not None and folder == _path(source):
            about["trained_images"] = checkpoint.images

        def of_images(metrics: Sequence[Any]) -> Iterator[Score]:
            return iter(
                image_scores(
                    generator,
                    [on_images.of_training(metric) for metric in metrics],
                    data=data if on_images.data is None else on_images.data,
                    extractor=on_images.extractor,
                    n=n if on_images.n is None else on_images.n,
                    reference_n=on_images.reference_n,
                    balanced=on_images.balanced is not False,
                    condition=condition,
                    seed=seed,
                )
            )

        # images first: what can be missing, weights or data, is missed before anything long has begun
        for kind, run in (
            (ImageMetric, of_images),
            (CodeMetric, lambda metrics: _of_codes(generator, encoder_of(checkpoint), metrics, data, n, seed)),
            (LatentMetric, lambda metrics: _along(generator, metrics, data, directions, seed)),
        ):
            where = [i for i, metric in enumerate(chosen) if isinstance(metric, kind)]
            if where:
                for i, score in zip(where, run([chosen[i] for i in where]), strict=True):
                    keep(i, _with(score, {}, about))
    scores = [found[i] for i in range(len(chosen))]
    if kept is not None:
        merge(kept, scores, before)  # in the order they were asked for
    return scores


def _path(source: Generator | str | Path) -> Path | None:
    """The source as a path, where it is one."""
    return None if isinstance(source, Generator) else Path(source)


def _run_of(source: Generator | str | Path) -> Path | None:
    """The run folder that the source is, or that a checkpoint lies in."""
    path = _path(source)
    if path is None:
        return None
    return next((each for each in (path, *path.parents[:3]) if (each / "run.json").is_file()), None)


def _checkpoint(source: Generator | str | Path, folder: Path | None) -> Checkpoint | None:
    """The newest whole checkpoint of a run, or the checkpoint that the source is; a generator file stands alone."""
    path = _path(source)
    if path is None or folder is None:
        return None
    return open_run(folder).newest if path == folder else Checkpoint(path) if path.is_dir() else None


def _along(
    generator: Generator,
    metrics: Sequence[LatentMetric],
    data: Data | ImageSet | None,
    directions: Directions | None,
    seed: int,
) -> Iterator[Score]:
    """Scores along the latent, or along directions."""
    about = {}
    if directions is not None:
        about["directions"] = {"space": directions.space, "n": len(directions), **directions.provenance}
    for metric in metrics:
        if type(metric).with_data is not LatentMetric.with_data:  # it makes use of data
            data = data.open() if isinstance(data, Data) else data
            metric = metric.with_data(data) if isinstance(data, FactorSet) else metric
        rng = randomness.generator(seed, "measure", type(metric).__name__)
        yield _with(metric(generator, directions, rng=rng), {}, about)


def _of_codes(
    generator: Generator,
    encoder: nn.Module | None,
    metrics: Sequence[CodeMetric],
    data: Data | ImageSet | None,
    n: int,
    seed: int,
) -> Iterator[Score]:
    """Scores of an encoder's codes, or of latents as codes of the factors that are read off their images."""
    if encoder is not None:
        for score in _of_encoder(encoder.to(generator.device), metrics, data, n, seed, generator.device):
            yield _with(score, {"codes": OWN}, {})
        return
    z = generator.latent.sample(n, rng=randomness.generator(seed, "measure", "codes"))
    source = factors.factor_set(data)
    true, how, sure = factors.read(generator, z, source, randomness.generator(seed, "measure", "factors"))
    for metric in metrics:
        yield _code_score(metric, z, true, seed, how, sure)


def _of_encoder(
    encoder: factors.Encoder,
    metrics: Sequence[CodeMetric],
    data: Data | ImageSet | None,
    n: int,
    seed: int,
    device: torch.device,
) -> Iterator[Score]:
    """Scores of an encoder's codes of images whose factors are known."""
    rng = randomness.generator(seed, "measure", "encoder")
    codes, true, how = factors.encoded(encoder, factors.factor_set(data), n, rng, device)
    for metric in metrics:
        yield _code_score(metric, codes, true, seed, how, {"seed": seed})


def _code_score(
    metric: CodeMetric, codes: Tensor, true: Tensor, seed: int, how: dict[str, Any], about: dict[str, Any]
) -> Score:
    rng = randomness.generator(seed, "measure", type(metric).__name__)
    return _with(metric(codes, true, rng=rng), how, about)


def measure_codes(
    encoder: factors.Encoder,
    metrics: Sequence[str | CodeMetric | type[CodeMetric]],
    *,
    data: Data | FactorSet,
    n: int = 10_000,
    seed: int = 0,
    device: str | torch.device | None = None,
    quiet: bool = False,
) -> list[Score]:
    """Scores of an encoder's codes against the true factors of drawn images.

    Args:
        encoder: images in [-1, 1], ``(n, c, h, w)``, to codes ``(n, k)``; a module is put in evaluation mode meanwhile.
        metrics: code metrics by name, class or value.
        data: a set with known factors.
        n: images, drawn evenly over the factors; all of the set, once each, where it has no more.
        seed: of everything drawn.
        device: where the encoder runs; that of its parameters if None.
        quiet: show no progress and no estimate of the time.

    Raises:
        ValueError: a metric is no metric of codes, the data has no factors, or the encoder's output is no code.

    Example:
        >>> import orthogen as og
        >>> brightness = lambda images: torch.stack([images.mean((1, 2, 3)), images.amax((1, 2, 3))], dim=1)
        >>> [score.name for score in measure_codes(brightness, ["Mig"], data=og.Sprites(), n=200, quiet=True)]
        ['MIG']
    """
    chosen = [_metric(each) for each in metrics]
    for metric in chosen:
        if not isinstance(metric, CodeMetric):
            raise ValueError(f"measure_codes was given {type(metric).__name__}; an encoder has code metrics only")
    if n < 2:
        raise ValueError(f"n={n}: at least 2 images are needed, and some thousands to say anything")
    if device is None:
        parameter = next(encoder.parameters(), None) if isinstance(encoder, nn.Module) else None
        device = torch.device("cpu") if parameter is None else parameter.device
    with waiting(quiet=quiet):
        return list(_of_encoder(encoder, chosen, data, n, seed, torch.device(device)))  # type: ignore[arg-type]
