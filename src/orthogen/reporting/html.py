"""The report: run folders as one self-contained HTML file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from orthogen import __version__
from orthogen.checkpoints import load
from orthogen.core.directions import Directions
from orthogen.core.files import write_atomically
from orthogen.reporting.activeness import activeness_pictures
from orthogen.reporting.charts import charts
from orthogen.reporting.columns import HISTORY, Column, column, score_rows, written_pictures
from orthogen.reporting.conditioning import conditioning_picture
from orthogen.reporting.figures import PALETTE
from orthogen.reporting.leaderboard import views
from orthogen.reporting.per_class import class_views
from orthogen.reporting.record import RunRecord, read_run
from orthogen.reporting.settings import compare
from orthogen.reporting.spectral import explosion_pictures
from orthogen.reporting.strips import GAP, SAMPLES, STEPS, Strips, aligned, strips

__all__ = ["report"]

_BUDGET = 3_600_000  # bytes of all pictures together, before base64 adds a third


def _motion(
    runs: Sequence[RunRecord], columns: Sequence[Column], rows: int, seed: int, budget: int
) -> list[dict[str, Any]]:
    """Traversals along the generators' own directions, mostly the latent's coordinates, then along those in files.

    A run whose checkpoint cannot be drawn from gets a note, and the pictures that `traverse` wrote before.
    """
    files = [{file.stem: file for file in sorted((run.path / "directions").glob("*.safetensors"))} for run in runs]
    names = ["coordinates", *dict.fromkeys(stem for each in files for stem in each)]
    drawn: dict[str, list[Strips | None]] = {name: [None] * len(runs) for name in names}
    own = "the latent's coordinates"
    for i, run in enumerate(runs):
        if run.draws_nothing:
            continue
        try:
            generator = load(run.path)
            own = "the generator's own directions" if generator.own else own
            drawn["coordinates"][i] = strips(generator, None, rows=rows, seed=seed, budget=budget)
            for stem, file in files[i].items():
                directions = Directions.load(file)
                if directions.of_another(generator):
                    columns[i].notes.append(f"The directions {stem} were found in other weights than the latest.")
                drawn[stem][i] = strips(generator, directions, rows=rows, seed=seed, budget=budget)
        except Exception as error:  # whatever ails one checkpoint, the rest of the page is worth having
            reason = " ".join(str(error).split()) or type(error).__name__
            columns[i].notes.append(f"Traversals could not be drawn: {reason}")
            columns[i].pictures.extend(written_pictures(run.path))
    return [
        {
            "name": own if name == "coordinates" else name,
            "rows": aligned(found),
            "heads": [each.heads if each else () for each in found],
        }
        for name, found in drawn.items()
        if any(found)
    ]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def report(
    runs: str | Path | Sequence[str | Path],
    to: str | Path | None = None,
    *,
    title: str | None = None,
    note: str = "",
    rows: int = 12,
    seed: int = 0,
) -> Path:
    """One HTML file about one run, or about several side by side. It loads nothing from outside itself.

    The page shows samples and how they came about, traversals in motion (drawn from the latest checkpoint, from the
    same base latents in every run), leaderboards of methods that find directions, scores with standard errors and
    protocol, the conditioning of layers that were watched, losses and penalties, the settings with their differences,
    and the environment. What a run lacks is left out, and the page says so.

    Args:
        runs: a run folder, or several.
        to: the file to write; for None ``report.html``, in the run's folder, or beside the first of several runs.
        title: the page's heading; for None the names of the runs.
        note: a paragraph below the heading, as plain text.
        rows: how many directions to show, the first ones.
        seed: of the base latents of the traversals.

    Returns:
        The file written.

    Raises:
        FileNotFoundError: a run does not exist.
        ValueError: a folder is no run, or none is given.
    """
    paths = [runs] if isinstance(runs, str | Path) else list(runs)
    if not paths:
        raise ValueError("report was given no run; give the folder of a run, or several to compare")
    if rows < 1:
        raise ValueError(f"rows={rows}: give how many directions to show, at least 1")
    records = [read_run(path) for path in paths]
    pictures = sum(rows + min(HISTORY, len(run.samples)) for run in records)
    columns = [column(run, PALETTE[i % len(PALETTE)], _BUDGET // pictures) for i, run in enumerate(records)]
    environment = Environment(
        loader=PackageLoader("orthogen.reporting"),
        autoescape=True,  # names, notes and settings come from files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=title or _listed([run.name for run in records]),
        note=note,
        motion=_motion(records, columns, rows, seed, _BUDGET // pictures),
        frame={"steps": STEPS, "samples": SAMPLES, "gap": GAP},
        runs=columns,
        leaderboards=views(records),
        scores=score_rows(records, columns),
        activeness=activeness_pictures(records),
        classes=class_views(records),
        conditioning=conditioning_picture(records),
        spectral=explosion_pictures(records),
        charts=charts(records),
        settings=compare([run.recipe for run in records]),
        about=compare([run.about for run in records]),
        version=__version__,
    )
    if to is None:
        first = Path(os.path.normpath(records[0].path))
        to = (first if len(records) == 1 else first.parent) / "report.html"
    write_atomically(Path(to), page)
    return Path(to)
