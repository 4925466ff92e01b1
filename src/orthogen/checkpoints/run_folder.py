"""A run folder: its recipe, its log, its checkpoints and the generators in them. Imports nothing of training.

::

    runs/NAME/run.json      recipe, seed, device, versions
              log.jsonl     one line per logging interval
              checkpoints/  images_000012800/, ...
              samples/      images_000012800.png, ...
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.checkpoints._checkpoint import ABOUT_FILE, Checkpoint, checkpoints_in
from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._tensors import generator_bytes, read_about, recorded, tensor_bytes
from orthogen.core.generator import Generator
from orthogen.core.kinds import Model
from orthogen.core.record import from_json

__all__ = ["Checkpoint", "Run", "home_of", "load", "open_run", "recognizes"]


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: where it is.
        about: what ``run.json`` holds.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def recipe(self) -> Any:
        """The `orthogen.Recipe` of the run.

        Raises:
            ValueError: it names a class that is not in this process.
        """
        try:
            return from_json(self.about["recipe"])
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"the recipe of {self.folder} cannot be rebuilt here: {error}") from error

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, whole or not, oldest first."""
        return checkpoints_in(self.folder)

    @property
    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones on the way are named in a warning."""
        for checkpoint in reversed(self.checkpoints):
            fault = checkpoint.fault()
            if fault is None:
                return checkpoint
            warnings.warn(f"{checkpoint.path} is damaged and skipped: {fault}", stacklevel=2)
        return None

    @property
    def finished(self) -> bool:
        """Whether the run went to its end."""
        return self.about.get("finished") is not None

    @property
    def samples(self) -> tuple[Path, ...]:
        """The sample grids, oldest first."""
        return tuple(sorted((self.folder / "samples").glob("images_*.png")))

    def log(self) -> list[dict[str, int | float]]:
        """The lines of ``log.jsonl``; a last line that was cut short is left out."""
        path = self.folder / "log.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def generator(self, *, ema: bool = True, model: Model | None = None) -> Generator:
        """The generator of the newest whole checkpoint: averaged weights, or those of the optimizer for ``ema=False``.

        Raises:
            FileNotFoundError: there is no whole checkpoint.
        """
        return load(self.folder, ema=ema, model=model).generator

    @property
    def best(self) -> Checkpoint | None:
        """The checkpoint with the best result in the tests that were made on the way; None where there were none."""
        newest = self.newest
        tests = newest.numbers().get("tests") if newest else None
        return next((each for each in self.checkpoints if tests and each.images == tests["images"]), None)

    def network(
        self, name: str = "classifier", *, model: Model | None = None, checkpoint: Checkpoint | None = None
    ) -> nn.Module:
        """A network of a checkpoint, in evaluation mode, with the weights of the optimizer.

        Args:
            name: of the network.
            model: what builds it; the recipe's own if None.
            checkpoint: of this run; the newest whole one if None.

        Raises:
            FileNotFoundError: there is no whole checkpoint.
            ValueError: the model builds no such network, or cannot be rebuilt here.
        """
        checkpoint = self.newest if checkpoint is None else checkpoint
        if checkpoint is None:
            raise FileNotFoundError(f"{self.folder} has no whole checkpoint yet; train it first")
        with torch.random.fork_rng(devices=[]):
            built = (self.recipe.model if model is None else model).build()
        if name not in built:
            raise ValueError(f"{self.folder} has no {name}; its model builds {', '.join(sorted(built))}")
        built[name].load_state_dict(checkpoint.tensors(f"network/{name}/"))
        return built[name].eval()

    def write_checkpoint(
        self,
        images: int,
        shown: nn.Module,
        training: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        *,
        network: str = "generator",
    ) -> Checkpoint:
        """Write down a state: the network that the run is about, and what training needs to go on.

        Args:
            images: shown so far.
            shown: the generator to sample from, or the classifier.
            training: tensors of the training state.
            numbers: of it, for JSON.
            network: what ``shown`` is called in the model.

        Raises:
            OSError: the disk is full, or the folder cannot be written; earlier checkpoints are as they were.
        """
        recipe = self.about["recipe"]
        about = {"model": recipe["model"], "run": recipe["name"], "images": images, "ema": bool(recipe["ema"])}
        if network != "generator":
            about["network"] = network
        content = generator_bytes(shown, about), tensor_bytes(training)
        return Checkpoint.write(self.folder / "checkpoints", images, *content, numbers)


def _loaded(checkpoint: Checkpoint, ema: bool, model: Model | None, settings: Mapping[str, Any]) -> Loaded:
    about = read_about(checkpoint.generator)
    if about is None:
        raise ValueError(f"{checkpoint.generator} is damaged or missing; take another checkpoint")
    if about.get("network", "generator") != "generator":
        raise ValueError(
            f"{checkpoint.path} holds a {about['network']}, which has no latent to draw images from; in Python, "
            f"open_run(folder).network({about['network']!r}) gives it"
        )
    tensors = checkpoint.generator_tensors() if ema else checkpoint.tensors("network/generator/")
    return recorded(about["model"], tensors, checkpoint.path, model, settings)


def open_run(folder: str | Path) -> Run:
    """The run in a folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is no run folder.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; give the folder of a run (runs/NAME)")
    try:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return Run(folder, {**about, "recipe": about["recipe"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is no run folder: it has no readable run.json; give runs/NAME") from error


def home_of(source: str | Path) -> Path:
    """The folder where what is made of a source goes: that of its run, or else the one that the file is in."""
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    return next((each for each in (folder, *folder.parents[:2]) if (each / "run.json").is_file()), folder)


def recognizes(path: Path) -> bool:
    """Whether this is a run folder, or a checkpoint inside one."""
    return (path / "run.json").is_file() or (path / ABOUT_FILE).is_file()


def load(
    path: Path, *, ema: bool = True, settings: Mapping[str, Any] = MappingProxyType({}), model: Model | None = None
) -> Loaded:
    """The generator of a run's newest whole checkpoint, or of the checkpoint given.

    Raises:
        FileNotFoundError: the run has no whole checkpoint.
        ValueError: the checkpoint is damaged, or its model cannot be rebuilt here.
    """
    if not (path / ABOUT_FILE).is_file():
        checkpoint = open_run(path).newest
        if checkpoint is None:
            raise FileNotFoundError(f"{path} has no whole checkpoint yet; train it first")
        return _loaded(checkpoint, ema, model, settings)
    checkpoint = Checkpoint(path)
    if fault := checkpoint.fault():
        raise ValueError(f"{path} is damaged: {fault}; take another checkpoint of the run")
    return _loaded(checkpoint, ema, model, settings)
