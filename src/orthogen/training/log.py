"""Where the lines of a run's log go: ``log.jsonl``, and wherever else is asked."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

from orthogen.core.files import write_atomically

__all__ = ["SINKS", "Caller", "JsonLines", "Line", "Sink", "TensorBoard", "WandB", "check_sinks"]

Line = Mapping[str, int | float]  # what a line of the log holds: ``images``, an integer, and means


class Sink(ABC):
    """Where the lines of the log go."""

    @abstractmethod
    def write(self, values: Line) -> None:
        """One line: values by name, with ``images`` among them."""

    @abstractmethod
    def close(self) -> None:
        """No more lines will come."""


class JsonLines(Sink):
    """``log.jsonl``. Lines after ``images``, and a line that was cut short, are dropped on opening.

    Args:
        path: of the file.
        images: images shown when the run goes on; 0 begins anew.
    """

    def __init__(self, path: Path, images: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if self._images(line) <= images]
        if whole != lines or not path.is_file():
            write_atomically(path, "".join(whole))
        self._file = path.open("a", encoding="utf-8")

    @staticmethod
    def _images(line: str) -> int | float:
        """The images of a line; infinitely many where it is no whole line."""
        try:
            return json.loads(line)["images"] if line.endswith("\n") else math.inf
        except (ValueError, KeyError, TypeError):
            return math.inf

    def write(self, values: Line) -> None:
        """One JSON object in one line, out of this process when this returns."""
        self._file.write(json.dumps(dict(values)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class Caller(Sink):
    """A function of the caller's own."""

    call: Callable[[Line], None]

    def write(self, values: Line) -> None:
        """Call it."""
        self.call(values)

    def close(self) -> None:
        """Nothing to close."""


class TensorBoard(Sink):
    """Event files in the run folder, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path, images: int, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=images or None)

    def write(self, values: Line) -> None:
        """One scalar per value, at the image count."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, int(values["images"]))

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class WandB(Sink):
    """A Weights & Biases run, continued where the run folder's run is."""

    def __init__(self, folder: Path, images: int, config: Mapping[str, Any]) -> None:
        import wandb

        # the same folder, begun at the same time, is the same run; another one of that name is not
        name = folder.resolve().name
        digest = blake2b(f"{folder.resolve()} {config['started']}".encode(), digest_size=6).hexdigest()
        self._run = wandb.init(
            project="orthogen", name=name, id=digest, resume="allow", dir=str(folder), config=dict(config)
        )

    def write(self, values: Line) -> None:
        """All values of a line, at the image count."""
        self._run.log(dict(values), step=int(values["images"]))

    def close(self) -> None:
        """Mark the run as finished."""
        self._run.finish()


SINKS: dict[str, Callable[[Path, int, Mapping[str, Any]], Sink]] = {"tensorboard": TensorBoard, "wandb": WandB}


def check_sinks(names: Sequence[str]) -> None:
    """See that these sinks can be made, before anything is written.

    Raises:
        ValueError: there is no such sink, or the package it needs is not installed.

    Example:
        >>> check_sinks(["printer"])
        Traceback (most recent call last):
        ValueError: log_to='printer' is unknown; the choice is tensorboard, wandb
    """
    for name in names:
        if name not in SINKS:
            raise ValueError(f"log_to={name!r} is unknown; the choice is {', '.join(SINKS)}")
        try:
            import_module(name)
        except ImportError:
            raise ValueError(
                f"logging to {name} needs a package that is not installed: pip install 'orthogen[{name}]'"
            ) from None
