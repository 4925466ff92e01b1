"""Everything that changes while a recipe is trained: networks, averages, optimizers, memories, random streams."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from orthogen.core.kinds import Augmentation, ImageSet
from orthogen.core.rng import Rngs, generator, private
from orthogen.core.score import Score
from orthogen.training.distributed import Processes
from orthogen.training.ema import Average
from orthogen.training.feed import Batch
from orthogen.training.meter import Meter
from orthogen.training.objective import Term
from orthogen.training.player import Player
from orthogen.training.recipe import TrainingRecipe

__all__ = ["AUGMENTATION", "State", "Tests", "Values", "tally"]

AUGMENTATION = "augmentation"  # the name under which what an augmentation remembers is kept

Values = dict[str, Tensor | float]
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Tests:
    """What the tests made on the way have said.

    Attributes:
        best: the lowest value.
        images: images shown by then.
        last: the newest value.
        count: how many tests there have been.
        told: more about the best and the last, ready for JSON, where a kind of run has more to say.
    """

    best: float
    images: int
    last: float
    count: int = 1
    told: Mapping[str, Any] = field(default_factory=dict)


def tally(values: Values, name: str, value: Tensor) -> None:
    """Add a value to those that are there under its name."""
    values[name] = values[name] + value.detach() if name in values else value.detach()


def _memory_names(terms: Mapping[str, Term]) -> None:
    taken = (*dir(nn.ModuleDict), AUGMENTATION)
    for name in terms:
        if not name or set("./") & set(name) or name in taken:
            raise ValueError(f"a term cannot be called {name!r}; give a plain name such as 'orojar'")


class State(ABC):
    """A recipe's networks and all that goes with them, at image 0 when made.

    Draws initial weights from torch's global generators, which it seeds; call it inside ``fork_rng``.

    Attributes:
        shown: the name of the network that a run is about, of which there is an average.
        networks: by name.
        average: follows the network ``shown``.
        memories: what penalties and the augmentation carry between steps, by term.
        players: those who learn, with their optimizers.
        images: images shown so far.
        step: steps taken so far.
        seconds: spent training so far.
        meter: values since the last line of the log.
        tests: what they said so far; None before the first, and where nothing is tested.
    """

    shown: ClassVar[str]
    networks: nn.ModuleDict
    memories: nn.ModuleDict
    players: Mapping[str, Player]

    def __init__(self, recipe: TrainingRecipe, images: ImageSet, processes: Processes) -> None:
        self.recipe, self.processes = recipe, processes
        torch.manual_seed(recipe.seed)
        private().set_state(generator(recipe.seed, "private").get_state())
        # latents are drawn by all processes alike, and shared out; what else is drawn, each draws for itself
        self.shared, self.own = Rngs(recipe.seed), Rngs(recipe.seed, processes.rank)
        self.networks = nn.ModuleDict(self.build(images)).to(processes.device)
        self.average = Average(self.networks[self.shown], recipe.ema, recipe.ema_start)
        self.memories = self._remember(images)
        self.players = self.seat(images)
        modules = (self.networks, self.memories)
        buffers = [item for module in modules for item in module.named_buffers() if item[1].is_floating_point()]
        # the level of detail of networks that grow is the schedule's, and the same everywhere
        self.buffers = [x for name, x in buffers if not (recipe.model.grows and name.endswith("lod"))]
        for module in (*modules, self.average.module):
            processes.agree(module.state_dict().values())
        self.images, self.step, self.seconds, self.meter = 0, 0, 0.0, Meter(processes)
        self.tests: Tests | None = None
        if processes.rank:
            torch.manual_seed(generator(recipe.seed, "torch", processes.rank).initial_seed())
            private().set_state(generator(recipe.seed, "private", processes.rank).get_state())

    # ----------------------------------------------------------------------------------- what a kind of run says
    @abstractmethod
    def build(self, images: ImageSet) -> dict[str, nn.Module]:
        """The networks, made anew.

        Raises:
            ValueError: they do not fit the images.
        """

    @abstractmethod
    def memory_of(self, term: Term, images: ImageSet) -> nn.Module | None:
        """What a term's penalty remembers between steps."""

    @abstractmethod
    def seat(self, images: ImageSet) -> dict[str, Player]:
        """Those who learn. Networks and memories are there by then."""

    @abstractmethod
    def take_step(self, batch: Batch) -> Values:
        """Learn from this process's part of a step's images; returns what to log, on its device."""

    @property
    def augmentation(self) -> Augmentation | None:
        """What changes images at random before they are learned from."""
        return None

    def sample(self, path: Path) -> None:  # noqa: B027 (not every kind of run draws)
        """Write a picture of what the run makes by now, where it makes pictures."""

    @property
    def test_every(self) -> int | None:
        """Images between tests, 0 for one at the end; None where nothing is tested."""
        return None

    def test(self) -> tuple[float, dict[str, float]]:
        """A test of the averaged network by now: the number to get low, and all that is to be logged."""
        raise NotImplementedError

    def scores(self) -> Sequence[Score]:
        """What a run to the end says of itself."""
        return ()

    def told(self) -> dict[str, Any]:
        """What a kind of run has to write down of itself besides, ready for JSON."""
        return {}

    def recall(self, told: Mapping[str, Any]) -> None:  # noqa: B027 (not every kind of run has something to say)
        """Go on from what `told` said, once everything else is as it was."""

    def take_over(self, told: Mapping[str, Any]) -> None:
        """Go on, at image 0, with the weights of another run, which told this of itself.

        Raises:
            ValueError: nothing can begin with them.
        """
        self.recall(self.told())

    # -------------------------------------------------------------------------------------- what all of them have
    def _remember(self, images: ImageSet) -> nn.ModuleDict:
        _memory_names(self.recipe.terms)
        found = {name: self.memory_of(term, images) for name, term in self.recipe.terms.items()}
        if self.augmentation is not None:
            found[AUGMENTATION] = self.augmentation.init()
        return nn.ModuleDict({name: x for name, x in found.items() if x is not None}).to(self.processes.device)

    def place(self, network: M) -> M:
        """The network on its device, in the recipe's layout."""
        network = network.to(self.processes.device)
        return network.to(memory_format=torch.channels_last) if self.recipe.channels_last else network

    def laid(self, images: Tensor) -> Tensor:
        """Images in the recipe's layout."""
        return images.contiguous(memory_format=torch.channels_last) if self.recipe.channels_last else images

    @property
    def parts(self) -> int:
        """Into how many parts a step's batch is divided: processes times accumulated parts."""
        return self.processes.size * self.recipe.accumulate

    def memory(self, term: str) -> nn.Module | None:
        """What the term carries between steps."""
        return self.memories[term] if term in self.memories else None

    def rng(self, term: str) -> torch.Generator:
        """The stream that a term's penalty draws from."""
        return self.own[f"penalty/{term}"]

    @property
    def rate(self) -> float:
        """What learning rates are multiplied by now."""
        return self.recipe.rate_factor(self.images)

    def due(self, kind: type, step: int) -> Iterator[tuple[str, Any, float]]:
        """The penalties of a kind that a step applies, with weights; laziness multiplies those by its interval."""
        for name, term in self.recipe.terms.items():
            if isinstance(term.penalty, kind) and step % term.every == 0:
                weight = term.weight_at(self.images) * term.every
                if weight:
                    yield name, term.penalty, weight

    def count(self) -> None:
        """A step was taken."""
        shown = self.recipe.images_at(self.images)
        self.images, self.step = self.images + shown, self.step + 1
        self.average.update(shown, self.images)

    def note(self, value: float) -> bool:
        """Note the result of a test; whether it is the best so far."""
        before, here = self.tests, Tests(value, self.images, value)
        if before is not None:
            better = here if value < before.best or math.isnan(before.best) else before
            here = replace(better, last=value, count=before.count + 1)
        self.tests = here
        return here.images == self.images

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the networks outside of penalties."""
        on = self.recipe.precision == "bfloat16"
        return torch.autocast(self.processes.device.type, dtype=torch.bfloat16, enabled=on)

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules by the name under which a checkpoint keeps them, the average apart."""
        for name, network in self.networks.items():
            yield f"network/{name}", network
        for name, memory in self.memories.items():
            yield f"term/{name}", memory
        for player in self.players.values():
            for name, rule in player.rules.items():
                if rule.memory is not None:
                    yield f"rule/{name}", rule.memory
