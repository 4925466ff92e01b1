"""Long loops say how far they are; whoever runs them decides whether anybody sees it."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["shown", "span", "track"]

T = TypeVar("T")
Show = Callable[[Iterable[Any], str, int | None], Iterator[Any]]

_SHOW: ContextVar[Show | None] = ContextVar("orthogen_progress", default=None)


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The same items, one by one; shown as progress of ``what`` where a display was set up with `shown`.

    Args:
        items: what to go through.
        what: a few words, such as ``"VP score, predictor 1 of 3"``.
        total: how many items there are; their length if None and they have one.

    Example:
        >>> [i * i for i in track(range(3), "squares")]
        [0, 1, 4]
    """
    show = _SHOW.get()
    if show is None:
        return iter(items)
    return show(items, what, len(items) if total is None and isinstance(items, Sized) else total)


@contextmanager
def shown(show: Show) -> Iterator[None]:
    """Within this context, what `track` goes through is handed to ``show(items, what, total)``.

    Example:
        >>> def count(items, what, total):
        ...     print(what, "of", total)
        ...     yield from items
        >>> with shown(count):
        ...     _ = list(track("ab", "letters"))
        letters of 2
    """
    token = _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.reset(token)


def span(seconds: float) -> str:
    """A time in the two units that matter.

    Example:
        >>> span(42.3), span(95.0), span(7300.0)
        ('42 s', '1 min', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"
