"""Learning rates over time, and when something that happens every so many images is due."""

from collections.abc import Sequence

__all__ = ["due", "linear_decay", "milestones"]


def linear_decay(images: int, begin: int | None, end: int) -> float:
    """A factor of 1, then from ``begin`` images linearly down to 0 at the end.

    Example:
        >>> [linear_decay(images, begin=100, end=200) for images in (0, 100, 150, 200)]
        [1.0, 1.0, 0.5, 0.0]
    """
    if begin is None or images <= begin:
        return 1.0
    return max(0.0, (end - images) / (end - begin)) if begin < end else 0.0


def milestones(images: int, drops: Sequence[int], drop: float) -> float:
    """A factor of 1, multiplied by ``drop`` at each of ``drops``.

    Example:
        >>> [milestones(images, drops=(100, 200), drop=0.5) for images in (99, 100, 250)]
        [1.0, 0.5, 0.25]
    """
    return drop ** sum(images >= each for each in drops)


def due(every: int, before: int, after: int, end: int) -> bool:
    """Whether a step from ``before`` to ``after`` images passed a multiple of ``every``, or reached the end.

    Example:
        >>> [due(100, before, before + 64, end=320) for before in (0, 64, 128, 192, 256)]
        [False, True, False, True, True]
    """
    return after >= end or (every > 0 and after // every > before // every)
