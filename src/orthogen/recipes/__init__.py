"""Complete, typed training runs and searches: one paper per file, one function each, called ``paper.function``."""

from difflib import get_close_matches
from importlib import import_module

from orthogen.core import catalogue
from orthogen.evaluation.search_recipe import SearchRecipe
from orthogen.training.recipe import Recipe

__all__ = ["build", "names"]


def names() -> dict[str, catalogue.Entry]:
    """Every recipe of the package by its full name, found by reading the files, not importing them.

    Example:
        >>> "orojar.sprites" in names()
        True
    """
    return {f"{entry.module.rpartition('.')[2]}.{entry.name}": entry for entry in catalogue.entries("recipes")}


def build(name: str) -> Recipe:
    """The training recipe of that name, or of a function in a file of the user's: ``my_file.py:function``.

    Raises:
        KeyError: there is no such recipe; the message lists the nearest names.
        FileNotFoundError: there is no such file.
        ValueError: the file has no such function, or it does not return a `Recipe`; the name is that of a search.

    Example:
        >>> build("plain.sprites").batch
        128
    """
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        module = catalogue.load_file(path)
        found = getattr(module, function, None)
        if not callable(found):
            mine = [key for key in getattr(module, "__all__", vars(module)) if not key.startswith("_")]
            near = get_close_matches(function, mine, n=3, cutoff=0.4)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise ValueError(f"{path} has no function {function!r}{hint}")
    else:
        entry = names().get(name)
        if entry is None:
            near = get_close_matches(name, names(), n=3, cutoff=0.4)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise KeyError(f"no recipe is called {name!r}{hint} (orthogen list recipes shows all)")
        found = getattr(import_module(entry.module), entry.name)
    recipe = found()
    if isinstance(recipe, SearchRecipe):
        raise ValueError(
            f"{name} is a recipe for discover, not for train: orthogen discover RUN_OR_FILE {name} searches directions "
            "in a generator that is trained already"
        )
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{name} returned a {type(recipe).__name__}; a recipe function returns an og.Recipe")
    return recipe
