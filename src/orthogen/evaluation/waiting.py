"""How long a measurement will take, and how far it is: a bar in a terminal, an estimate in one line elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from orthogen.core.progress import shown, span

__all__ = ["waiting"]

LOOK = 0.3  # seconds of work on which an estimate rests
LONG = 10.0  # seconds from which it is worth saying


class _Display:
    """Shows whatever `orthogen.core.progress.track` goes through; loops inside loops have a bar each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=2,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=False,  # what the caller prints stays on standard output
        )

    def __enter__(self) -> "_Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, items: Iterable[Any], what: str, total: int | None) -> Iterator[Any]:
        """Go through the items; the time of the first ones tells that of all."""
        task = self._bars.add_task(what, total=total)
        started, said = time.monotonic(), False
        try:
            for done, item in enumerate(items, start=1):
                yield item
                self._bars.advance(task)
                spent = time.monotonic() - started
                if total and not said and spent > LOOK:
                    said = True
                    left = spent / done * (total - done)
                    if left > LONG:
                        self._console.print(f"{what}: about {span(left)}", markup=False, soft_wrap=True)
        finally:
            self._bars.remove_task(task)


@contextmanager
def waiting(*, quiet: bool = False) -> Iterator[None]:
    """Show progress of what runs inside, on standard error; nothing where ``quiet``."""
    if quiet:
        yield
        return
    with _Display(Console(stderr=True, highlight=False)) as display, shown(display.show):
        yield
