"""Traversals for the page: a sheet of frames per run and direction, which a few lines of script set in motion."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.rng import generator as seeded
from orthogen.reporting import montage
from orthogen.reporting._moves import Moves, basis_of
from orthogen.reporting.drawing import drawn
from orthogen.reporting.embed import data_uri
from orthogen.reporting.paths import linear

__all__ = ["GAP", "SAMPLES", "STEPS", "Strips", "aligned", "strips"]

STEPS = 13  # frames of a sheet, from left to right
SAMPLES = 4  # base latents, from top to bottom
GAP = 1  # px between frames, transparent
_LARGEST = 96  # px a frame is wide at most


@dataclass(frozen=True)
class Strips:
    """One run's sheets along one set of directions.

    Attributes:
        labels: names of the directions.
        heads: the value of each frame.
        sheets: a data URI per direction.
    """

    labels: tuple[str, ...]
    heads: tuple[str, ...]
    sheets: tuple[str, ...]


def strips(generator: Generator, directions: Directions | None, *, rows: int, seed: int, budget: int) -> Strips:
    """Draw and encode them; one ``seed`` gives the same base latents to every generator of the same latent.

    Args:
        generator: what draws.
        directions: what to move along; the latent's own coordinates for None.
        rows: how many directions, the first ones.
        seed: of the base latents.
        budget: bytes for one sheet.
    """
    found = basis_of(generator, directions)
    few = found.take(range(len(found))[:rows])
    moves = Moves.of(generator, few, n=SAMPLES, rng=seeded(seed, "traversal"))
    values = linear(moves.low, moves.high, STEPS)
    images = drawn(generator, moves, values, shrink=partial(montage.fit, smallest=1, largest=_LARGEST))
    sheets = tuple(data_uri(montage.grid(block, GAP, (0, 0, 0, 0)), budget) for block in images)
    return Strips(moves.names, tuple(map(moves.head, values.tolist())), sheets)


def aligned(columns: Sequence[Strips | None]) -> list[tuple[str, list[str | None]]]:
    """Rows for the page: a label, and a sheet per run or None where a run has no such direction."""
    most = max((len(column.sheets) for column in columns if column), default=0)
    rows = []
    for i in range(most):
        names = [column.labels[i] for column in columns if column and i < len(column.labels)]
        cells = [column.sheets[i] if column and i < len(column.sheets) else None for column in columns]
        rows.append((" / ".join(dict.fromkeys(names)), cells))
    return rows
