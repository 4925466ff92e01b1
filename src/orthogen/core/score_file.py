"""``scores.json``: the scores of one run, merged as they are measured."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orthogen.core.files import write_atomically
from orthogen.core.score import Score

__all__ = ["merge", "plain", "read"]

FIELDS = ("name", "value", "stderr", "n", "protocol", "parts", "about")


def plain(value: Any) -> Any:
    """The value as JSON has it: no nan, no infinity, no tuple."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: str | Path) -> list[Score]:
    """The scores of a ``scores.json``, or of a folder that has one.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged.
    """
    path = Path(path)
    path = path / "scores.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; `orthogen measure` writes it")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return [_score(entry) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).split("\n", 1)[0]
        raise ValueError(
            f"{path} is no file of scores, or a damaged one ({reason}); `orthogen measure` writes them"
        ) from None


def _score(entry: Mapping[str, Any]) -> Score:
    """One entry as it was; what is not a score is a TypeError."""
    score = Score(**{**entry, "value": math.nan if entry["value"] is None else entry["value"]})
    for name in ("protocol", "parts", "about"):
        if not isinstance(getattr(score, name), dict):
            raise TypeError(f"{name} is {type(getattr(score, name)).__name__}")
    for name, kinds in (("value", (int, float)), ("stderr", (int, float, type(None))), ("n", int), ("name", str)):
        if not isinstance(getattr(score, name), kinds):
            raise TypeError(f"{name} is {type(getattr(score, name)).__name__}")
    return score


def _key(score: Score) -> str:
    return json.dumps([score.name, plain(score.protocol), plain(score.about)], sort_keys=True)


def merge(folder: Path, scores: Sequence[Score], before: Sequence[Score] | None = None) -> None:
    """Put scores in the folder's file; one that measured the same the same way replaces the one before.

    Args:
        folder: where ``scores.json`` is, or will be.
        scores: what was measured.
        before: what was there before the first of ``scores`` was put in; the others are then brought into their order.
            What somebody else has put in meanwhile stays.

    Raises:
        ValueError: the file that is there is damaged.
    """
    path = folder / "scores.json"
    there = {_key(score): score for score in (read(path) if path.exists() else ())}
    ours = {_key(score): score for score in scores}
    if before is not None:
        old = {_key(score) for score in before}
        there = {key: score for key, score in there.items() if key in old or key not in ours}
    entries = [plain({name: getattr(score, name) for name in FIELDS}) for score in (there | ours).values()]
    write_atomically(path, json.dumps({"scores": entries}, indent=1) + "\n")
