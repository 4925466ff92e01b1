"""``list``, ``show``, ``cite``: what there is, read off the files."""

import ast
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from orthogen.core import catalogue

__all__ = ["cite", "listing", "show"]

TITLES = {
    "recipes": "Recipes (orthogen train NAME; searches: orthogen discover RUN_OR_FILE NAME)",
    "regularizers": "Regularizers",
    "rules": "Step rules",
    "discovery": "Ways to find directions (orthogen discover RUN_OR_FILE NAME)",
    "metrics": "Metrics (orthogen measure RUN NAME)",
    "models": "Networks",
    "data": "Data",
    "augment": "Augmentations",
}


def _full_name(entry: catalogue.Entry) -> str:
    return f"{entry.module.rpartition('.')[2]}.{entry.name}" if entry.folder == "recipes" else entry.name


def _find(name: str) -> catalogue.Entry:
    """A member by its name or file, a recipe by its full name."""
    every = {_full_name(entry): entry for folder in TITLES for entry in catalogue.entries(folder)}
    if name in every:
        return every[name]
    for entry in every.values():
        if entry.folder != "recipes" and entry.module.rpartition(".")[2] == name:
            return entry
    near = get_close_matches(name, every, n=3, cutoff=0.4)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise KeyError(f"nothing here is called {name!r}{hint} (orthogen list shows all)")


def _load(entry: catalogue.Entry) -> Any:
    return getattr(import_module(entry.module), entry.name)


def listing(kind: str | None = None) -> None:
    """Print every member, or those of one kind, with the first sentence of its description."""
    if kind is not None and kind not in TITLES:
        near = get_close_matches(kind, TITLES, n=3, cutoff=0.4)
        raise ValueError(f"no kind is called {kind!r}; there are {', '.join(near or TITLES)}")
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for folder, title in TITLES.items():
        found = catalogue.entries(folder)
        if not found or kind not in (None, folder):
            continue
        console.print(f"[bold]{title}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column()
        for entry in found:
            table.add_row(f"  {_full_name(entry)}", entry.summary)
        console.print(table, "")


def _wrapped(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def show(name: str) -> None:
    """Print a member's description with its defaults, or a recipe's settings, claims and departures."""
    from orthogen.cli.overrides import leaves

    entry = _find(name)
    found: Any = _load(entry)
    print(f"{_full_name(entry)}  ({entry.module})\n")
    print(inspect.getdoc(found) or entry.summary)
    member = found() if entry.folder == "recipes" or _buildable(found) else None
    if member is None:
        return
    rows = [(leaf.flag.removeprefix("--"), _wrapped(leaf.value)) for leaf in leaves(member)]
    width = max((len(path) for path, _ in rows), default=0)
    print("\nSettings:" if entry.folder == "recipes" else "\nDefaults:")
    for path, value in rows:
        print(f"  {path:<{width}}  {value}")
    if entry.folder != "recipes":
        return
    print("\nClaims:")
    for claim in member.claims:
        print(f"  {claim.metric} {claim.value} ± {claim.tolerance} ({claim.source})")
    if not member.claims:
        print("  none: no number of the paper for this setting is known to us")
    print("\nDepartures:")
    for sentence in member.departures or ("none",):
        print(f"  - {sentence}")


def _buildable(found: Any) -> bool:
    return isinstance(found, type) and dataclasses.is_dataclass(found) and not inspect.isabstract(found)


def _citation(module: str) -> str | None:
    """The string ``CITATION`` of a module of the package, read without importing it."""
    path = catalogue.ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    if not (module.startswith("orthogen.") and path.is_file()):
        return None
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "CITATION" for t in node.targets):
            return str(ast.literal_eval(node.value)).strip()
    return None


def _modules(value: Any) -> Iterator[str]:
    """The modules of every dataclass in a tree."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _modules(item)
    elif dataclasses.is_dataclass(value):
        yield type(value).__module__
        for field in dataclasses.fields(value):
            yield from _modules(getattr(value, field.name))


def cite(name: str) -> None:
    """Print the BibTeX of a member, or of everything that a recipe is made of."""
    entry = _find(name)
    modules = [entry.module]
    if entry.folder == "recipes":
        modules += _modules(_load(entry)())
    found = [text for module in dict.fromkeys(modules) if (text := _citation(module))]
    print("\n\n".join(dict.fromkeys(found)) if found else f"{name} has no entry; its Reference stands in: show {name}")
