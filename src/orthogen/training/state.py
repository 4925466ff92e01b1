"""Everything that changes while a recipe is trained: networks, averages, optimizers, memories, random streams."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.kinds import CriticPenalty, ImageSet, LatentPenalty
from orthogen.core.maps import probe
from orthogen.core.rng import Rngs, generator, private
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating
from orthogen.training.augmented import Augmented
from orthogen.training.distributed import Processes
from orthogen.training.ema import Average
from orthogen.training.meter import Meter
from orthogen.training.objective import Term
from orthogen.training.player import Player
from orthogen.training.recipe import Recipe

__all__ = ["State"]


def _memory_names(terms: Mapping[str, Term]) -> None:
    taken = dir(nn.ModuleDict)
    for name in terms:
        if not name or set("./") & set(name) or name in taken:
            raise ValueError(f"a term cannot be called {name!r}; give a plain name such as 'orojar'")


class State:
    """A recipe's networks and all that goes with them, at image 0 when made.

    Draws initial weights from torch's global generators, which it seeds; call it inside ``fork_rng``.

    Attributes:
        generator: the generator network, adapted.
        critic: the critic network.
        judge: the critic behind the augmentation, where there is one: what steps and penalties call.
        average: follows the generator.
        memories: what penalties carry between steps, by term.
        maps: what the latent penalties see, by term.
        players: generator and critic with their optimizers.
        images: real images shown so far.
        seconds: spent training so far.
        meter: values since the last line of the log.
    """

    def __init__(self, recipe: Recipe, images: ImageSet, processes: Processes) -> None:
        self.recipe, self.processes = recipe, processes
        torch.manual_seed(recipe.seed)
        private().set_state(generator(recipe.seed, "private").get_state())
        self.networks = self._build(images)
        self.critic = self.networks["critic"]
        self.average = Average(self.networks["generator"], recipe.ema)
        self.generator = recipe.model.adapt(self.networks["generator"])
        self.memories = self._remember(images)
        self.maps = {
            name: probe(self.generator, term.layers)
            for name, term in recipe.objective.terms.items()
            if isinstance(term.penalty, LatentPenalty)
        }
        self.players = self._seat_players()
        modules = (self.networks, self.memories)
        self.buffers = [x for module in modules for x in module.buffers() if x.is_floating_point()]
        for module in (*modules, self.average.module):
            processes.agree(module.state_dict().values())
        self.images, self.seconds, self.meter = 0, 0.0, Meter(processes)
        # latents are drawn by all processes alike, and shared out; what else is drawn, each draws for itself
        self.shared, self.own = Rngs(recipe.seed), Rngs(recipe.seed, processes.rank)
        augmentation = recipe.objective.augmentation
        self.judge = Augmented(self.critic, augmentation, self.own) if augmentation else self.critic
        if processes.rank:
            torch.manual_seed(generator(recipe.seed, "torch", processes.rank).initial_seed())
            private().set_state(generator(recipe.seed, "private", processes.rank).get_state())

    def _build(self, images: ImageSet) -> nn.ModuleDict:
        model, built = self.recipe.model, self.recipe.model.build()
        if set(built) != {"generator", "critic"}:
            raise ValueError(
                f"{type(model).__name__} builds {', '.join(sorted(built))}; "
                "adversarial training takes a generator and a critic"
            )
        networks = nn.ModuleDict(built).to(self.processes.device)
        adapted = model.adapt(networks["generator"])
        z = torch.zeros(2, model.latent.dim, device=self.processes.device)
        with torch.no_grad(), evaluating(networks):
            shape = tuple(adapted(z).shape[1:])
        wanted = (images.channels, images.resolution, images.resolution)
        if shape != wanted:
            made, had = ("x".join(map(str, each)) for each in (shape, wanted))
            raise ValueError(
                f"{type(model).__name__} makes images of {made} and {type(self.recipe.data).__name__} has images of "
                f"{had} (channels x height x width); change one to fit the other"
            )
        return networks

    def _remember(self, images: ImageSet) -> nn.ModuleDict:
        terms = self.recipe.objective.terms
        _memory_names(terms)
        found = {name: term.penalty.init(self.generator, images) for name, term in terms.items()}
        return nn.ModuleDict({name: x for name, x in found.items() if x is not None}).to(self.processes.device)

    def _seat_players(self) -> dict[str, Player]:
        recipe, network = self.recipe, self.networks["generator"]
        rules = {name: rule.bind(network) for name, rule in recipe.objective.rules.items()}
        critics = {n for n, term in recipe.objective.terms.items() if isinstance(term.penalty, CriticPenalty)}
        of_critic = {name: memory for name, memory in self.memories.items() if name in critics}
        others = {name: memory for name, memory in self.memories.items() if name not in critics}
        return {
            "generator": Player("generator", network, others, recipe.generator_optimizer, recipe.clip, rules),
            "critic": Player("critic", self.critic, of_critic, recipe.critic_optimizer, recipe.clip),
        }

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.images // self.recipe.batch

    @property
    def parts(self) -> int:
        """Into how many parts a step's batch is divided: processes times accumulated parts."""
        return self.processes.size * self.recipe.accumulate

    def memory(self, term: str) -> nn.Module | None:
        """What the term carries between steps."""
        return self.memories[term] if term in self.memories else None

    def latents(self) -> Float[Tensor, "part dim"]:
        """This process's part of a step's fresh latents."""
        z = self.generator.latent.sample(self.recipe.batch, rng=self.shared["latent"])
        return self.processes.part(z).to(self.processes.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the networks in the adversarial part."""
        on = self.recipe.precision == "bfloat16"
        return torch.autocast(self.processes.device.type, dtype=torch.bfloat16, enabled=on)

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules by the name under which a checkpoint keeps them, the average apart."""
        for name, network in self.networks.items():
            yield f"network/{name}", network
        for name, memory in self.memories.items():
            yield f"term/{name}", memory
