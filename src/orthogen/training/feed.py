"""Batches of real images. The order of the data is a function of seed and epoch; the next batch is fetched ahead."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from orthogen.core.images import to_float
from orthogen.core.kinds import ImageSet
from orthogen.core.rng import generator
from orthogen.core.sampling import Sampling, Shuffled
from orthogen.core.shapes import Int, Shaped
from orthogen.training.distributed import Processes

__all__ = ["Batch", "Feed"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of the data, with their class labels where it has classes.

    Attributes:
        images: in [-1, 1] once they are on the device, uint8 before.
        labels: int64.
    """

    images: Shaped[Tensor, "n c h w"]
    labels: Int[Tensor, "n"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "Batch":
        """On another device, without waiting for it where memory is pinned."""
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return Batch(self.images.to(device, non_blocking=True), labels)

    def pinned(self) -> "Batch":
        """In memory that a GPU reads by itself."""
        return Batch(self.images.pin_memory(), None if self.labels is None else self.labels.pin_memory())

    def chunk(self, parts: int) -> list["Batch"]:
        """The batch in so many equal parts."""
        if self.labels is None:
            return [Batch(images) for images in self.images.chunk(parts)]
        return [Batch(*each) for each in zip(self.images.chunk(parts), self.labels.chunk(parts), strict=True)]


class Feed:
    """Batch number i of an endless run through the images, each epoch in an order of its own.

    A thread fetches the batch after the one asked for, so that decoding or drawing overlaps with training. What it
    returns depends on seed, images shown before and rank alone. Close it, or use it as a context.

    Args:
        images: where they come from.
        size: images of a step, over all processes, by the images shown before it.
        seed: of order and random choices.
        processes: those that share each batch.
        sampling: which images an epoch shows, see `orthogen.core.sampling`; each once if None.
        turns: equal pieces of a step's images that are used one after another, as by several critic steps; processes
            share out each of them, so that a piece holds the same images however many processes there are.

    Raises:
        ValueError: there are no images, or no labels where the sampling needs them.
    """

    def __init__(
        self,
        images: ImageSet,
        size: Callable[[int], int],
        seed: int,
        processes: Processes,
        sampling: Sampling | None = None,
        turns: int = 1,
    ) -> None:
        if len(images) == 0:
            raise ValueError("the data set is empty; give one with at least one image")
        self.sampling = Shuffled() if sampling is None else sampling
        self._labels = images.labels(torch.arange(len(images))) if self.sampling.needs_labels else None
        if self.sampling.needs_labels and self._labels is None:
            raise ValueError(
                f"{self.sampling} needs class labels, and the data has none; give labeled data, or Shuffled()"
            )
        self.images, self.size, self.seed, self.processes, self.turns = images, size, seed, processes, turns
        self._order = lru_cache(maxsize=2)(self._permutation)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="orthogen-feed")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def _permutation(self, epoch: int) -> Int[Tensor, "n"]:
        return self.sampling.order(len(self.images), self._labels, rng=generator(self.seed, "data", epoch))

    def index(self, shown: int) -> Int[Tensor, "batch"]:
        """Which images all processes together see after so many; a batch may end one epoch and begin the next."""
        size, position, wanted = len(self.images), shown, self.size(shown)
        found = []
        while wanted:
            epoch, start = divmod(position, size)
            found.append(self._order(epoch)[start : start + wanted])
            position, wanted = position + len(found[-1]), wanted - len(found[-1])
        return torch.cat(found)

    def _fetch(self, shown: int) -> Batch:
        rng = generator(self.seed, "flip", shown, self.processes.rank)
        index = torch.cat([self.processes.part(piece) for piece in self.index(shown).chunk(self.turns)])
        batch = Batch(self.images.images(index, rng=rng), self.images.labels(index))
        return batch.pinned() if self.processes.device.type == "cuda" else batch

    def __call__(self, shown: int) -> Batch:
        """This process's images of the step after so many, on its device; starts to fetch those of the next."""
        if self._ahead is not None and self._ahead[0] == shown:
            batch = self._ahead[1].result()
        else:
            batch = self._thread.submit(self._fetch, shown).result()
        after = shown + self.size(shown)
        self._ahead = (after, self._thread.submit(self._fetch, after))
        batch = batch.to(self.processes.device)
        return Batch(to_float(batch.images), batch.labels)

    def close(self) -> None:
        """Stop fetching."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
