"""Fitting methods under equal conditions: as many directions each, and as many latents put through the generator."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from orthogen.core import record
from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery
from orthogen.core.score import Score

__all__ = ["Counter", "fitted", "within"]

T = TypeVar("T")
FEW, MANY = 2, 1024  # steps or samples of a trial: doubled up to where a method has enough of them


class Counter:
    """A generator beside the count of what went through it.

    Attributes:
        generator: the same one; whatever it is called with counts.
        images: latents put through so far, one by one, whether a pass ran to the image or stopped at a layer. A
            backward pass is not counted.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> counter = Counter(adapt(nn.Identity(), Normal(2)))
        >>> _ = counter.generator.sample(5), counter.generator.sample(3)
        >>> counter.images
        8
    """

    def __init__(self, generator: Generator) -> None:
        self.images, self._call = 0, generator.call
        self.generator = replace(generator, call=self._counted)

    def _counted(self, module: nn.Module, z: Tensor, **conditions: Tensor) -> Any:
        self.images += len(z)
        return self._call(module, z, **conditions)


def within(method: Discovery, generator: Generator, images: int, rng: torch.Generator) -> Discovery:
    """The method with as many steps, or samples, as ``images`` latents put through the generator allow.

    What one of them takes is found by a short trial; where the first samples take more than later ones, by another with
    as many as the first allows. A method that has neither (closed forms) stays as it is, and so does each other field.
    At least as many steps or samples are left as the method needs.

    Raises:
        ValueError: whatever the method says of a generator it cannot work on.

    Example:
        A step of this search takes 3 latents for each of 32 samples, at the point and along two probes; some more are
        spent on finding out how the module behaves.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.discovery.penalty_descent import PenaltyDescent
        >>> G = adapt(nn.Linear(2, 3), Normal(2))
        >>> within(PenaltyDescent("OroJaR"), G, 9600, torch.Generator()).steps
        99
    """
    unit = next((name for name in ("steps", "samples") if _has(method, name)), None)
    if unit is None:
        return method
    few, once = FEW, 0
    while not once:
        try:
            once = _cost(_with(method, unit, few), generator, rng)
        except ValueError:  # too few for it, or another mistake, which stays one
            few *= 2
            if few > MANY:
                raise
    each = (_cost(_with(method, unit, 2 * few), generator, rng) - once) / few
    most = max(few, few + int((images - once) / each)) if each else few
    if unit == "samples" and most > few and (spent := _cost(_with(method, unit, most), generator, rng)) < images:
        most = max(most, most * images // spent)
    return _with(method, unit, most)


def _cost(method: Discovery, generator: Generator, rng: torch.Generator) -> int:
    """Latents that a fit puts through the generator."""
    counter = Counter(generator)
    method.fit(counter.generator, rng=rng)
    return counter.images


def fitted(
    generator: Generator, method: Discovery, count: int, seeds: Iterable[int], budget: int | None = None
) -> tuple[tuple[Directions, ...], Score]:
    """``count`` directions for each seed, or as many as the method has to give, and the time it took to find them.

    Args:
        generator: where.
        method: its own ``count`` does not matter; of a method that cannot be asked for a number the first ones count.
        count: how many.
        seeds: of the fits.
        budget: latents that a fit may put through the generator, see `within`; None leaves the method as it is.

    Returns:
        The directions, and the seconds of a fit, with the latents it took among the parts.

    Raises:
        ValueError: whatever the method says of a generator it cannot work on.
    """
    seeds, name = list(seeds), type(method).__name__
    if _has(method, "count"):
        method = _with(method, "count", count)
    if budget is not None:
        method = _few_enough(method, lambda m: within(m, generator, budget, randomness.generator("budget", name)))
    found, times, images = [], [], 0
    for seed in seeds:

        def fit(m: Discovery, seed: int = seed) -> tuple[Directions, float, int]:
            counter, started = Counter(generator), time.perf_counter()
            directions = m.fit(counter.generator, rng=randomness.generator(seed, "discover", name))
            return directions, time.perf_counter() - started, counter.images

        directions, seconds, images = _few_enough(method, fit)
        times.append(seconds)
        found.append(directions.take(range(min(count, len(directions)))))
    return tuple(found), Score(
        statistics.fmean(times),
        stderr=statistics.stdev(times) * len(times) ** -0.5 if len(times) > 1 else None,
        n=len(times),
        name="Time",
        protocol={"unit": "seconds", "device": generator.device.type, "threads": torch.get_num_threads()},
        parts={"images": images, "settings": record.to_json(method)},
    )


def _few_enough(method: Discovery, use: Callable[[Discovery], T]) -> T:
    """What ``use`` gives for the method, or for all directions it has, where it has not as many as it is asked for."""
    try:
        return use(method)
    except ValueError:
        if not _has(method, "count"):
            raise
        try:
            return use(_with(method, "count", None))
        except ValueError:
            pass
        raise


def _has(method: Discovery, name: str) -> bool:
    return dataclasses.is_dataclass(method) and any(field.name == name for field in dataclasses.fields(method))


def _with(method: Any, name: str, value: int | None) -> Any:
    return replace(method, **{name: value})
