"""Measuring: the place where generators, data and metrics meet. Draws everything once and writes ``scores.json``."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints import load, open_run
from orthogen.core import catalogue
from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.images import to_float
from orthogen.core.kinds import CodeMetric, Data, FactorSet, LatentMetric, LatentPenalty
from orthogen.core.score import Score
from orthogen.metrics.penalty_value import PenaltyValue

__all__ = ["measure"]

Metric = LatentMetric | CodeMetric | LatentPenalty


def _metric(given: str | Metric | type[Metric]) -> LatentMetric | CodeMetric:
    """A metric by name, class or value; a penalty stands for its value."""
    found: Any = given
    if isinstance(found, str):
        try:
            found = catalogue.find(found, "metrics", "regularizers").load()
        except KeyError:
            names = ", ".join(entry.name for entry in catalogue.entries("metrics"))
            raise ValueError(f"no metric is called {given!r}; there are {names}, or name a penalty") from None
    if isinstance(found, type):
        found = found()
    if isinstance(found, LatentPenalty):
        found = PenaltyValue(found)
    if not isinstance(found, LatentMetric | CodeMetric):
        raise TypeError(f"measure was given {given!r}; it takes metrics of latents or of codes, such as Activeness()")
    return found


def _factor_set(data: Data | FactorSet | None) -> FactorSet:
    opened: Any = data.open() if isinstance(data, Data) else data
    if not isinstance(opened, FactorSet):
        what = "no data" if data is None else type(data).__name__
        raise ValueError(
            f"code metrics need true factors, and {what} has none to read off an image; give Sprites() or Shapes3d()"
        )
    return opened


def _ambiguous(factors: FactorSet, rng: torch.Generator) -> list[int]:
    """Factors two values of which can look the same, as the orientation of a square."""
    a = factors.factors(torch.randint(len(factors), (4096,), generator=rng))
    found = []
    for i, size in enumerate(factors.factor_sizes):
        b = a.clone()
        b[:, i] = torch.randint(size, (len(a),), generator=rng)
        if (factors.same(a, b)[:, i] & (a[:, i] != b[:, i])).any():
            found.append(i)
    return found


def _reading_error(factors: FactorSet, rng: torch.Generator, n: int = 500) -> Tensor:
    """The share of true frames in which each factor is read wrong."""
    index = torch.randint(len(factors), (n,), generator=rng)
    read, _ = factors.read_factors(to_float(factors.images(index)))
    return (~factors.same(read, factors.factors(index))).float().mean(dim=0)


@torch.no_grad()
def _read(generator: Generator, z: Tensor, factors: FactorSet, rng: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
    """The factors that the reader finds in the images of ``z``, and how it was read, for the protocol."""
    values, confidences = [], []
    for part in z.split(32 if generator.device.type == "cpu" else 512):  # the caches of a CPU like few images
        images = generator(part.to(generator.device)).float().cpu()
        value, confidence = factors.read_factors(images)
        values.append(value)
        confidences.append(confidence)
    ambiguous = _ambiguous(factors, rng)
    kept = [i for i in range(len(factors.factor_sizes)) if i not in ambiguous]
    names, sure = factors.factor_names, torch.cat(confidences)[:, kept]
    return torch.cat(values)[:, kept], {
        "reader": f"{type(factors).__name__}.read_factors",
        "factors": [names[i] for i in kept],
        "ambiguous_factors_left_out": [names[i] for i in ambiguous],
        "reader_error_on_true_frames": [round(e, 4) for e in _reading_error(factors, rng)[kept].tolist()],
        "reader_confidence": [round(c, 4) for c in sure.mean(dim=0).tolist()],
        "read_with_confidence_below_half": [round(c, 4) for c in (sure < 0.5).float().mean(dim=0).tolist()],
        "low_confidence_images": "kept",
    }


def _plain(value: Any) -> Any:
    """JSON has no nan and no infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _entry(score: Score) -> dict[str, Any]:
    return _plain({key: getattr(score, key) for key in ("name", "value", "stderr", "n", "protocol", "parts")})


def _kept(path: Path) -> list[Score]:
    """The scores in a ``scores.json``; none where nothing was measured yet."""
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return [
            Score(**{**entry, "value": math.nan if entry["value"] is None else entry["value"]}) for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and measure again") from None


def _merge(folder: Path, scores: Sequence[Score]) -> None:
    """Put scores in the folder's file; one of the same name and protocol replaces the one before."""
    path = folder / "scores.json"
    kept = {json.dumps([old.name, _plain(old.protocol)], sort_keys=True): old for old in _kept(path)}
    kept |= {json.dumps([new.name, _plain(new.protocol)], sort_keys=True): new for new in scores}
    entries = [_entry(score) for score in kept.values()]
    write_atomically(path, json.dumps({"scores": entries}, indent=1) + "\n")


def measure(
    source: Generator | str | Path,
    metrics: Sequence[str | Metric | type[Metric]] = (),
    *,
    data: Data | FactorSet | None = None,
    directions: Directions | str | Path | None = None,
    n: int = 5000,
    seed: int = 0,
    device: str | torch.device | None = None,
    save: bool = True,
) -> list[Score]:
    """Scores of a generator, each with its standard error and the protocol that gave it.

    Latent metrics draw latents of their own. Code metrics share ``n`` latents: their images are drawn once, the true
    factors are read off the images by the data's reader, and the latents are scored as codes of these factors. Images
    that the reader is unsure of are kept, which lowers a score rather than raising it; how many, the protocol says.
    Factors that an image does not determine, such as the orientation of a square, are left out and named there.

    Args:
        source: a generator, a run folder, or a checkpoint file.
        metrics: names, classes or values; the recipe's own for a run folder. A penalty on latents, such as OroJaR,
            stands for its value on the image, see `orthogen.metrics.penalty_value.PenaltyValue`.
        data: where factors are read; the recipe's own for a run folder.
        directions: what latent metrics look along; the latent's coordinates if None.
        n: images for code metrics.
        seed: of everything drawn.
        device: where to draw images; as it is if None.
        save: keep the scores in the run folder's ``scores.json``, where ``source`` is one. A score of the same name and
            protocol replaces the one before.

    Raises:
        ValueError: a metric is unknown, there is none, or the data has no factors.
        FileNotFoundError: there is no such run or file.

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(torch.nn.Identity(), og.Normal(2), call=lambda m, z: z[:, None, None, :])
        >>> [score.name for score in measure(G, ["Activeness"])]
        ['Activeness']
    """
    folder = Path(source) if not isinstance(source, Generator) and (Path(source) / "run.json").is_file() else None
    generator = source if isinstance(source, Generator) else load(source)
    if folder is not None and (not metrics or data is None):
        recipe = open_run(folder).recipe
        metrics, data = metrics or recipe.metrics, data or recipe.data
    if not metrics:
        raise ValueError(f"name a metric; there are {', '.join(e.name for e in catalogue.entries('metrics'))}")
    chosen = [_metric(each) for each in metrics]
    if n < 2:
        raise ValueError(f"n={n}: code metrics need at least 2 images, and some thousands to say anything")
    if device is not None:
        generator.module.to(device)
    if directions is not None and not isinstance(directions, Directions):
        directions = Directions.load(directions)

    about: dict[str, Any] = {"seed": seed}
    if directions is not None:
        about["directions"] = {"space": directions.space, "n": len(directions), **directions.provenance}
    if folder is not None and (newest := open_run(folder).newest) is not None:
        about["trained_images"] = newest.images
    scores: list[Score] = []
    drawn: tuple[Tensor, Tensor, dict[str, Any]] | None = None
    for metric in chosen:
        rng = randomness.generator(seed, "measure", type(metric).__name__)
        if isinstance(metric, LatentMetric):
            score = metric(generator, directions, rng=rng)
        else:
            if drawn is None:
                z = generator.latent.sample(n, rng=randomness.generator(seed, "measure", "codes"))
                drawn = (z, *_read(generator, z, _factor_set(data), randomness.generator(seed, "measure", "factors")))
            codes, factors, how = drawn
            score = metric(codes, factors, rng=rng)
            score = replace(score, protocol={**score.protocol, **how})
        scores.append(replace(score, protocol={**score.protocol, **about}))
    if save and folder is not None:
        _merge(folder, scores)
    return scores
