"""A run and its scores as the page's template wants them: plain text and pictures, nothing left to compute."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from orthogen.core.score import Score
from orthogen.reporting.embed import as_uri, file_uri
from orthogen.reporting.figures import bars
from orthogen.reporting.leakage import leakage_picture
from orthogen.reporting.record import RunRecord
from orthogen.reporting.settings import objective_lines, phrase, words

__all__ = ["HISTORY", "Column", "Measured", "ScoreRow", "column", "score_rows", "written_pictures"]

HISTORY = 8  # sample grids shown of each run
_WHOLE = 1_500_000  # bytes of a picture file that is shown as it is


@dataclass(frozen=True)
class Column:
    """One run on the page."""

    name: str
    color: str
    recipe: str
    facts: list[str]
    objective: list[str]
    history: list[tuple[int, str]]
    claims: list[dict[str, str]]
    departures: list[str]
    pictures: list[tuple[str, str]]
    notes: list[str]


@dataclass(frozen=True)
class Measured:
    """One score in words."""

    text: str
    rests_on: str
    details: list[tuple[str, str]]
    picture: str = ""  # of its matrix, where it has one


@dataclass(frozen=True)
class ScoreRow:
    """One metric in every run."""

    name: str
    columns: list[tuple[Column, Measured | None]]
    svg: Markup  # empty where there is nothing to compare

    @property
    def detailed(self) -> bool:
        """Whether any run says how it was measured."""
        return any(measured.details for _, measured in self.columns if measured)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _facts(run: RunRecord) -> list[str]:
    recipe, facts = run.recipe, []
    classes = [phrase(recipe[key]).split("(")[0] for key in ("model", "data") if isinstance(recipe.get(key), Mapping)]
    if classes:
        facts.append(" on ".join(classes))
    if run.images is not None:
        total = recipe.get("images")
        left = f" of {total:,}" if isinstance(total, int) and total > run.images else ""
        facts.append(f"{run.images:,}{left} images")
    if run.seconds is not None:
        facts.append(_duration(run.seconds))
    known = {**recipe, **run.about}
    for key, before in (("seed", "seed "), ("device", "on ")):
        if known.get(key) is not None:
            facts.append(before + words(known[key]))
    return facts


def _history(run: RunRecord, budget: int, notes: list[str]) -> list[tuple[int, str]]:
    """Sample grids from the first to the latest, evenly picked."""
    last = len(run.samples) - 1
    picked = sorted({round(i * last / (HISTORY - 1)) for i in range(HISTORY)}) if last >= 0 else []
    grids = []
    for images, file in (run.samples[i] for i in picked):
        uri = file_uri(file, budget)
        if uri is None:
            notes.append(f"{file.name} is no readable picture.")
        else:
            grids.append((images, uri))
    return grids


def _claims(run: RunRecord) -> list[dict[str, str]]:
    ours = {score.name.lower(): score for score in run.scores}
    rows = []
    for claim in run.recipe.get("claims") or []:
        if isinstance(claim, Mapping):
            score = ours.get(str(claim.get("metric", "")).lower())
            tolerance = f" ± {words(claim['tolerance'])}" if claim.get("tolerance") else ""
            rows.append(
                {
                    "metric": words(claim.get("metric")),
                    "paper": words(claim.get("value")) + tolerance,
                    "here": _text(score) if score else "not measured",
                    "source": words(claim.get("source")),
                }
            )
    return rows


def column(run: RunRecord, color: str, budget: int) -> Column:
    """Everything about one run but its traversals and curves; ``budget`` is in bytes for one picture."""
    notes = list(run.notes)
    return Column(
        name=run.name,
        color=color,
        recipe=str(run.recipe.get("name") or ""),
        facts=_facts(run),
        objective=objective_lines(run.recipe),
        history=_history(run, budget, notes),
        claims=_claims(run),
        departures=[str(line) for line in run.recipe.get("departures") or []],
        pictures=[],
        notes=notes,
    )


def written_pictures(folder: Path) -> list[tuple[str, str]]:
    """Traversals that were written before, for a run whose checkpoint cannot be drawn from."""
    files = [file for kind in ("gif", "png") for file in sorted((folder / "traversals").glob(f"*.{kind}"))]
    return [(file.name, as_uri(file.read_bytes(), file.suffix[1:])) for file in files if file.stat().st_size <= _WHOLE]


def _text(score: Score) -> str:
    """The value with its error; the name and the count stand elsewhere."""
    return str(Score(score.value, score.stderr)) if math.isfinite(score.value) else "not a number"


def _measured(score: Score) -> Measured:
    rests = [] if score.stderr is not None else ["no standard error"]
    if score.n:
        rests.append(f"n = {score.n:,}")
    rests += [str(replace(part, n=0)) for _, part in score.named_parts()]
    rests += [str(score.parts["note"])] if score.parts.get("note") else []
    details: list[tuple[str, Any]] = [*score.about.items(), *score.protocol.items(), *score.parts.items()]
    picture = as_uri(leakage_picture(score), "png") if score.name == "Leakage" and "matrix" in score.parts else ""
    return Measured(_text(score), ", ".join(rests), [(str(key), words(value)) for key, value in details], picture)


def score_rows(runs: Sequence[RunRecord], columns: Sequence[Column]) -> list[ScoreRow]:
    """Scores of one name side by side; where a run has a name twice, the second gets a row of its own."""
    tables: list[dict[str, Score]] = []
    for run in runs:
        table: dict[str, Score] = {}
        for score in run.scores:
            if "leaderboard" in score.about:  # it has a section of its own
                continue
            again = sum(other.name == score.name for other in table.values())
            table[f"{score.name} ({again + 1})" if again else score.name] = score
        tables.append(table)
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        found = [(each, table.get(name)) for each, table in zip(columns, tables, strict=True)]
        have = [(each, score) for each, score in found if score and math.isfinite(score.value)]
        svg = bars(
            [each.name for each, _ in have],
            [score.value for _, score in have],
            [score.stderr for _, score in have],
            f"{name} by run, with standard errors",
            colors=[each.color for each, _ in have],
        )
        rows.append(
            ScoreRow(
                name,
                [(each, _measured(score) if score else None) for each, score in found],
                Markup(svg if len(have) > 1 else ""),
            )
        )
    return rows
