"""The members of a kind as the catalogue finds them: a file added to the package is added to these tests by that."""

import inspect
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from orthogen.core import catalogue
from orthogen.core.kinds import KINDS

FOLDER = {kind: folder for folder, kinds in KINDS.items() for kind in kinds}


def classes(folder: str) -> list[type[Any]]:
    """The public classes of a folder's files."""
    return [found for entry in catalogue.entries(folder) if inspect.isclass(found := entry.load())]


def members(kind: type[Any], example: type[Any] | None = None) -> list[ParameterSet]:
    """The members of a kind, as parameters.

    A kind that has no member yet is represented by an ``example`` of ours, which stays: a contract that never ran would
    be wrong on the day of the first member.
    """
    found = [pytest.param(member, id=member.__name__) for member in classes(FOLDER[kind]) if issubclass(member, kind)]
    if example is not None:
        found.append(pytest.param(example, id=f"{example.__name__} (example)"))
    return found
