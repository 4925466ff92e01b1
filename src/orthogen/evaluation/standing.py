"""How methods for finding directions did: the standing of each, and all of them as a leaderboard."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rich.table import Table

from orthogen.core.directions import Directions
from orthogen.core.score import Score
from orthogen.core.score_file import FIELDS, plain
from orthogen.evaluation.boards import COLUMNS, boards, mark, table

__all__ = ["Leaderboard", "Standing"]


_SETTINGS = ("directions", "seeds", "samples", "budget")  # of a board, which change its numbers


@dataclass(frozen=True)
class Standing:
    """How one method did.

    Attributes:
        method: its name on the board.
        directions: what it found, a set for each seed.
        scores: by column, see `orthogen.evaluation.boards.COLUMNS`; along the directions of the first seed, except
            consistency, recovery and time, which are over seeds.
        missing: why there is no score in a column, by column.
        failed: why it found nothing; empty where it did.
    """

    method: str
    directions: tuple[Directions, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""

    def by_direction(self) -> dict[str, list[float | None]]:
        """One number per direction of the first seed, and its standard error, by column: for `Directions.scores`."""
        found: dict[str, list[float | None]] = {}
        for column in COLUMNS:
            score = self.scores.get(column.key)
            if score is None or not column.part or column.key == "recovery":  # which has one per planted direction
                continue
            found[column.key] = list(score.parts[column.part])
            errors = score.parts.get(f"{column.part}_stderr", score.parts.get("stderr"))
            if errors is not None:
                found[f"{column.key}_stderr"] = list(errors)
        return found


@dataclass(frozen=True)
class Leaderboard:
    """Methods side by side.

    Attributes:
        standings: one for each method, in the order given.
        shared: what all of them had in common.
    """

    standings: tuple[Standing, ...]
    shared: Mapping[str, Any]

    def __getitem__(self, method: str) -> Standing:
        return {each.method: each for each in self.standings}[method]

    def scores(self) -> list[Score]:
        """All scores, each under the name of its method: for `orthogen.core.score_file.merge`.

        What found nothing is there too, with the reason and a value that is not a number.
        """
        return [score for each in self.standings for score in self._scores(each)]

    def _scores(self, standing: Standing) -> Iterator[Score]:
        if standing.failed:
            about = mark(standing.method, "seconds", **self.shared)
            name = f"{standing.method}: found nothing"
            yield Score(float("nan"), name=name, parts={"note": standing.failed}, about=about)
        for column, score in standing.scores.items():
            found = standing.directions[0]
            origin = {key: value for key, value in found.provenance.items() if key != "log"}
            about = {
                **score.about,
                **mark(standing.method, column, **self.shared),
                "directions": {"space": found.space, "n": len(found), **origin},
            }
            board = {key: value for key, value in self.shared.items() if key in _SETTINGS}
            name = f"{standing.method}: {score.name}"
            yield replace(score, name=name, protocol={**score.protocol, "board": board}, about=about)

    def table(self) -> Table:
        """The board for a terminal."""
        return table(boards(self.scores())[0])

    def to_json(self) -> dict[str, Any]:
        """Everything but the directions themselves, ready for JSON."""
        return {
            "shared": plain(self.shared),
            "methods": [
                {
                    "method": each.method,
                    "failed": each.failed,
                    "scores": {
                        key: plain({name: getattr(score, name) for name in FIELDS})
                        for key, score in each.scores.items()
                    },
                    "missing": dict(each.missing),
                }
                for each in self.standings
            ],
        }
