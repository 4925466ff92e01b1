"""Ways to see images: where the features and class logits of image scores come from."""

from collections.abc import Callable
from typing import Any

from orthogen.core import catalogue
from orthogen.core.kinds import Extractor

__all__ = ["as_extractor"]


def as_extractor(given: Extractor | type[Extractor] | Callable[..., Any] | str | None) -> Extractor:
    """What was meant by it: an extractor, a function or module, ``my_file.py:make``, a name; Inception if None.

    Raises:
        ValueError: no extractor has that name.
        TypeError: it is none of these.

    Example:
        >>> as_extractor(None)
        Inception(weights=None)
        >>> as_extractor("my_file.py:make")
        Custom(make='my_file.py:make')
    """
    from orthogen.extractors._callable import Given
    from orthogen.extractors.custom import Custom
    from orthogen.extractors.inception import Inception

    if given is None:
        return Inception()
    if isinstance(given, str) and given.rpartition(":")[0].endswith(".py"):
        return Custom(given)
    if isinstance(given, str):
        try:
            given = catalogue.find(given, "extractors").load()
        except KeyError:
            names = ", ".join(entry.name for entry in catalogue.entries("extractors"))
            raise ValueError(f"no extractor is called {given!r}; there are {names}, or give my_file.py:make") from None
    if isinstance(given, type) and issubclass(given, Extractor):
        given = given()
    if isinstance(given, Extractor):
        return given
    if isinstance(given, type) or not callable(given):
        raise TypeError(
            f"an extractor was given as {given!r}; an Extractor, a function of images, or my_file.py:make is needed"
        )
    return Given(given)
