"""`discover`: directions of a trained generator, kept in its run folder."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from orthogen.checkpoints import home_of, load
from orthogen.core import catalogue
from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import Discovery
from orthogen.evaluation.search_recipe import SearchRecipe, search_recipe
from orthogen.evaluation.searching import Each, Searching, run_search
from orthogen.evaluation.waiting import waiting

__all__ = ["Method", "discover", "keep", "method_of", "named_methods"]

Method = str | Discovery | type[Discovery] | SearchRecipe


def method_of(given: Method) -> Discovery | SearchRecipe:
    """A method by its name, class or value; a recipe by its name or value.

    Raises:
        ValueError: nothing is called so.
        TypeError: it is no way to find directions.

    Example:
        >>> method_of("SeFa")
        SeFa(fix_class=None, layers=(), count=None)
    """
    found: Any = given
    if isinstance(found, str) and "." in found:
        found = search_recipe(found)
        if found is None:
            known = [entry.name for entry in catalogue.entries("discovery")]
            raise ValueError(
                f"no recipe for a search is called {given!r} (orthogen list recipes); methods are {', '.join(known)}"
            )
    elif isinstance(found, str):
        try:
            found = catalogue.find(found, "discovery").load()
        except KeyError as error:
            raise ValueError(str(error.args[0]).replace("orthogen list", "orthogen list discovery")) from None
    if isinstance(found, type) and issubclass(found, Discovery):
        found = found()
    if not isinstance(found, Discovery | SearchRecipe):
        raise TypeError(f"discover was given {given!r}; it takes ways to find directions, such as SeFa(), or recipes")
    return found


def named_methods(methods: Method | Sequence[Method] | Mapping[str, Method]) -> dict[str, Discovery | SearchRecipe]:
    """Methods by the name that their directions are kept under: the class's or the recipe's, unless another is given.

    Raises:
        ValueError: there is none, two have one name, or a name is no name of a file.
    """
    if isinstance(methods, Mapping):
        chosen = {name: method_of(method) for name, method in methods.items()}
    else:
        listed = [methods] if isinstance(methods, str | Discovery | type | SearchRecipe) else list(methods)
        chosen = {}
        for found in map(method_of, listed):
            name = found.name if isinstance(found, SearchRecipe) else type(found).__name__
            if name in chosen:
                raise ValueError(f"{name} is given twice; name them, as in {{'a': {name}(...), 'b': {name}(...)}}")
            chosen[name] = found
    if not chosen:
        raise ValueError("name a way to find directions, such as SeFa (orthogen list discovery shows all)")
    for name in chosen:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is no name for a file of directions; leave out slashes and a leading dot")
    return chosen


def _with(method: Discovery, **values: Any) -> Discovery:
    """The method with those of the values that are given and that it has a field for."""
    has = {field.name for field in fields(method)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in has and value is not None}
    return replace(method, **given)  # type: ignore[type-var]


def keep(found: Directions, path: Path) -> Directions:
    """Write directions to a file, and lose nothing that a person did to the file before.

    If it holds the same directions, their names and scores stay. If it holds others, and these have names of their own,
    it is moved aside.

    Returns:
        What was written.
    """
    if path.exists():
        before = Directions.load(path)
        if before.basis.shape == found.basis.shape and torch.equal(before.basis, found.basis):
            found = replace(found, names=before.names, scores={**before.scores, **found.scores})
        elif before.names != tuple(map(str, range(len(before)))):
            numbered = (path.with_name(f"{path.stem}.{i}.safetensors") for i in itertools.count(1))
            aside = next(name for name in numbered if not name.exists())
            path.rename(aside)
            warnings.warn(
                f"{path} held other directions, with names of their own; they are now in {aside}", stacklevel=2
            )
    found.save(path)
    return found


def discover(
    source: Generator | str | Path,
    methods: Method | Sequence[Method] | Mapping[str, Method] = ("SeFa",),
    *,
    count: int | None = None,
    fix_class: int | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    to: str | Path | None = None,
    save: bool = True,
    save_every: int = 500,
    each: Each | None = None,
    quiet: bool = False,
) -> list[Directions]:
    """Directions of a trained generator, one file per method: ``directions/NAME.safetensors`` in its run folder.

    A search that goes step by step (PenaltyDescent, LatentRegressor, VariationDirections) also writes its state and its
    log, to ``directions/searches/``: the same call, after it was stopped, goes on to the last bit.

    Args:
        source: a generator, a run folder, or a checkpoint file of any system.
        methods: names, classes or values of ways to find directions, names of recipes such as
            ``"hessian_penalty.goldens_mid"``, or such by names of your own, under which they are kept.
        count: how many directions of each method; each method's own default if None.
        fix_class: one class for all samples, where the generator takes class labels.
        seed: of everything drawn; 0, or the recipe's own, if None.
        device: where the generator runs; as it is if None.
        to: folder of the files; ``directions/`` in the run folder, or beside a file, if None. Those of a generator in
            memory are written nowhere then.
        save: whether to write files at all.
        save_every: steps of a search between writing its state.
        each: called with the search after each of its steps; see `orthogen.PenaltyDescent`.
        quiet: show no progress and no estimate of the time.

    Raises:
        ValueError: a method is unknown or does not suit the generator, or a search of other settings has that name.
        FileNotFoundError: there is no such run or file.
        KeyboardInterrupt: a search was told to stop; its state is written.

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(torch.nn.Linear(4, 9), og.Normal(4))
        >>> [(found.provenance["method"], len(found)) for found in discover(G, ["SeFa", og.Random(2)], quiet=True)]
        [('SeFa', 4), ('Random', 2)]
    """
    chosen = named_methods(methods)
    if count is not None and count < 1:
        raise ValueError(f"count={count}: ask for at least one direction")
    if save_every < 1:
        raise ValueError(f"save_every={save_every}: give at least 1 step")
    generator = source if isinstance(source, Generator) else load(source)
    if fix_class is not None:
        generator.of_class(fix_class)  # refused here, whatever the method does with it
    if device is not None:
        generator.module.to(device)
    folder = None if to is None else Path(to)
    if folder is None and not isinstance(source, Generator):
        folder = home_of(source) / "directions"

    every = []
    with waiting(quiet=quiet):
        for name, given in chosen.items():
            recipe, method = (given, given.method) if isinstance(given, SearchRecipe) else (None, given)
            if recipe is not None:
                recipe.check(generator)
            method = _with(method, count=count, fix_class=fix_class)
            its_seed = seed if seed is not None else 0 if recipe is None else recipe.seed
            rng = randomness.generator(its_seed, "discover", type(method).__name__)  # as on a leaderboard
            if isinstance(method, Searching):
                kept = folder / "searches" if save and folder is not None else None
                found = run_search(
                    method, generator, its_seed, rng, folder=kept, name=name, every=save_every, each=each
                )
            else:
                found = method.fit(generator, rng=rng)
            if count is not None and len(found) < count:
                raise ValueError(f"count={count}: {name} has {len(found)} directions to give")
            if count is not None and len(found) > count:  # of a method that has no say in how many
                found = found.take(range(count))
            origin = {"seed": its_seed} if recipe is None else {"seed": its_seed, "recipe": recipe.name}
            found = replace(found, provenance={**found.provenance, **origin})
            if save and folder is not None:
                found = keep(found, folder / f"{name}.safetensors")
            every.append(found)
    return every
