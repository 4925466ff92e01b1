"""A checkpoint on disk: a folder of two safetensors files, and a JSON file, written last, that vouches for them.

``generator.safetensors`` is a generator file with the weights to sample from (the averaged ones where there is an
average); it can be copied away and loaded alone. ``training.safetensors`` holds everything else that a run needs to go
on. ``checkpoint.json`` holds the numbers and the digest of both files: without it, or with another digest, the
checkpoint was cut short and is not used.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from orthogen.checkpoints._tensors import read_tensors
from orthogen.core.files import write_atomically

__all__ = ["ABOUT_FILE", "Checkpoint", "checkpoints_in"]

ABOUT_FILE, GENERATOR_FILE, TRAINING_FILE = "checkpoint.json", "generator.safetensors", "training.safetensors"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, ``images_000012800``; the number counts the images shown."""

    path: Path

    @property
    def images(self) -> int:
        """Images shown when it was written."""
        return int(self.path.name.removeprefix("images_"))

    @classmethod
    def write(
        cls, folder: Path, images: int, generator: bytes, training: bytes, numbers: Mapping[str, Any]
    ) -> "Checkpoint":
        """Write a checkpoint into ``folder``; where that fails, nothing of it is left.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        path = folder / f"images_{images:09d}"
        if path.exists():  # of a run that was cut short here
            shutil.rmtree(path)
        files = {GENERATOR_FILE: generator, TRAINING_FILE: training}
        try:
            for name, content in files.items():
                write_atomically(path / name, content)
            about = {**numbers, "sha256": {name: _digest(content) for name, content in files.items()}}
            write_atomically(path / ABOUT_FILE, json.dumps(about, indent=1))
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path)

    def fault(self) -> str | None:
        """Why it cannot be used; None where it is whole."""
        try:
            for name, digest in self.numbers()["sha256"].items():
                if _digest((self.path / name).read_bytes()) != digest:
                    return f"{name} is not what was written"
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except (OSError, ValueError, KeyError, AttributeError) as error:
            return f"{ABOUT_FILE} cannot be read ({type(error).__name__})"
        return None

    def numbers(self) -> dict[str, Any]:
        """What the JSON file holds."""
        return json.loads((self.path / ABOUT_FILE).read_text(encoding="utf-8"))

    @property
    def generator(self) -> Path:
        """The generator file inside."""
        return self.path / GENERATOR_FILE

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """The training state's tensors whose names begin with ``prefix``, which is cut off."""
        return read_tensors(self.path / TRAINING_FILE, prefix)

    def generator_tensors(self) -> dict[str, Tensor]:
        """The weights in the generator file."""
        return read_tensors(self.generator)

    def delete(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)


def checkpoints_in(folder: Path) -> tuple[Checkpoint, ...]:
    """All checkpoints of a run folder, whole or not, oldest first."""
    found = [path for path in (folder / "checkpoints").glob("images_*") if re.fullmatch(r"images_\d+", path.name)]
    return tuple(sorted((Checkpoint(path) for path in found if path.is_dir()), key=lambda each: each.images))
