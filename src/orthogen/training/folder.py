"""The writing side of a run folder: what may be trained in it, and its ``run.json``."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orthogen.checkpoints.run_folder import Run, open_run
from orthogen.core.files import write_atomically
from orthogen.core.record import to_json
from orthogen.training.distributed import Processes
from orthogen.training.environment import environment
from orthogen.training.recipe import TrainingRecipe

try:
    import fcntl
except ImportError:  # where there are no such locks (Windows), nothing is claimed
    fcntl = None  # type: ignore[assignment]

__all__ = ["changes", "claimed", "create", "finish", "found"]

PROSE = ("claims", "departures", "metrics")  # fields that say something about a run and change nothing in it


def found(folder: Path, recipe: TrainingRecipe) -> Run | None:
    """The recipe's own run in the folder; None where the folder is empty or absent.

    Raises:
        ValueError: the folder holds another recipe's run, or something else.
        TypeError: the recipe cannot be written to JSON.
    """
    record = _plain(recipe)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} is there and is no run folder; give the name of a new or empty folder")
    run = open_run(folder)
    for path, there, here in _differences(run.about["recipe"], record):
        if path.partition(".")[0] not in PROSE:
            raise ValueError(
                f"{folder} holds a run of another recipe: {path} is {there} there and {here} here; "
                "give another folder, or the recipe it was begun with"
            )
    return run


def create(folder: Path, recipe: TrainingRecipe, processes: Processes) -> Run:
    """Begin a run: write its ``run.json``."""
    about = {
        "recipe": _plain(recipe),
        "seed": recipe.seed,
        "processes": processes.size,
        **environment(processes.device),
        "files": _user_files(_plain(recipe)),
        "started": _now(),
        "finished": None,
    }
    return _write(Run(folder, about))


def changes(run: Run, processes: Processes) -> str:
    """What is no longer as it was when the run began, of what changes the last bits of a sum; empty where all is."""
    now = {"processes": processes.size, **environment(processes.device)}
    return ", ".join(
        f"{run.about[key]} {key}".removesuffix(" device")
        for key in ("device", "processes", "threads")
        if run.about.get(key, now[key]) != now[key]
    )


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """No other process trains in the folder inside the block. The claim ends with the process, however that ends.

    Raises:
        ValueError: another process is training there.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is training in {folder}; wait for it, or give another folder") from None
        yield
    finally:
        os.close(handle)


def finish(run: Run) -> Run:
    """Note that the run went to its end."""
    return _write(replace(run, about={**run.about, "finished": _now()}))


def _write(run: Run) -> Run:
    write_atomically(run.folder / "run.json", json.dumps(run.about, indent=1) + "\n")
    return run


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(recipe: TrainingRecipe) -> dict[str, Any]:
    return json.loads(json.dumps(to_json(recipe)))


def _differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ: path, one value, the other."""
    if isinstance(a, dict) and isinstance(b, dict) and a.get("type") == b.get("type"):
        for key in {**a, **b}:
            yield from _differences(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif a != b:
        yield path, _short(a), _short(b)


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "type" in value:
        return str(value["type"]).partition(":")[2]
    return json.dumps(value)


def _user_files(value: Any) -> dict[str, str]:
    """The files of classes that are not in this package, by module: what `load` in another process needs to know."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    files: dict[str, str] = {}
    for key, item in value.items():
        files |= _user_files(item)
        module = str(item).partition(":")[0]
        if key == "type" and module.partition(".")[0] != "orthogen":
            files[module] = str(getattr(sys.modules.get(module), "__file__", None))
    return files
