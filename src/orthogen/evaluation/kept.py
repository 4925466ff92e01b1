"""What an extractor saw in real images, kept on disk from one measurement to the next."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
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

FORMAT = 2
MOMENTS = ("mean", "covariance", "sample")


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
        n: how many they are.
        eye: the extractor.
        first: the first few of the images.
    """

    def __init__(self, folder: Path, identity: str, n: int, eye: Eye, first: UInt8[Tensor, "n c h w"]) -> None:
        words = json.dumps([FORMAT, identity, dict(eye.protocol)], sort_keys=True)
        name = hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
        self.path = folder / "references" / f"{name}.safetensors"
        self._n, self._eye, self._first = n, eye, first

    def features(
        self,
        parts: Collection[str],
        labels: Int[Tensor, "n"] | None,
        batch: int,
        see: Callable[[Collection[str]], Features],
    ) -> Features:
        """The parts asked for, from the file where it has them, else from ``see(parts)``, which goes into the file.

        Both ways give the same tensors to the last bit: moments lie beside vectors as they would have been streamed. No
        more is read than asked for, so that moments take no more memory where vectors are kept too.
        """
        names = _names(parts)
        found = self._read(names)
        if found is None:
            there = {part for part in {"vectors", "logits"} - set(parts) if self._read([part]) is not None}
            seen = see({*parts, *there})
            tensors = _tensors(seen, batch)
            self._write(tensors)
            found = _features(self._n, {name: tensors[name] for name in names})
        return replace(found, labels=labels if "labels" in parts else None)

    def _read(self, names: Collection[str]) -> Features | None:
        """Some of the tensors; None where one is missing or damaged, or of an extractor that saw otherwise."""
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads((file.metadata() or {})["about"])
                tensors = {name: file.get_tensor(name) for name in names}
            whole = all(about["sha256"][name] == digest({name: tensor}) for name, tensor in tensors.items())
            found = _features(self._n, tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return found if whole and self._agrees(tensors) else None

    def _agrees(self, kept: Mapping[str, Tensor]) -> bool:
        """Whether the eye sees in the first images what is kept of them; to 1e-3, because devices round differently."""
        vectors, logits = self._eye.see(self._first)
        for name, now in (("vectors", vectors), ("sample", vectors), ("logits", logits)):
            if name not in kept:
                continue
            then = kept[name][: len(self._first)].double()
            if now is None or now.shape != then.shape:
                return False
            if not float((now.cpu().double() - then).abs().max()) <= 1e-3 * float(then.abs().max()):  # not NaN either
                return False
        return True

    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        hashes = {name: digest({name: tensor}) for name, tensor in tensors.items()}
        about = {"extractor": dict(self._eye.protocol), "sha256": hashes}
        try:
            write_atomically(self.path, save(dict(tensors), {"about": json.dumps(about)}))
        except OSError as error:  # a full disk or a read-only home must not cost the measurement
            warnings.warn(f"what was seen of the real images is not kept ({error}); see $ORTHOGEN_CACHE", stacklevel=2)


def _names(parts: Collection[str]) -> list[str]:
    """The tensors to read; moments of vectors that are read are made from these."""
    names = [part for part in ("vectors", "logits") if part in parts]
    return [*names, *MOMENTS] if "moments" in parts and "vectors" not in parts else names


def _features(n: int, tensors: Mapping[str, Tensor]) -> Features:
    moments = Moments(n, *(tensors[name] for name in MOMENTS)) if "mean" in tensors else None
    return Features(n, tensors.get("vectors"), tensors.get("logits"), moments=moments)


def _tensors(seen: Features, batch: int) -> dict[str, Tensor]:
    """What goes into a file: all that was seen, and the moments of vectors as they would have been streamed."""
    moments = seen.moments
    if moments is None and seen.vectors is not None:
        gathering = Gathering({"moments"})
        for rows in seen.vectors.split(batch):
            gathering.add(rows)
        moments = gathering.finish().moments
    tensors = {"vectors": seen.vectors, "logits": seen.logits}
    if moments is not None:
        tensors |= {"mean": moments.mean, "covariance": moments.covariance, "sample": moments.sample}
    return {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
