"""The lists of modules that describe a `VcGenerator`, as in the released code: their grammar and their layers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["LISTS", "Layer", "Part", "layers", "parse"]

KINDS = ("Conv-up", "Conv-id", "Conv-down", "Noise", "C_global", "C_nocond_global", "D_global")
GRAMMAR = f"{', '.join(f'{kind}-n' for kind in KINDS)}, with whole numbers n, separated by commas"
SIDE, CHANNELS = 4, 8  # of the constant that it begins with

# that of the released script, and those of a note that was deleted from the release
LISTS = {
    "celeba_30": "Conv-up-1, C_global-10, Conv-id-2, Noise-2, Conv-up-1, C_global-10, Conv-id-1, Noise-2, Conv-up-1, "
    "C_global-5, Conv-id-2, Noise-2, Conv-id-1, Noise-2, Conv-up-1, C_global-5, Conv-id-1, Noise-2, Conv-id-2, "
    "Conv-up-1, Conv-id-1",
    "celeba_14": "Conv-up-1, C_global-14, Conv-id-1, Conv-id-1, Noise-2, Conv-up-1, Conv-id-1, Noise-2, Conv-up-1, "
    "Conv-id-1, Conv-id-1, Noise-2, Conv-id-1, Noise-2, Conv-up-1, Conv-id-1, Noise-2, Conv-id-1, Conv-id-1, "
    "Conv-up-1, Conv-id-1",
    "mnist": "D_global-10, Conv-up-1, C_global-6, Conv-id-1, Conv-id-1, Noise-2, Conv-up-1, Conv-id-1, Conv-id-1, "
    "Noise-2, Conv-up-1, Conv-id-1, Conv-id-1",
    "dsprites": "D_global-3, Conv-up-1, C_global-6, Conv-id-1, Conv-id-1, Conv-up-1, Conv-id-1, Conv-id-1, Conv-up-1, "
    "Conv-id-1, Conv-id-1, Conv-up-1, Conv-id-1",
}


@dataclass(frozen=True)
class Part:
    """A module of the list.

    Attributes:
        kind: one of `KINDS`.
        count: how many layers, coordinates (C_global, C_nocond_global) or classes (D_global) it has.
    """

    kind: str
    count: int

    @property
    def coordinates(self) -> int:
        """How many coordinates of the latent it takes."""
        return self.count if self.kind in ("C_global", "C_nocond_global") else 0

    @property
    def repeats(self) -> int:
        """How many layers it has."""
        return min(self.count, 1) if self.kind.endswith("global") else self.count


def parse(modules: str | Sequence[str]) -> tuple[Part, ...]:
    """The parts of a list, as one text or part by part, or of a list known by its name.

    Raises:
        ValueError: a part is none; the message names it and shows what there is.

    Example:
        >>> parse("Conv-up-1, C_global-10")
        (Part(kind='Conv-up', count=1), Part(kind='C_global', count=10))
        >>> parse("Conv-op-1")
        Traceback (most recent call last):
        ValueError: VcGenerator(modules): 'Conv-op-1' is no module; give Conv-up-n, Conv-id-n, ...
    """
    parts = []
    for token in LISTS.get(modules, modules).split(",") if isinstance(modules, str) else modules:
        word = str(token).strip()  # a file may hold anything
        match = re.fullmatch(rf"({'|'.join(KINDS)})-([0-9]{{1,9}})", word)
        if match is None:
            raise ValueError(
                f"VcGenerator(modules): {word!r} is no module; give {GRAMMAR}, or one of the lists {', '.join(LISTS)}"
            )
        parts.append(Part(match[1], int(match[2])))
    return tuple(parts)


@dataclass(frozen=True)
class Layer:
    """A convolution of the generator.

    Attributes:
        index: of its module in the list.
        kind: of the module.
        repeat: which of the module's layers it is.
        before: channels that come in.
        after: channels that go out.
        side: of what goes out, in pixels.
        columns: of the latent that it takes; empty for most.
    """

    index: int
    kind: str
    repeat: int
    before: int
    after: int
    side: int
    columns: slice


def layers(
    parts: Sequence[Part], width: int, decay: float, min_width: int, global_width: int, *, skip_classes: bool
) -> Iterator[Layer]:
    """The convolutions of a list, from the first to the last, without the one that makes the image.

    Module i has ``width`` / 2^(decay i) channels, rounded down, and ``min_width`` at least; a C_global has
    ``global_width``. A module of count 0 is left out, and counts as one of the list.

    Args:
        parts: the list.
        width: channels of the first module.
        decay: how fast the channels become fewer, per module.
        min_width: the fewest channels.
        global_width: channels of each C_global.
        skip_classes: whether D_global has no convolution, as where classes have constants of their own.

    Raises:
        ValueError: the side falls below 1 pixel.
    """
    before, side, column = CHANNELS, SIDE, 0
    for index, part in enumerate(parts):
        if skip_classes and part.kind == "D_global":
            continue
        narrowed = min(width, max(min_width, int(width * 2.0 ** -(decay * index))))
        after = global_width if part.kind == "C_global" else narrowed
        columns = slice(column, column + part.coordinates)
        for repeat in range(part.repeats):
            if part.kind == "Conv-down" and side == 1:
                raise ValueError(
                    f"VcGenerator(modules): module {index}, {part.kind}-{part.count}, halves the side of a single "
                    "pixel; give it more pixels, or leave it out"
                )
            side = {"Conv-up": 2 * side, "Conv-down": side // 2}.get(part.kind, side)
            yield Layer(index, part.kind, repeat, before, after, side, columns)
            before = after
        column = columns.stop
