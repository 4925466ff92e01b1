"""Penalties by name, for searches that take one."""

from orthogen.core import catalogue
from orthogen.core.kinds import Discovery, LatentPenalty

__all__ = ["penalty_of"]


def penalty_of(method: Discovery, penalty: LatentPenalty | str) -> LatentPenalty:
    """The penalty itself; by its name, with its defaults.

    Raises:
        TypeError: neither a penalty on latents nor the name of one.
    """
    who = type(method).__name__
    found = penalty
    if isinstance(found, str):
        try:
            found = catalogue.find(found, "regularizers").load()()
        except KeyError as error:
            raise TypeError(f"{who}: {error.args[0]}") from None
    if not isinstance(found, LatentPenalty):
        raise TypeError(f"{who} was given {penalty!r}; it takes a penalty on latents, such as OroJaR()")
    return found
