"""Searches that can be stopped: their state on disk, from which the same command goes on to the last bit."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.interrupt import Interrupt
from orthogen.core.record import to_json
from orthogen.evaluation.drawing import resting

__all__ = ["Each", "Search", "Searching", "run_search"]

_SEEN = 1000  # numbers of two images by which a generator is known again


@runtime_checkable
class Search(Protocol):
    """A search under way, such as that of `orthogen.PenaltyDescent`."""

    log: list[dict[str, Tensor]]

    def run(self, each: "Callable[[Any], None] | None" = None) -> Directions:
        """Take the steps that are left."""

    def directions(self) -> Directions:
        """The directions so far."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that the rest of it depends on."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""


Each = Callable[[Search], None]


@runtime_checkable
class Searching(Protocol):
    """A way to find directions step by step."""

    def search(self, generator: Generator, *, rng: torch.Generator | None = None) -> Search:
        """The search before its first step."""


@dataclass(frozen=True)
class _Kept:
    """A search on disk: ``NAME.safetensors``, its state, and ``NAME.jsonl``, its log with a line for each step."""

    folder: Path
    name: str
    about: dict[str, Any]  # which search it is
    seen: Tensor  # of the generator's images: a hash of its weights says nothing of how it is called

    @property
    def state(self) -> Path:
        return self.folder / f"{self.name}.safetensors"

    def write(self, search: Search) -> None:
        """Write both files; the state last, since it is what a search goes on from.

        Raises:
            FloatingPointError: a number of the log is not finite; the state before is kept.
        """
        columns = {name: torch.stack([entry[name] for entry in search.log]).tolist() for name in search.log[0]}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        bad = next((i for i, row in enumerate(rows, start=1) if not all(map(math.isfinite, row.values()))), None)
        if bad is not None:
            raise FloatingPointError(f"{self.name}: the loss is not finite from step {bad} on; try a lower lr")
        log = "".join(json.dumps({"step": i, **row}) + "\n" for i, row in enumerate(rows, start=1))
        write_atomically(self.folder / f"{self.name}.jsonl", log)
        metadata = {"orthogen.search": json.dumps(self.about)}
        write_atomically(self.state, to_bytes({**search.state_dict(), "seen": self.seen}, metadata=metadata))

    def read(self, search: Search) -> None:
        """Put the search where the files left it; where there are none, it stays at its start.

        Raises:
            ValueError: the state is damaged, or of another search.
        """
        if not self.state.exists():
            return
        try:
            with safe_open(str(self.state), framework="pt") as file:
                about = json.loads((file.metadata() or {})["orthogen.search"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            seen = tensors.pop("seen")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.state} is damaged; delete it to search from the start") from error
        if differ := list(_differences(about, self.about)):
            raise ValueError(
                f"{self.state} is of another search, with {', '.join(differ[:3])}; give this one a name of its own, or "
                "delete that file"
            )
        near = 1e-3 * self.seen.abs().nan_to_num().max()  # another machine rounds otherwise
        if seen.shape != self.seen.shape or not torch.allclose(seen, self.seen, 0.0, float(near), equal_nan=True):
            raise ValueError(
                f"{self.state} is of a search in a generator that draws other images (another class, truncation or "
                "call); give this one a name of its own, or delete that file"
            )
        try:
            search.load_state_dict(tensors)
        except ValueError as error:
            raise ValueError(f"{self.state} is damaged ({error}); delete it to search from the start") from error


@torch.no_grad()
def _seen(generator: Generator) -> Tensor:
    """Some numbers of two images of it."""
    with resting(generator, randomness.generator("seen", "noise")):
        z = generator.latent.sample(2, rng=randomness.generator("seen"), device=generator.device)
        rows = {generator.condition: torch.zeros(2, dtype=torch.int64, device=z.device)} if generator.classes else {}
        numbers = generator(z.to(torch.promote_types(z.dtype, generator.dtype)), **rows).flatten()
    return numbers[:: -(-len(numbers) // _SEEN)].float().cpu().contiguous()


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Where two records differ, in words."""
    for key in {**before, **now}:
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            a, b = (f"{each['type'].rpartition(':')[2]}(...)" if isinstance(each, dict) else each for each in (a, b))
            yield f"{prefix}{key}={a} (now {b})"


def run_search(
    method: Searching,
    generator: Generator,
    seed: int,
    rng: torch.Generator,
    *,
    folder: Path | None = None,
    name: str = "search",
    every: int = 500,
    each: Each | None = None,
) -> Directions:
    """The directions after all steps; from where an earlier call with the same ``folder`` and ``name`` was stopped.

    More steps may be asked for than before, and all else must be the same.

    Args:
        method: what searches.
        generator: where.
        seed: of ``rng``.
        rng: draws everything.
        folder: where the search's state and log are kept; nowhere if None.
        name: what their files are called.
        every: steps between writing them. Ctrl-C writes them too, after the step under way.
        each: called with the search after each step.

    Raises:
        ValueError: the state there is damaged, or of another search.
        FloatingPointError: the search diverged.
        KeyboardInterrupt: it was told to stop.
    """
    search = method.search(generator, rng=rng)
    if folder is None:
        return search.run(each)
    settings = to_json(method)
    steps = settings.pop("steps", math.inf)
    latent = re.sub(r" at 0x[0-9a-f]+", "", repr(generator.latent))  # of a class without a repr of its own
    about = {**settings, "generator": generator.digest, "latent": latent, "seed": seed}
    kept = _Kept(folder, name, about, _seen(generator))
    kept.read(search)
    before = len(search.log)
    if before > steps:
        raise ValueError(
            f"{kept.state} has taken {before} steps and {steps} are asked for; give this one a name of its own"
        )
    with Interrupt() as interrupt:

        def after(search: Search) -> None:
            if each is not None:
                each(search)
            if interrupt.asked or len(search.log) % every == 0:
                kept.write(search)
            if interrupt.asked:
                raise KeyboardInterrupt

        directions = search.run(after)
    if len(search.log) > before and len(search.log) % every:
        kept.write(search)
    return directions
