"""How far a run is: a bar in a terminal, a line every now and then elsewhere. Written to standard error."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from orthogen.core.progress import span
from orthogen.training.log import Line, Sink

__all__ = ["Reporter"]

LINE_EVERY = 30.0  # seconds between lines where there is no terminal


class Reporter(Sink):
    """Shows images, their rate, the time left and the losses.

    Args:
        name: of the run.
        images: shown so far.
        end: at the end.
        quiet: show nothing.
    """

    def __init__(self, name: str, images: int, end: int, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._name, self._end, self._next_line = name, end, time.monotonic() + LINE_EVERY
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            refresh_per_second=2,
            disable=not self._console.is_terminal,
            redirect_stdout=False,  # what the caller prints stays on standard output
        )
        self._task = self._bar.add_task(name, total=end, completed=images, note="")
        self._bar.start()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def advance(self, images: int) -> None:
        """So many images have been shown."""
        self._bar.update(self._task, completed=images)

    def write(self, values: Line) -> None:
        """Show the line that was just logged."""
        speed = values["speed/images_per_second"]
        losses = [f"{name.partition('/')[2]} {value:.4g}" for name, value in values.items() if name.startswith("loss/")]
        penalties = [
            f"{name.partition('/')[2]} {value:.3g}"
            for name, value in values.items()
            if name.startswith("penalty/") and name.count("/") == 1
        ]
        text = " · ".join([f"{speed:,.0f} images/s", *losses, *penalties])
        self._bar.update(self._task, note=text)
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY
            left = max(0.0, (self._end - values["images"]) / speed) if speed else 0.0
            self.say(f"{self._name}: {values['images']:,} of {self._end:,} images · {span(left)} left · {text}")

    def say(self, text: str) -> None:
        """One line, above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)
