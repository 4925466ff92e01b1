"""What the library has, read off its files: a member's file names it in ``__all__``, and nothing else lists it.

Files are read with ``ast``, without importing them, so that listing is quick and `orthogen --help` needs no torch.
"""

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Entry", "entries", "find", "load_file", "made_in_file"]

FOLDERS = ("regularizers", "rules", "discovery", "metrics", "extractors", "models", "data", "augment", "recipes")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Entry:
    """One public class (or recipe function) of a member's file."""

    name: str
    folder: str
    module: str
    summary: str

    def load(self) -> Any:
        """Import the file and return the object."""
        return getattr(importlib.import_module(self.module), self.name)


def _public(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def _read(path: Path, folder: str, module: str) -> list[Entry]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    public = _public(tree)
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in public:
            lines = (ast.get_docstring(node) or "").split("\n\n", 1)[0].split("\n")
            found.append(Entry(node.name, folder, module, " ".join(line.strip() for line in lines)))
    return found


@cache
def entries(folder: str) -> tuple[Entry, ...]:
    """All members in one of the folders, by file name.

    Example:
        >>> "HessianPenalty" in [entry.name for entry in entries("regularizers")]
        True
    """
    found: list[Entry] = []
    for path in sorted((ROOT / folder).glob("*.py")):
        if not path.name.startswith("_"):
            found += _read(path, folder, f"orthogen.{folder}.{path.stem}")
    return tuple(found)


def find(name: str, *folders: str) -> Entry:
    """The member called ``name``; its file's stem will do too, as in ``hessian_penalty``.

    Raises:
        KeyError: there is none; the message lists the nearest names.
    """
    known = [entry for folder in (folders or FOLDERS) for entry in entries(folder)]
    for entry in known:
        if name == entry.name or (name == entry.module.rpartition(".")[2] and entry.folder != "recipes"):
            return entry
    near = get_close_matches(name, [entry.name for entry in known], n=3, cutoff=0.4)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise KeyError(f"nothing here is called {name!r}{hint} (orthogen list shows all)")


def load_file(path: str | Path) -> ModuleType:
    """Import a Python file that is not in the package, as ``--with my_file.py`` does.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a Python file")
    name = f"orthogen_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # it may import what lies beside it, as it would if python ran it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def made_in_file(given: str, what: str) -> Any:
    """What a function in a file of the user's returns when it is called without arguments.

    Args:
        given: ``"my_file.py:function"``.
        what: it should make, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no function is named, or the file has none of that name; or the file or the function fails.
    """
    path, _, name = given.rpartition(":")
    if not path.endswith(".py"):
        raise ValueError(f"{given!r} was given; give a file and the function in it, such as my_file.py:make")
    try:
        make = getattr(load_file(path), name, None)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be imported: {_one_line(error)}") from error
    if not callable(make):
        raise ValueError(f"{path} has no function {name!r} that makes {what}")
    try:
        return make()
    except Exception as error:
        raise ValueError(f"{name}() in {path} makes no {what.partition(' ')[2]}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
