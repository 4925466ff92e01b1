"""What an extractor saw in real images, kept on disk from one measurement to the next."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from orthogen.core.digest import digest
from orthogen.core.features import Features, Gathering, Moments
from orthogen.core.files import write_atomically
from orthogen.core.kinds import Eye
from orthogen.core.shapes import Int, UInt8

__all__ = ["Kept", "cache_folder"]

FORMAT = 1


def cache_folder() -> Path:
    """Where things are kept between measurements: ``$ORTHOGEN_CACHE``, or ``orthogen`` in the user's cache folder."""
    given = os.environ.get("ORTHOGEN_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orthogen"


class Kept:
    """The file of one set of images and one extractor.

    The file is used if it is whole and the extractor still sees in the first images what is in it. That catches what no
    hash of weights tells, such as another input size of the same network. Otherwise it is made anew.

    Args:
        folder: the cache.
        identity: hash of the images.
        eye: the extractor.
        first: the first few of the images.
    """

    def __init__(self, folder: Path, identity: str, eye: Eye, first: UInt8[Tensor, "n c h w"]) -> None:
        words = json.dumps([FORMAT, identity, dict(eye.protocol)], sort_keys=True)
        name = hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
        self.path = folder / "references" / f"{name}.safetensors"
        self._eye, self._first = eye, first

    def features(
        self,
        parts: Collection[str],
        labels: Int[Tensor, "n"] | None,
        batch: int,
        see: Callable[[Collection[str]], Features],
    ) -> Features:
        """The parts asked for, from the file where it has them, else from ``see(parts)``, which goes into the file.

        Both ways give the same tensors to the last bit: vectors are turned into moments batch by batch either way.
        """
        found = self._read()
        if found is None or not _holds(found, parts):
            more = set() if found is None else {part for part in ("vectors", "logits") if found.has(part)}
            found = see({*parts, *more})
            self._write(found)
        return _served(found, parts, labels, batch)

    def _read(self) -> Features | None:
        """What the file holds; None where there is no file, or it is damaged, or of an extractor that saw otherwise."""
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads((file.metadata() or {})["about"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            n, whole = about["n"], about["sha256"] == digest(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        moments = None
        if "mean" in tensors:
            moments = Moments(n, tensors["mean"], tensors["covariance"], tensors["sample"])
        found = Features(n, tensors.get("vectors"), tensors.get("logits"), moments=moments)
        return found if whole and self._agrees(found) else None

    def _agrees(self, found: Features) -> bool:
        """Whether the eye sees in the first images what is kept of them; to 1e-3, because devices round differently."""
        vectors, logits = self._eye.see(self._first)
        sample = found.moments.sample if found.moments is not None else None
        pairs = ((found.vectors, vectors), (sample, vectors), (found.logits, logits))
        for kept, now in pairs:
            if kept is None:
                continue
            then = kept[: len(self._first)].double()
            if now is None or now.shape != then.shape:
                return False
            if float((now.cpu().double() - then).abs().max()) > 1e-3 * float(then.abs().max()):
                return False
        return True

    def _write(self, seen: Features) -> None:
        tensors = {"vectors": seen.vectors, "logits": seen.logits}
        if seen.moments is not None:
            moments = seen.moments
            tensors |= {"mean": moments.mean, "covariance": moments.covariance, "sample": moments.sample}
        there = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
        about = {"n": seen.n, "extractor": dict(self._eye.protocol), "sha256": digest(there)}
        try:
            write_atomically(self.path, save(there, {"about": json.dumps(about)}))
        except OSError as error:  # a full disk or a read-only home must not cost the measurement
            warnings.warn(f"what was seen of the real images is not kept ({error}); see $ORTHOGEN_CACHE", stacklevel=2)


def _holds(found: Features, parts: Collection[str]) -> bool:
    return all(found.has(part) for part in parts if part != "labels")


def _served(found: Features, parts: Collection[str], labels: Int[Tensor, "n"] | None, batch: int) -> Features:
    """The parts asked for of what is kept; moments of kept vectors as they would have been streamed."""
    wanted = labels if "labels" in parts else None
    logits = found.logits if "logits" in parts else None
    if found.vectors is None:
        return Features(found.n, None, logits, wanted, found.moments)
    gathering = Gathering(parts)
    for start in range(0, found.n, batch):
        rows = slice(start, start + batch)
        gathering.add(
            found.vectors[rows],
            None if logits is None else logits[rows],
            None if wanted is None else wanted[rows],
        )
    return gathering.finish()
