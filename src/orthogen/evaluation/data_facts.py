"""What was found in a data set, and how it reads as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BINS", "BIN_NAMES", "GROUPS", "DataFacts", "group_of"]

GROUPS = ("tail", "medium", "head")
BINS = (100, 400)  # most images of a class of the tail, and of a medium one, as group spectral regularization's sampler
BIN_NAMES = (f"over {BINS[1]}", f"{BINS[0] + 1} to {BINS[1]}", f"at most {BINS[0]}")  # of head, medium and tail
LISTED = 20  # classes that the table has a line for; of more, those with most and with fewest images


def group_of(count: int) -> str:
    """The group of a class with so many images.

    Example:
        >>> [group_of(count) for count in (100, 101, 401)]
        ['tail', 'medium', 'head']
    """
    return GROUPS[sum(count > edge for edge in BINS)]


@dataclass(frozen=True)
class DataFacts:
    """What `orthogen.evaluation.inspecting.look_into` found; printed, it is a table.

    Attributes:
        images: how many.
        channels: 1 or 3.
        resolution: side, in pixels.
        classes: class names.
        counts: images of each class; empty where there are no labels.
        factors: name and size of each factor, where they are known.
        compared: images that were compared, pixel by pixel.
        copies: for each image that is like an earlier one: its index, and that of the first like it.
        decoded: bytes that all images take, as uint8.
        batch: images of a training batch.
        batch_bytes: bytes that a batch takes, as float32.
        warnings: what is wrong, a line each.
    """

    images: int
    channels: int
    resolution: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    factors: tuple[tuple[str, int], ...]
    compared: int
    copies: tuple[tuple[int, int], ...]
    decoded: int
    batch: int
    batch_bytes: int
    warnings: tuple[str, ...]

    @property
    def rho(self) -> float | None:
        """Images of the largest class by those of the smallest one that has any; None where there are no classes."""
        there = [count for count in self.counts if count]
        return max(there) / min(there) if there else None

    @property
    def summary(self) -> str:
        """The set in one line.

        Example:
            >>> DataFacts(5, 3, 32, ("a", "b"), (4, 1), (), 5, (), 15360, 64, 786432, ()).summary
            '5 images, 32 x 32 RGB, 2 classes, imbalance ratio 4'
        """
        parts = [
            f"{self.images:,} images",
            f"{self.resolution} x {self.resolution} {'gray' if self.channels == 1 else 'RGB'}",
        ]
        if self.counts:
            parts += [f"{len(self.counts):,} class{'es' if len(self.counts) > 1 else ''}"]
            parts += [f"imbalance ratio {self.rho:.4g}"] if self.rho else []
        parts += [", ".join(f"{name} {size}" for name, size in self.factors)] if self.factors else []
        return ", ".join(parts)

    def __str__(self) -> str:
        """A table."""
        some = "" if self.compared == self.images else f" of {self.images:,}, evenly spaced"
        found = "1 copy" if len(self.copies) == 1 else f"{len(self.copies):,} copies" if self.copies else "no copies"
        about = [
            ("decoded", f"{_size(self.decoded)} as uint8, in memory or on a GPU"),
            ("a batch", f"{_size(self.batch_bytes)} for {self.batch} images as float32; networks take more"),
            ("compared", f"{self.compared:,} images{some}: {found}" if self.compared else "nothing"),
        ]
        lines = [self.summary, "", *self._classes(), *self._groups(), *_aligned(about, "<<")]
        return "\n".join(lines + [f"warning: {line}" for line in self.warnings])

    def _classes(self) -> list[str]:
        """A line for each class, or for those with most and with fewest images."""
        if not self.counts:
            return []
        shown = list(range(len(self.counts)))
        if len(shown) > LISTED:
            shown.sort(key=lambda label: -self.counts[label])
            shown[LISTED // 2 : -LISTED // 2] = []
        rows = [
            (str(label), self.classes[label], f"{self.counts[label]:,}", f"{self.counts[label] / self.images:.2%}")
            for label in shown
        ]
        lines = _aligned([("class", "name", "images", "share"), *rows], "><>>")
        if len(shown) < len(self.counts):
            lines.insert(1 + LISTED // 2, f"... {len(self.counts) - LISTED:,} classes between")
        return [*lines, ""]

    def _groups(self) -> list[str]:
        """A line for each group of classes."""
        rows = []
        for group, what in zip(reversed(GROUPS), BIN_NAMES, strict=True):
            inside = [count for count in self.counts if group_of(count) == group]
            rows.append(
                (
                    group,
                    f"{what} images",
                    f"{len(inside):,} class{'' if len(inside) == 1 else 'es'},",
                    f"{sum(inside):,} images in all",
                )
            )
        return [*_aligned(rows, "<<>>"), ""] if self.counts else []


def _aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; ``sides`` has ``<`` or ``>`` for each.

    Example:
        >>> _aligned([("a", "1"), ("bc", "23")], "<>")
        ['a    1', 'bc  23']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def _size(count: int) -> str:
    """Bytes in the unit that fits.

    Example:
        >>> _size(786432), _size(3 * 2**30)
        ('768.0 KiB', '3.0 GiB')
    """
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:,.1f} {unit}" if unit != "bytes" else f"{count} bytes"
