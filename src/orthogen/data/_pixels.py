"""Many encoded images -> an `ImageSet`, decoded once and kept where they fit into memory, else when asked for."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from orthogen.core.kinds import ImageSet
from orthogen.core.shapes import Int, UInt8
from orthogen.data._decode import Framing, Header, decode, look, naming
from orthogen.data._sources import Source

__all__ = ["StoredImages", "check_loading", "each", "mirrored", "watched"]

S = TypeVar("S", bound=Sized)
T = TypeVar("T")
CHUNK = 64  # images handed to a thread at once while a set is opened


def check_loading(owner: str, channels: int | None, workers: int, memory: float) -> None:
    """Refuse settings that cannot work, whatever the images are.

    Raises:
        ValueError: the channels are not 1, 3 or None, there are no workers, or the memory is negative.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"{owner}(channels={channels}): give 1 (gray), 3 (RGB) or None (RGB where an image has color)")
    if workers < 1:
        raise ValueError(f"{owner}(workers={workers}): give at least 1 thread")
    if not memory >= 0:
        raise ValueError(f"{owner}(memory={memory}): give the GiB that decoded images may take, 0 to keep none")


def watched(parts: Iterable[S], total: int, doing: str) -> Iterator[S]:
    """Pass on ``parts`` of ``total`` images, with a progress bar once they have taken a second (on a terminal only)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(doing, total=total, rate="")
    begin, done = time.monotonic(), 0
    try:
        for part in parts:
            done += len(part)
            elapsed = time.monotonic() - begin
            if elapsed > 1.0:
                bar.start()  # once more does no harm
                bar.update(task, completed=done, rate=f"{done / elapsed:,.0f} images/s")
            yield part
    finally:
        bar.stop()


def mirrored(batch: UInt8[Tensor, "n c h w"], rng: torch.Generator | None) -> UInt8[Tensor, "n c h w"]:
    """Each image mirrored with probability 1/2; none of them without an ``rng``."""
    if rng is None:
        return batch
    mirror = torch.rand(len(batch), generator=rng, device=rng.device).to(batch.device) < 0.5
    return torch.where(mirror[:, None, None, None], batch.flip(3), batch)


def each(work: Callable[[int], T], n: int, workers: int, doing: str) -> list[T]:
    """``work(0), ..., work(n - 1)`` by threads, which run side by side because Pillow decodes outside Python's lock."""

    def several(start: int) -> list[T]:
        return [work(i) for i in range(start, min(start + CHUNK, n))]

    with ThreadPoolExecutor(workers) as pool:
        parts = watched(pool.map(several, range(0, n, CHUNK)), n, doing)
        return [result for part in parts for result in part]


class StoredImages(ImageSet):
    """Images of a folder or a zip file, in natural order of their names.

    Opening reads every header, so that what does not fit is reported at once. All images are RGB where one of them has
    color. Decoded they take ``n * channels * resolution**2`` bytes: up to ``memory`` GiB they are decoded now and kept,
    beyond it ``workers`` threads decode them each time they are asked for.

    Args:
        source: where they lie, with their labels and classes where there are some.
        framing: how each is brought to its square.
        channels: 1 or 3; None for RGB where an image has color.
        flip: mirror each image with probability 1/2 whenever an ``rng`` is given.
        workers: number of threads.
        memory: GiB that the decoded images may take.
        size: the (width, height) every file must have; None for any.

    Raises:
        ValueError: an image cannot be read, or their sizes differ and no resolution is given.
    """

    def __init__(
        self,
        source: Source,
        framing: Framing,
        *,
        channels: int | None = None,
        flip: bool = False,
        workers: int = 8,
        memory: float = 4.0,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.classes = source.classes
        self._labels = None if source.labels is None else torch.tensor(source.labels, dtype=torch.int64)
        self._source, self._stated, self._flip, self._workers = source, framing, flip, workers
        headers = self._headers()
        self.resolution = self._side(headers, size)
        self.channels = channels or (1 if all(header.gray for header in headers) else 3)
        self._framing = replace(framing, resolution=self.resolution)
        self._kept: UInt8[Tensor, "n c h w"] | None = None
        if self.bytes <= memory * 2**30:
            self._kept = kept = self._empty(len(self))
            each(lambda i: self._decode_into(kept, i, i), len(self), workers, "Decoding images")

    def __len__(self) -> int:
        return len(self._source.names)

    @property
    def bytes(self) -> int:
        """What all images take when decoded."""
        return len(self) * self.channels * self.resolution**2

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """The images of those indices, on the index's device; mirrored at random if ``flip`` and ``rng`` are set."""
        rows = index.cpu()
        if self._kept is not None:
            batch = self._kept.index_select(0, rows)  # copies whole rows: ten times as fast as self._kept[rows]
        else:
            batch = self._empty(len(rows))
            with ThreadPoolExecutor(self._workers) as pool:
                list(pool.map(lambda at, i: self._decode_into(batch, at, i), range(len(rows)), rows.tolist()))
        return (mirrored(batch, rng) if self._flip else batch).to(index.device)

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"] | None:
        """The class labels of those indices; None where there are no classes."""
        return None if self._labels is None else self._labels[index.cpu()].to(index.device)

    def describe(self) -> str:
        """Everything that was done to the files' pixels, in one line."""
        size = f"{self.bytes / 2**20:,.1f} MiB"
        parts = (
            f"{len(self):,} images of {self._source.where}",
            f"{self.resolution} x {self.resolution} {'gray' if self.channels == 1 else 'RGB'}",
            str(self._stated),
            "mirrored at random" if self._flip else "not mirrored",
            f"{len(self.classes)} classes" if self.classes else "no classes",
            f"kept in memory ({size})" if self._kept is not None else f"decoded when asked for ({size} in all)",
        )
        return ", ".join(parts)

    __repr__ = describe

    def _empty(self, n: int) -> UInt8[Tensor, "n c h w"]:
        return torch.empty(n, self.channels, self.resolution, self.resolution, dtype=torch.uint8)

    def _decode_into(self, batch: UInt8[Tensor, "n c h w"], at: int, i: int) -> None:
        title = self._source.title(i)
        with naming(title):
            with self._source.open(self._source.names[i]) as file:
                data = file.read()  # whole, so that a zip file is free for the next thread while this one decodes
            batch.numpy()[at] = decode(data, title, self._framing, self.channels)

    def _headers(self) -> list[Header]:
        def header(i: int) -> Header:
            title = self._source.title(i)
            with naming(title), self._source.open(self._source.names[i]) as file:
                return look(file, title)

        with warnings.catch_warnings():
            # around all threads, because the filters are the process's
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return each(header, len(self), self._workers, "Reading headers")

    def _side(self, headers: Sequence[Header], size: tuple[int, int] | None) -> int:
        """The side of the square that every image is brought to."""
        first, framing, title = headers[0].size, self._stated, self._source.title
        for i, (width, height) in enumerate(header.size for header in headers):
            if size is not None and (width, height) != size:
                raise ValueError(f"{title(i)} is {width} x {height} pixels; {size[0]} x {size[1]} is expected")
            if framing.resolution is None and (width, height) != first:
                raise ValueError(
                    f"{title(i)} is {width} x {height} pixels and {title(0)} {first[0]} x {first[1]}; "
                    "give a resolution to bring all to one size"
                )
            left, _, right, _ = framing.box((width, height), title(i))
        return framing.resolution or right - left
