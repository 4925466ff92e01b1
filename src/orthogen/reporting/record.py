"""What a run folder holds, read leniently: what is missing or broken becomes a note, never an error."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orthogen.core.score import Score

__all__ = ["RunRecord", "read_run"]

Series = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class RunRecord:
    """One run, ready to be shown.

    Attributes:
        path: its folder.
        recipe: the recipe as JSON data; empty where there is none.
        about: the rest of run.json: versions, device, seed.
        log: (images, values) by key of the log.
        samples: sample grids, (images shown, file), oldest first.
        scores: what was measured.
        notes: what could not be read, in sentences.
    """

    path: Path
    recipe: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    log: Mapping[str, Series] = field(default_factory=dict)
    samples: tuple[tuple[int, Path], ...] = ()
    scores: tuple[Score, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def draws_nothing(self) -> bool:
        """Whether what it trained is no generator: there is nothing to traverse."""
        return _draws_nothing(self.recipe)

    @property
    def images(self) -> int | None:
        """Images shown so far, as far as the log tells."""
        last = [x[-1] for x, _ in self.log.values() if len(x)]
        return int(max(last)) if last else None

    @property
    def seconds(self) -> float | None:
        """How long it trained, as far as the log tells."""
        if "seconds" not in self.log:
            return None
        values = self.log["seconds"][1]
        values = values[np.isfinite(values)]
        return float(values.max()) if len(values) else None


def _draws_nothing(recipe: object) -> bool:
    return isinstance(recipe, Mapping) and str(recipe.get("type", "")).endswith(":ClassifierRecipe")


def _json(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append(f"There is no {path.name}.")
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read ({type(error).__name__}).")
        return {}
    if not isinstance(data, dict):
        notes.append(f"{path.name} holds no JSON object.")
        return {}
    return data


def _number(value: Any) -> float | None:
    """A float, NaN for null and for words such as "nan"; None for what is no number at all."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _log(path: Path, notes: list[str]) -> dict[str, Series]:
    """The log by key. A line that is written twice for one image count (after a resume) counts once, the last time."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        notes.append("There is no log.jsonl: no curves.")
        return {}
    columns: dict[str, dict[float, float]] = {}
    broken = 0
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            images = _number(entry.pop("images", number))
        except (ValueError, AttributeError, TypeError):  # no JSON, or JSON that is no object
            broken += number < len(lines) - 1  # the last line may be half written, while the run goes on
            continue
        for key, value in entry.items():
            y = _number(value)
            if y is not None and images is not None and math.isfinite(images):
                columns.setdefault(key, {})[images] = y
    if broken:
        notes.append(f"{broken} line{'s' * (broken > 1)} of log.jsonl could not be read.")
    odd = sorted(key for key, values in columns.items() if not np.isfinite(list(values.values())).all())
    if odd:
        notes.append(f"Some values are not finite and leave gaps: {', '.join(odd)}.")
    return {key: tuple(np.array(sorted(values.items())).T) for key, values in columns.items()}


def _scores(path: Path, notes: list[str]) -> tuple[Score, ...]:
    if not path.exists():
        notes.append("Nothing has been measured yet (orthogen measure writes scores.json).")
        return ()
    entries = _json(path, notes).get("scores", [])
    scores, skipped = [], 0
    for entry in entries if isinstance(entries, list) else []:
        value = _number(entry.get("value")) if isinstance(entry, dict) else None
        if value is None:
            skipped += 1
            continue
        stderr, n = _number(entry.get("stderr", None)), _number(entry.get("n", 0))
        protocol, parts, about = (
            entry.get(key) if isinstance(entry.get(key), dict) else {} for key in ("protocol", "parts", "about")
        )
        scores.append(
            Score(
                value,
                stderr=stderr if stderr is not None and math.isfinite(stderr) else None,
                n=int(n) if n is not None and math.isfinite(n) else 0,
                name=str(entry.get("name") or "score"),
                protocol=protocol or {},
                parts=parts or {},
                about=about or {},
            )
        )
    if skipped:
        notes.append(f"{skipped} of the scores could not be read.")
    return tuple(scores)


def read_run(path: str | Path) -> RunRecord:
    """Read what is there.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds neither a run.json nor a log.jsonl.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; give the folder of a run, such as runs/NAME")
    if not any((folder / name).exists() for name in ("run.json", "log.jsonl")):
        raise ValueError(f"{folder} is no run: it holds neither run.json nor log.jsonl; orthogen train writes both")
    notes: list[str] = []
    about = _json(folder / "run.json", notes)
    recipe = about.pop("recipe", None)
    if about and not isinstance(recipe, dict):
        notes.append("run.json names no recipe: no settings.")
    numbered = [(re.search(r"(\d+)$", file.stem), file) for file in (folder / "samples").glob("*.png")]
    samples = sorted((int(found[1]), file) for found, file in numbered if found)
    if not samples and not _draws_nothing(recipe):
        notes.append("There are no sample grids.")
    log = _log(folder / "log.jsonl", notes)
    scores = _scores(folder / "scores.json", notes)
    return RunRecord(
        folder, recipe if isinstance(recipe, dict) else {}, about, log, tuple(samples), scores, tuple(notes)
    )
