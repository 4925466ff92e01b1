"""What is said where a data set's files are not: where to get them, and that they may lie anywhere."""

from pathlib import Path

__all__ = ["missing"]


def missing(owner: str, path: str | Path, needed: str) -> FileNotFoundError:
    """The error for a path that was not given or does not exist.

    Args:
        owner: the data set's class.
        path: what was given.
        needed: what to give, and where it is published.

    Example:
        >>> print(missing("Kittens", "", "the file kittens.zip of example.org"))
        Kittens: no path was given; give the file kittens.zip of example.org, wherever it lies, as
            Kittens(path=...), or Kittens:PATH on the command line
    """
    found = f"{path} does not exist" if str(path) else "no path was given"
    how = f"{owner}(path=...), or {owner}:PATH on the command line"
    return FileNotFoundError(f"{owner}: {found}; give {needed}, wherever it lies, as {how}")
