"""A recipe for a search: one frozen value that says everything about finding directions in a trained generator."""

from dataclasses import dataclass
from typing import Any

from orthogen.core import catalogue
from orthogen.core.claim import Claim
from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery, Model
from orthogen.evaluation.published import Published

__all__ = ["SearchRecipe", "search_recipe"]


@dataclass(frozen=True)
class SearchRecipe:
    """A complete search in a generator that is there already; `discover` runs it.

    Attributes:
        name: ``paper.function``.
        model: the generator that it is for; where to get its weights, ``checkpoint`` says.
        checkpoint: which weights the paper had.
        method: the search, with all its settings.
        seed: of latents, labels and probes.
        published: the paper's own directions of this search: their names by row, and how they were shown. Another
            search finds others, in another order.
        claims: numbers of the paper.
        departures: where paper, released code and this recipe differ, in sentences.
    """

    name: str
    model: Model
    checkpoint: str
    method: Discovery
    seed: int = 0
    published: Published | None = None
    claims: tuple[Claim, ...] = ()
    departures: tuple[str, ...] = ()

    def check(self, generator: Generator) -> None:
        """Refuse a generator that the recipe is not for.

        Raises:
            ValueError: its latent is of another width, or it has fewer classes.
        """
        wanted, given = (self.model.latent.dim, self.model.classes), (generator.latent.dim, generator.classes)
        if wanted[0] != given[0] or wanted[1] > given[1]:
            raise ValueError(
                f"{self.name} is for a {type(self.model).__name__} with {wanted[0]} latent components and {wanted[1]} "
                f"classes; this generator has {given[0]} and {given[1]}: name the method and its settings instead"
            )


def search_recipe(name: str) -> SearchRecipe | None:
    """The recipe for a search of that name; None where there is none.

    Example:
        >>> search_recipe("orojar.goldens_mid").method.search_space
        'mid'
    """
    module, _, function = name.partition(".")
    for entry in catalogue.entries("recipes"):
        if (entry.module.rpartition(".")[2], entry.name) == (module, function):
            found: Any = entry.load()()
            return found if isinstance(found, SearchRecipe) else None
    return None
