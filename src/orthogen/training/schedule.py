"""Learning rates over time, and when something that happens every so many images is due."""

__all__ = ["due", "rate_factor"]


def rate_factor(images: int, decay_from: int | None, end: int) -> float:
    """What both learning rates are multiplied by: 1, then from ``decay_from`` images linearly down to 0 at the end.

    Example:
        >>> [rate_factor(images, decay_from=100, end=200) for images in (0, 100, 150, 200)]
        [1.0, 1.0, 0.5, 0.0]
    """
    if decay_from is None or images <= decay_from:
        return 1.0
    return max(0.0, (end - images) / (end - decay_from)) if decay_from < end else 0.0


def due(every: int, before: int, after: int, end: int) -> bool:
    """Whether a step from ``before`` to ``after`` images passed a multiple of ``every``, or reached the end.

    Example:
        >>> [due(100, before, before + 64, end=320) for before in (0, 64, 128, 192, 256)]
        [False, True, False, True, True]
    """
    return after >= end or (every > 0 and after // every > before // every)
