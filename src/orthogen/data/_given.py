"""Data sets by name, for those that are made of another one."""

from typing import Any

from orthogen.core import catalogue
from orthogen.core.kinds import Data

__all__ = ["given_data"]


def given_data(owner: str, data: Data | str, needed: str) -> Data:
    """The data set itself; by its name, with its defaults.

    Args:
        owner: who was given it, for messages.
        data: a data set or its name.
        needed: what it should be, in words.

    Raises:
        TypeError: neither a data set nor the name of one.
    """
    found: Any = data
    if isinstance(found, str):
        try:
            found = catalogue.find(found, "data").load()()
        except KeyError as error:
            raise TypeError(f"{owner}: {error.args[0]}; give {needed}") from None
    if not isinstance(found, Data):
        raise TypeError(f"{owner} was given {found!r}; give {needed}")
    return found
