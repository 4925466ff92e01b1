"""``orthogen compare``: two files of scores with their differences, or a table of several."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from orthogen.core.score import Score
from orthogen.evaluation import comparison
from orthogen.evaluation.comparison import Comparison

__all__ = ["compare"]


def compare(given: Namespace) -> None:
    """Print what the files have in common.

    Raises:
        ValueError: some scores were measured by different protocols.
    """
    every = [given.a, given.b, *given.more]
    found = [comparison.compare(given.a, other, despite=given.despite) for other in every[1:]]
    if given.more:
        names = _names(every)
        _several(names, found)
        refused = [f"{name}: {line}" for name, each in zip(names[1:], found, strict=True) for line in each.refused]
    else:
        _two(found[0])
        refused = list(found[0].refused)
    for line in refused:
        print(line, file=sys.stderr)
    if refused:
        count = len(refused)
        raise ValueError(
            f"{count} score{'s were' if count > 1 else ' was'} measured by different protocols and not compared; "
            "measure again alike, or name the fields to overlook (--despite FIELD)"
        )


def _text(score: Score) -> str:
    """The value with its error; the name stands elsewhere."""
    return str(Score(score.value, score.stderr))


def _interval(score: Score) -> str:
    ends = score.interval_95
    return "no interval" if ends is None else f"95 %: [{ends[0]:.3g}, {ends[1]:.3g}]"


def _print(rows: Sequence[Sequence[str]], notes: Sequence[str]) -> None:
    """Rows with columns of one width, each with its note, if any, below it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, note in zip(rows, notes, strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if note:
            print(f"  {note}")


def _two(found: Comparison) -> None:
    """Both values, their difference and its interval."""
    rows = [
        (pair.name, _text(pair.a), _text(pair.b), _text(pair.difference), _interval(pair.difference))
        for pair in found.pairs
    ]
    if rows:
        _print([("", "A", "B", "B - A", ""), *rows], ["", *(pair.about for pair in found.pairs)])
    for side, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            print(f"only in {side}: {', '.join(names)}")
    if not found.pairs and not found.refused:
        print("the two have no score in common")


def _names(paths: Sequence[str]) -> list[str]:
    """What each is called: its folder, or more of the path where two folders have one name."""
    homes = [path.parent if path.name == "scores.json" else path for path in (Path(each).resolve() for each in paths)]
    short = [home.name for home in homes]
    return [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def _several(names: Sequence[str], found: Sequence[Comparison]) -> None:
    """A row for each score of the first that another has by the same protocol."""
    first: dict[tuple[str, str], Score] = {}  # by all that is known of it: some names are there twice
    others: list[dict[tuple[str, str], str]] = []
    for each in found:
        keyed = {(pair.name, repr(pair.a)): pair for pair in each.pairs}
        first |= {key: pair.a for key, pair in keyed.items()}
        others.append({key: _text(pair.b) for key, pair in keyed.items()})
    if not first:
        print(f"{names[0]} has no score in common with the others")
        return
    rows = [(key[0], _text(score), *(other.get(key, "–") for other in others)) for key, score in first.items()]
    _print([("", *names), *rows], [""] * (1 + len(rows)))
