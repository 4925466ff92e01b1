"""Another system's checkpoint -> a generator file of ours, read back and compared."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from orthogen import __version__
from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._tensors import generator_bytes, read_tensors, recorded
from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.record import to_json
from orthogen.core.rng import generator as seeded

__all__ = ["Conversion", "converted"]

_IMAGES = 4  # compared
_PART = 1 << 24  # bytes hashed at a time


@dataclass(frozen=True)
class Conversion:
    """What was written, and whether it draws the same images.

    Attributes:
        path: the generator file.
        about: the JSON file beside it: the model, the source and its hash, the weights' hash.
        format: of the source, in words.
        images: how many were compared.
        equal: whether they are equal to the last bit.
        difference: the largest difference of any pixel, on the scale of [-1, 1].
    """

    path: Path
    about: Path
    format: str
    images: int
    equal: bool
    difference: float

    def __str__(self) -> str:
        same = "bit-equal" if self.equal else f"NOT equal, by up to {self.difference:.3g}"
        return f"{self.path}: {self.format}; {self.images} images before and after are {same}"


@torch.no_grad()
def _images(generator: Generator) -> Tensor:
    rng = seeded(0, "convert")
    z = generator.latent.sample(_IMAGES, rng=rng)
    labels = torch.randint(max(1, generator.classes), (_IMAGES,), generator=rng)
    with torch.random.fork_rng(devices=[]):  # of networks with noise
        torch.default_generator.manual_seed(0)
        return generator(z, **({generator.condition: labels} if generator.classes else {}))


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            found.update(part)
    return found.hexdigest()


def converted(loaded: Loaded, source: Path, to: Path) -> Conversion:
    """Write ``loaded`` to ``to``, and compare.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    before, model = loaded.generator, to_json(loaded.model)
    write_atomically(to, generator_bytes(loaded.module, {"model": model}))
    own = None if str(model["type"]).startswith("orthogen.") else loaded.model  # of the user's, not in the package
    drawn, again = _images(before), _images(recorded(model, read_tensors(to), to, own).generator)
    equal = torch.equal(drawn, again)
    difference = float((drawn.double() - again.double()).abs().max())
    record = {
        "model": model,
        "weights": before.digest,
        "source": {"file": source.name, "format": loaded.format, "sha256": _hash(source) if source.is_file() else None},
        "images": {"compared": len(drawn), "bit_equal": equal, "largest_difference": difference},
        "orthogen": __version__,
    }
    about = to.with_suffix(".json")
    write_atomically(about, json.dumps(record, indent=1) + "\n")
    return Conversion(to, about, loaded.format, len(drawn), equal, difference)
