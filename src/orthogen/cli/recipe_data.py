"""``orthogen train RECIPE --data``: a recipe on the data set that the user names."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["on_data"]


def on_data(recipe: Any, named: str) -> Any:
    """The recipe on another data set, see `orthogen.cli.data.named_data`; a file that is no zip is of the recipe's set.

    Where the recipe has a set of that kind, such as CIFAR-10 with a long tail, it is this one that lies at the path,
    and its settings and the tail stay. So do sets for validation and tests that lie nowhere yet, where they are of the
    same kind and not the images of training themselves; an npz file has one part alone, and is for training.

    Raises:
        FileNotFoundError, ValueError: as `named_data`.
    """
    from orthogen.cli.data import named_data

    own = list(_with_path(recipe.data))
    of_recipe = Path(named).is_file() and Path(named).suffix != ".zip"
    found = replace(own[0], path=named) if of_recipe and own else named_data(named, model=recipe.model.resolution)
    path = str(getattr(found, "path", ""))
    own = [part for part in own if type(part) is type(found)] if path else []
    recipe = replace(recipe, data=_at(recipe.data, own, path) if own else found)
    trained = [replace(part, path=path) for part in own] or [found]
    for name in ("validation", "test") if path and Path(path).suffix != ".npz" else ():
        other = getattr(recipe, name, None)
        parts = [part for part in _with_path(other) if type(part) is type(found) and not str(part.path)]
        if parts and not any(replace(part, path=path) in trained for part in parts):
            recipe = replace(recipe, **{name: _at(other, parts, path)})
    return recipe


def _with_path(value: Any) -> Iterator[Any]:
    """The data sets of files in a setting, which may be made of others."""
    from orthogen.core.kinds import Data

    if not is_dataclass(value) or isinstance(value, type):
        return
    names = [field.name for field in fields(value)]
    if isinstance(value, Data) and "path" in names:
        yield value
    for name in names:
        yield from _with_path(getattr(value, name))


def _at(value: Any, parts: Sequence[Any], path: str) -> Any:
    """The setting with these of its data sets at a path."""
    if any(value is part for part in parts):
        return replace(value, path=path)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    given = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    changed = {name: _at(each, parts, path) for name, each in given.items()}
    moved = {name: each for name, each in changed.items() if each is not given[name]}
    return replace(value, **moved) if moved else value
