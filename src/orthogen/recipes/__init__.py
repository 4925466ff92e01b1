"""Complete, typed training runs and searches: one paper per file, one function each, called ``paper.function``."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from orthogen.core import catalogue
from orthogen.evaluation.search_recipe import SearchRecipe
from orthogen.training.recipe import TrainingRecipe

__all__ = ["build", "names", "switches"]


def names() -> dict[str, catalogue.Entry]:
    """Every recipe of the package by its full name, found by reading the files, not importing them.

    Example:
        >>> "orojar.sprites" in names()
        True
    """
    return {f"{entry.module.rpartition('.')[2]}.{entry.name}": entry for entry in catalogue.entries("recipes")}


def switches(name: str) -> Mapping[str, inspect.Parameter]:
    """What the recipe of that name can be asked for: the keyword-only parameters of its function.

    Raises:
        KeyError, FileNotFoundError, ValueError: as `build`.

    Example:
        >>> list(switches("orthogonality.cifar10"))[:2]
        ['norm', 'nog']
    """
    parameters = inspect.signature(_function(name), eval_str=True).parameters.values()
    return {each.name: each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


def build(name: str, **chosen: Any) -> TrainingRecipe:
    """The training recipe of that name, or of a function in a file of the user's: ``my_file.py:function``.

    Args:
        name: of the recipe.
        chosen: its switches, see `switches`.

    Raises:
        KeyError: there is no such recipe; the message lists the nearest names.
        FileNotFoundError: there is no such file.
        ValueError: the file has no such function, or it does not return a recipe; the name is that of a search.

    Example:
        >>> build("plain.sprites").batch
        128
    """
    recipe = _function(name)(**chosen)
    if isinstance(recipe, SearchRecipe):
        raise ValueError(
            f"{name} is a recipe for discover, not for train: orthogen discover RUN_OR_FILE {name} searches directions "
            "in a generator that is trained already"
        )
    if not isinstance(recipe, TrainingRecipe):
        raise ValueError(
            f"{name} returned a {type(recipe).__name__}; a recipe function returns an og.Recipe, og.ClassifierRecipe "
            "or og.VaeRecipe"
        )
    return recipe


def _function(name: str) -> Callable[..., Any]:
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        module = catalogue.load_file(path)
        found = getattr(module, function, None)
        if not callable(found):
            mine = [key for key in getattr(module, "__all__", vars(module)) if not key.startswith("_")]
            near = get_close_matches(function, mine, n=3, cutoff=0.4)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise ValueError(f"{path} has no function {function!r}{hint}")
        return found
    entry = names().get(name)
    if entry is None:
        near = get_close_matches(name, names(), n=3, cutoff=0.4)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise KeyError(f"no recipe is called {name!r}{hint} (orthogen list recipes shows all)")
    return getattr(import_module(entry.module), entry.name)
