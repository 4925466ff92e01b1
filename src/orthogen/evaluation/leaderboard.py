"""`leaderboard`: methods for finding directions side by side, on one generator, by the same scores."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch.nn.functional as F

from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Data, Discovery, FactorSet, ImageSet, LatentMetric
from orthogen.core.progress import track
from orthogen.core.score import Score
from orthogen.evaluation.consistency import consistency
from orthogen.evaluation.fitting import fitted
from orthogen.evaluation.recovery import planted_leakage, recovery
from orthogen.evaluation.standing import Leaderboard, Standing
from orthogen.metrics.activeness import Activeness
from orthogen.metrics.effect_size import EffectSize
from orthogen.metrics.leakage import Leakage, Reader
from orthogen.metrics.linearity import Linearity
from orthogen.metrics.mixed_share import MixedShare
from orthogen.metrics.penalty_value import PenaltyValue
from orthogen.metrics.variation_score import VariationScore
from orthogen.regularizers.hessian_penalty import HessianPenalty
from orthogen.regularizers.orojar import OroJaR

__all__ = ["QUICK", "leaderboard"]

# some seconds per method at 32 pixels, where the paper's 10,000 pairs and 200 epochs take minutes
QUICK = VariationScore(pairs=1000, train_share=0.5, epochs=20, lr=0.001, predictors=2, readout="cosine")
PENALTIES = {
    "orojar": OroJaR(reduction="mean", normalize="numel"),  # so that boards of other resolutions may be laid beside
    "hessian": HessianPenalty(reduction="mean"),
}


def leaderboard(
    generator: Generator,
    methods: Mapping[str, Discovery],
    *,
    seeds: int = 3,
    count: int = 10,
    seed: int = 0,
    samples: int = 64,
    budget: int | None = None,
    data: Data | ImageSet | Reader | None = None,
    planted: Directions | None = None,
    variation: VariationScore | None = QUICK,
    each: Callable[[Standing], None] | None = None,
) -> Leaderboard:
    """Scores of what several methods find in one generator.

    Every method is asked for the same number of directions (of one that cannot be asked, `Coordinates`, the first ones
    count), is fitted with the same seeds, and is measured on the same latents along directions of one length: one
    standard deviation of the latent. With a ``budget`` every method that has steps or samples to spare gets as many of
    them as put that many latents through the generator; without one they are as given. Either way the part ``images``
    of the time says how many it took.

    Columns are effect size, linearity, activeness, the share of OroJaR's and of the Hessian Penalty's matrix that lies
    off the diagonal, both penalties, leakage, consistency over seeds, recovery of planted directions, the VP score and
    the time. Each has a standard error: over latents, over seeds or over predictors, as its protocol says. A method
    that cannot work on the generator gets a standing that says why.

    Args:
        generator: which; of one that takes class labels, one class (``generator.of_class(3)``).
        methods: by the names they shall have on the board.
        seeds: how often each is fitted.
        count: how many directions; all that the latent has room for, if these are fewer.
        seed: the first seed; also of the latents that everything is measured on.
        samples: how many latents.
        budget: latents that a fit may put through the generator; None leaves methods as they are.
        data: what reads factors off images for the leakage: data with known factors, or a classifier.
        planted: the true directions, where they are known: recovery is measured, and leakage where there is no data.
        variation: how the VP score is taken; None leaves it out.
        each: called with each method's standing as soon as it is there.

    Raises:
        ValueError: no method, seeds, directions or samples, or a generator that takes class labels.

    Example:
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.discovery.jacobian_svd import JacobianSvd
        >>> from orthogen.discovery.random import Random
        >>> from orthogen.models.planted import PlantedLinear
        >>> model = PlantedLinear(Normal(4))
        >>> module = model.build()["generator"]
        >>> methods = {"SVD": JacobianSvd(samples=2), "random": Random()}
        >>> G = model.adapt(module)
        >>> board = leaderboard(G, methods, samples=4, planted=model.planted(module), variation=None)
        >>> round(board["SVD"].scores["recovery"].value, 3), board["random"].scores["recovery"].value < 0.95
        (1.0, True)
    """
    if not methods:
        raise ValueError("leaderboard was given no method; give some by name, such as {'SeFa': SeFa()}")
    if seeds < 1 or count < 1 or samples < 2:
        raise ValueError(
            f"leaderboard(seeds={seeds}, count={count}, samples={samples}): give at least 1 seed, 1 direction and 2 "
            "samples"
        )
    if generator.classes:
        raise ValueError(
            f"leaderboard: this generator takes class labels (0 to {generator.classes - 1}), and directions are "
            "compared at one class; choose it: generator.of_class(0)"
        )
    count = min(count, generator.latent.dim)
    shared = {"directions": count, "seeds": seeds, "seed": seed, "samples": samples, "generator": generator.digest}
    shared |= {} if budget is None else {"budget": budget}
    metrics = _metrics(samples, data, variation)
    standings = []
    for name, method in track(list(methods.items()), "methods"):
        try:
            found, seconds = fitted(generator, method, count, range(seed, seed + seeds), budget)
        except (ValueError, TypeError, RuntimeError) as error:
            standing = Standing(name, failed=_line(error))
        else:
            scores, missing = _measured(generator, found, metrics, planted, seed)
            standing = Standing(name, found, {**scores, "seconds": seconds}, missing)
        standings.append(standing)
        if each is not None:
            each(standing)
    return Leaderboard(tuple(standings), shared)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _metrics(
    samples: int, data: Data | ImageSet | Reader | None, variation: VariationScore | None
) -> dict[str, LatentMetric]:
    """What is measured along directions, by column."""
    metrics: dict[str, LatentMetric] = {
        "effect_size": EffectSize(samples),
        "linearity": Linearity(samples),
        "activeness": Activeness(samples),
        "orojar_share": MixedShare(1, samples),
        "hessian_share": MixedShare(2, samples),
        **{column: PenaltyValue(penalty, samples=samples) for column, penalty in PENALTIES.items()},
    }
    reader = data.open() if isinstance(data, Data) else data
    if isinstance(reader, FactorSet) or callable(reader):
        metrics["leakage"] = Leakage(reader, samples)
    if variation is not None:
        metrics["variation"] = variation
    return metrics


def _in_deviations(generator: Generator, directions: Directions) -> Directions:
    """The directions at the length of one standard deviation of the latent, so that all compare."""
    unit = F.normalize(directions.basis.detach().double(), dim=1)
    basis = unit * generator.latent.spread(unit)[:, None]
    return replace(directions, basis=basis.to(directions.basis.dtype))


def _measured(
    generator: Generator,
    found: tuple[Directions, ...],
    metrics: Mapping[str, LatentMetric],
    planted: Directions | None,
    seed: int,
) -> tuple[dict[str, Score], dict[str, str]]:
    """The scores by column, and why others are missing."""
    scaled = _in_deviations(generator, found[0])
    measures: dict[str, Callable[[], Score]] = {}
    for column, metric in metrics.items():
        # one generator of random numbers per column, the same for every method: all see the same latents
        rng = randomness.generator(seed, "leaderboard", column)
        measures[column] = lambda metric=metric, rng=rng: metric(generator, scaled, rng=rng)  # type: ignore[misc]
    measures["consistency"] = lambda: consistency(found)
    if planted is not None:
        measures["recovery"] = lambda: recovery(found, planted)
        measures.setdefault("leakage", lambda: planted_leakage(found[0], planted))
    scores, missing = {}, {}
    for column, measure in measures.items():
        try:
            scores[column] = measure()
        except (ValueError, TypeError, RuntimeError) as error:
            missing[column] = _line(error)
    return scores, missing
