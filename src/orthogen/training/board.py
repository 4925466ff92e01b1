"""A generator and a critic with all that they are trained by: what a run of `orthogen.Recipe` holds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.kinds import Augmentation, CriticPenalty, ImageSet
from orthogen.core.maps import probe
from orthogen.core.passes import OUTPUT
from orthogen.core.rng import generator
from orthogen.core.score import Score
from orthogen.core.score_file import plain
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import evaluating, seeded
from orthogen.layers.minibatch_stddev import MinibatchStddev
from orthogen.training.augmented import Augmented
from orthogen.training.distributed import Processes
from orthogen.training.latent_terms import latent_maps
from orthogen.training.objective import Term
from orthogen.training.player import Player
from orthogen.training.recipe import Recipe
from orthogen.training.samples import write_samples
from orthogen.training.state import AUGMENTATION, State

__all__ = ["Board"]


class Board(State):
    """A generator and a critic, at image 0 when made.

    Attributes:
        generator: the generator network, adapted.
        critic: the critic network.
        judge: the critic behind the augmentation, where there is one: what steps and penalties call.
        shares: layers that the latent penalties see by now, by term, and how far each takes part.
        maps: what they see, by term.
        lod: the level of detail at the step under way, of networks that grow; 0 of others.
    """

    shown = "generator"
    recipe: Recipe

    def __init__(self, recipe: Recipe, images: ImageSet, processes: Processes) -> None:
        super().__init__(recipe, images, processes)
        augmentation, memory = self.augmentation, self.memory(AUGMENTATION)
        self.judge = Augmented(self.critic, augmentation, memory, self.own) if augmentation else self.critic
        self.maps = latent_maps(recipe.terms, self.generator)
        self.shares: dict[str, dict[str, float]] = {}
        self._label_weights = self._label_shares(images)
        self._images, self._validation = images, recipe.validation
        self.lod = recipe.lod(0)
        self._check_groups()
        try:
            self._look()
        except ValueError as error:
            raise ValueError(f"growth: {error}; give another start") from error
        processes.first(self._prepare)  # which all must hear of where something is missing

    @property
    def augmentation(self) -> Augmentation | None:
        """Of all that the critic sees."""
        return self.recipe.objective.augmentation

    def build(self, images: ImageSet) -> dict[str, nn.Module]:
        """A generator and a critic that fit the images."""
        model, built = self.recipe.model, self.recipe.model.build()
        if set(built) != {"generator", "critic"}:
            raise ValueError(
                f"{type(model).__name__} builds {', '.join(sorted(built))}; "
                "adversarial training takes a generator and a critic"
            )
        self._check_classes(images)
        networks = self.place(nn.ModuleDict(built))
        self.generator, self.critic = model.adapt(networks["generator"]), networks["critic"]
        z = torch.zeros(2, model.latent.dim, device=self.processes.device)
        with torch.no_grad(), evaluating(networks):
            shape = tuple(self.generator(z, **self.condition(torch.zeros_like(z[:, 0], dtype=torch.int64))).shape[1:])
        wanted = (images.channels, images.resolution, images.resolution)
        if shape != wanted:
            made, had = ("x".join(map(str, each)) for each in (shape, wanted))
            raise ValueError(
                f"{type(model).__name__} makes images of {made} and {type(self.recipe.data).__name__} has images of "
                f"{had} (channels x height x width); change one to fit the other"
            )
        return built

    def _check_classes(self, images: ImageSet) -> None:
        model, data = self.recipe.model, self.recipe.data
        if model.classes and len(images.classes) != model.classes:
            has = f"{len(images.classes)} classes" if images.classes else "no class labels"
            fit = (
                f"model.classes={len(images.classes)}" if images.classes else "labeled data, or a model without classes"
            )
            raise ValueError(
                f"{type(model).__name__} takes {model.classes} classes and {type(data).__name__} has {has}; give {fit}"
            )

    def _check_groups(self) -> None:
        """Refuse batches that a critic cannot divide into its groups, before the days until their time comes."""
        parts = self.processes.size * self.recipe.accumulate
        layers = [part for part in self.critic.modules() if isinstance(part, MinibatchStddev)]
        for layer in layers:
            for batch in self.recipe.batches:
                layer.check(batch // parts, f"a batch of {batch // parts} ({batch} / {parts} parts)")

    def _label_shares(self, images: ImageSet) -> Float[Tensor, "classes"]:
        """How often each class is drawn for generated images, up to a factor."""
        counts = images.class_counts() if self.recipe.model.classes else None
        if counts is None:
            return torch.ones(max(1, self.recipe.model.classes))
        if self.recipe.fake_labels == "data":
            return counts.float()
        if not counts.all():
            empty = int((counts == 0).nonzero()[0])
            raise ValueError(
                f"class {empty} ({images.classes[empty]}) has no images, so there is nothing to learn of it; leave it "
                "out of data and model, or give fake_labels='data', which never draws it"
            )
        return torch.ones(len(counts))

    def _prepare(self) -> None:
        """Open what validation needs, before anything is written."""
        if self._validation is not None:
            self._validation = self._validation.with_data(self._images)

    def memory_of(self, term: Term, images: ImageSet) -> nn.Module | None:
        """What a penalty of either network remembers."""
        if isinstance(term.penalty, CriticPenalty):
            return term.penalty.init(self.generator, images, self.critic)
        return term.penalty.init(self.generator, images)

    def seat(self, images: ImageSet) -> dict[str, Player]:
        """The generator, with what its penalties learn, and the critic."""
        recipe, network = self.recipe, self.generator.module
        rules = {name: rule.with_data(images).bind(network) for name, rule in recipe.objective.rules.items()}
        critics = {n for n, term in recipe.terms.items() if isinstance(term.penalty, CriticPenalty)} | {AUGMENTATION}
        of_critic = {name: memory for name, memory in self.memories.items() if name in critics}
        others = {name: memory for name, memory in self.memories.items() if name not in critics}
        return {
            "generator": Player("generator", network, others, recipe.generator_optimizer, recipe.clip, rules),
            "critic": Player("critic", self.critic, of_critic, recipe.critic_optimizer, recipe.clip),
        }

    def latents(self) -> Float[Tensor, "part dim"]:
        """This process's part of a step's fresh latents."""
        z = self.generator.latent.sample(self.recipe.batch_at(self.images), rng=self.shared["latent"])
        return self.processes.part(z).to(self.processes.device)

    def labels(self) -> Int[Tensor, "part"] | None:
        """This process's part of a step's fresh class labels; None for a generator that takes none."""
        if not self.recipe.model.classes:
            return None
        count, rng = self.recipe.batch_at(self.images), self.shared["label"]
        drawn = torch.multinomial(self._label_weights, count, replacement=True, generator=rng)
        return self.processes.part(drawn).to(self.processes.device)

    def grow(self) -> None:
        """Bring networks that grow to where they ought to be by now."""
        growth, now = self.recipe.growth, self.recipe.lod(self.images)
        if growth is None or now == self.lod:
            return
        if growth.begins(self.lod, now):
            for player in self.players.values():
                player.forget()
        self.lod = now
        self._look()

    def _look(self) -> None:
        """Bring all to the level of detail: networks, and the layers that latent penalties see."""
        # without a schedule, too: weights to begin with may be those of networks on their way
        if self.recipe.model.grows:
            for network in (*self.networks.values(), self.average.module):
                self.recipe.model.grow(network, self.lod)
        for name in self.maps:
            # where no layer is named, it is the image, which is always there
            layers = dict.fromkeys(self.recipe.terms[name].layers)
            shares = {layer: self.recipe.model.layer_share(layer, self.lod) for layer in layers} or {OUTPUT: 1.0}
            self.shares[name] = {layer: share for layer, share in shares.items() if share}
            if (there := tuple(self.shares[name])) and there != self.maps[name].layers:
                waiting = [layer for layer, share in shares.items() if not share]
                self.maps[name] = probe(self.generator, there, waiting=waiting)

    def told(self) -> dict[str, Any]:
        """The level of detail."""
        return {"lod": self.lod}

    def recall(self, told: Mapping[str, Any]) -> None:
        """Go on at that level of detail."""
        self.lod = told["lod"]
        self._look()

    def take_over(self, told: Mapping[str, Any]) -> None:
        """Go on with networks that have grown as far as these at least."""
        lod = told.get("lod", 0.0)
        if lod > self.lod:
            raise ValueError(
                f"was still growing: its level of detail is {lod:g}, and nothing of the {self.lod:g} at which this run "
                "begins is trained; train it to the end first"
            )
        super().take_over(told)

    def condition(self, labels: Tensor | None) -> dict[str, Tensor]:
        """Labels as the generator's keyword; nothing for one that takes none."""
        return {self.generator.condition: labels} if labels is not None and self.generator.classes else {}

    def sample(self, path: Path) -> None:
        """Images of always the same latents."""
        write_samples(path, self.recipe.model.adapt(self.average.module), self.recipe.seed)

    # -------------------------------------------------------------------------------------- validation on the way
    @property
    def test_every(self) -> int | None:
        """Images between validations; None where there are none."""
        return None if self.recipe.validation is None else self.recipe.validate_every

    def test(self) -> tuple[float, dict[str, float]]:
        """The score of the averaged generator, which process 0 measures."""
        score = self.processes.first(self._validate)
        self._said = plain(vars(score))
        name = f"validation/{score.name}"
        return score.value, {name: score.value, **{f"{name}/{at}": part.value for at, part in score.named_parts()}}

    def _validate(self) -> Score:
        assert self._validation is not None
        adapted = self.recipe.model.adapt(self.average.module)
        with seeded(generator(self.recipe.seed, "validation"), self.processes.device):
            score = self._validation.score(adapted, self._images, seed=self.recipe.seed)
        return replace(score, about={**score.about, "trained_images": self.images})

    def note(self, value: float) -> bool:
        """Note the result, and all that was said of it."""
        before = {} if self.tests is None else self.tests.told
        better = super().note(value)
        assert self.tests is not None
        self.tests = replace(
            self.tests, told={**before, "last": self._said, **({"best": self._said} if better else {})}
        )
        return better

    def scores(self) -> Sequence[Score]:
        """The last validation, and the best, which is selected on the validation's own data."""
        if self.tests is None:
            return ()
        last, best = (Score(**self.tests.told[which]) for which in ("last", "best"))
        chosen = f"the best of {self.tests.count} validations, selected on the validation data itself"
        return (
            replace(last, protocol={**last.protocol, "selection": "none: the last of the run"}),
            replace(best, name=f"Best {best.name}", protocol={**best.protocol, "selection": chosen}),
        )
