"""A number that a paper gives for a recipe."""

from dataclasses import dataclass

__all__ = ["Claim"]


@dataclass(frozen=True)
class Claim:
    """A number of the paper, with the table it stands in and the tolerance at which we call it reproduced."""

    metric: str
    value: float
    tolerance: float
    source: str
