"""Imports point downward, members of a folder do not know each other, and every file begins with what it offers."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"

# whoever stands further left may not know those further right; those in one string are siblings
ORDER = (
    "core",
    "layers augment",
    "regularizers rules discovery metrics extractors models data checkpoints",
    "training evaluation",
    "recipes",
    "reporting explorer",
    "cli",
    "__main__",
)
RANK = {unit: rank for rank, units in enumerate(ORDER) for unit in units.split()}
# one file, one method: the files of these folders know nothing of each other but what an underscore file holds for all
# (layers are building blocks, which stack)
MEMBERS = set("augment regularizers rules discovery metrics extractors models data checkpoints recipes".split())


def modules(source: Path) -> dict[str, Path]:
    """Every module below ``source`` by its dotted name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each of our own modules that a file imports anywhere in it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            inner = [f"{module}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            found = [full if full in known else module for full in inner]
        else:
            continue
        yield from ((node.lineno, full) for full in dict.fromkeys(found) if full.split(".")[0] == "orthogen")


def objection(importer: str, target: str, *, is_package: bool) -> str | None:
    """Why one module may not import another; None if it may."""
    here, there = importer.split(".")[1:], target.split(".")[1:]
    if not there:
        if here[:1] in (["cli"], ["__main__"]):
            return None
        return "the package itself imports everything; import the module that is meant"
    if not here:
        return None if there[0] == "core" else "the package imports lazily; only core may be named in it"
    if here[0] != there[0]:
        if RANK[there[0]] >= RANK[here[0]]:
            return f"{here[0]} stands below or beside {there[0]}"
        private = any(part.startswith("_") and part != "__init__" for part in there)
        return f"{target} is private to {there[0]}" if private else None
    if here[0] in MEMBERS and not is_package and not there[-1].startswith("_"):
        return f"members of {here[0]} do not import one another; share through a file with an underscore"
    return None


def violations(source: Path) -> list[str]:
    """Every import below ``source`` that breaks the order, as ``file:line: reason``."""
    known = modules(source)
    found = []
    for name, path in known.items():
        for line, target in imported(name, path, known):
            reason = objection(name, target, is_package=path.name == "__init__.py")
            if reason:
                found.append(f"{path.relative_to(source)}:{line}: imports {target}: {reason}")
    return found


def test_imports_point_downward():
    assert violations(SOURCE) == []


def test_every_folder_has_its_place():
    units = {name.split(".")[1] for name in modules(SOURCE) if "." in name}
    assert units - set(RANK) == set()


def test_importing_the_package_does_not_import_torch():
    code = "import sys, orthogen; dir(orthogen); print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------- __all__ first
def offered(tree: ast.Module) -> tuple[list[str] | None, set[str], bool]:
    """``__all__``, the public functions and classes, and whether nothing but imports stands before ``__all__``."""
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    start = 1 if ast.get_docstring(tree) is not None else 0
    for node in tree.body[start:]:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            before = tree.body[start : tree.body.index(node)]
            first = all(isinstance(n, ast.Import | ast.ImportFrom | ast.Try) for n in before)  # try: an optional import
            return ast.literal_eval(node.value), public, first
    return None, public, True


@pytest.mark.parametrize("name", [name for name in modules(SOURCE)])
def test_file_begins_with_docstring_and_all(name):
    tree = ast.parse(modules(SOURCE)[name].read_text(encoding="utf-8"))
    listed, public, first = offered(tree)
    assert ast.get_docstring(tree), f"{name} has no docstring"
    assert listed is not None or not public, f"{name} has public names and no __all__"
    assert first, f"{name}: __all__ stands right after the imports"


# ---------------------------------------------------------------------------------------------- the checker itself
@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("core/a.py", "import orthogen.data.sprites", "core stands below or beside data"),
        ("core/a.py", "from orthogen import data", "core stands below or beside data"),
        ("core/a.py", "import orthogen", "the package itself imports everything; import the module that is meant"),
        ("core/a.py", "from ..metrics import mig", "core stands below or beside metrics"),
        ("core/a.py", "if TYPE_CHECKING:\n    import orthogen.cli", "core stands below or beside cli"),
        ("core/a.py", "def f():\n    from orthogen.layers import zca", "core stands below or beside layers"),
        ("layers/a.py", "from orthogen.augment import diff", "layers stands below or beside augment"),
        ("metrics/a.py", "from orthogen.data import sprites", "metrics stands below or beside data"),
        ("metrics/a.py", "from orthogen.metrics.mig import Mig", "members of metrics do not import one another"),
        ("metrics/a.py", "from . import mig", "members of metrics do not import one another"),
        ("metrics/_a.py", "from .mig import Mig", "members of metrics do not import one another"),
        ("metrics/a.py", "from orthogen.metrics import Mig", "members of metrics do not import one another"),
        ("evaluation.py", "import orthogen.training.loop", "evaluation stands below or beside training"),
        ("training/a.py", "from orthogen.data._pixels import x", "orthogen.data._pixels is private to data"),
        ("recipes/a.py", "from orthogen.reporting import html", "recipes stands below or beside reporting"),
        ("__init__.py", "from orthogen.metrics import mig", "the package imports lazily; only core may be named in it"),
    ],
)  # fmt: skip
def test_checker_names_file_and_line(tmp_path, file, line, reason):
    present = """data/__init__.py data/sprites.py data/_pixels.py metrics/__init__.py metrics/mig.py layers/zca.py
        augment/diff.py training/__init__.py training/loop.py reporting/html.py"""
    for name in (*present.split(), file):
        path = tmp_path / "orthogen" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import os\n")
    path.write_text(f"import os\n{line}\n")
    (found,) = violations(tmp_path)
    assert found.startswith(f"orthogen/{file}:{2 + line.count(chr(10))}: imports orthogen")
    assert reason in found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/a.py", "import torch, numpy"),
        ("core/a.py", "from orthogen.core import kinds"),
        ("core/a.py", "from .kinds import Data"),
        ("data/a.py", "from orthogen.data._pixels import x"),
        ("data/a.py", "from orthogen.data import _pixels"),
        ("data/a.py", "from orthogen.core.kinds import Data"),
        ("checkpoints/__init__.py", "from orthogen.checkpoints.stylegan import read"),
        ("training/a.py", "from orthogen.training.loop import train"),
        ("cli.py", "def f():\n    from orthogen.recipes import orojar"),
        ("cli.py", "import orthogen as og"),
        ("reporting/a.py", "from orthogen import __version__"),
        ("__init__.py", "def f():\n    from orthogen.core import catalogue"),
    ],
)
def test_checker_lets_good_imports_pass(tmp_path, file, line):
    for name in (
        "core/kinds.py",
        "core/catalogue.py",
        "data/_pixels.py",
        "training/loop.py",
        "recipes/orojar.py",
        file,
    ):
        path = tmp_path / "orthogen" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import os\n")
    path.write_text(f"{line}\n")
    assert violations(tmp_path) == []
