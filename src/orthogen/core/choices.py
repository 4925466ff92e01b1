"""Fields that take one of a few words."""

import typing

__all__ = ["check_choices"]


def check_choices(value: object) -> None:
    """Refuse a dataclass with a word that the ``Literal`` type of its field does not have.

    Raises:
        ValueError: the message names the field, the word and what is accepted.
    """
    for name, hint in typing.get_type_hints(type(value)).items():
        if typing.get_origin(hint) is typing.Literal and getattr(value, name) not in typing.get_args(hint):
            accepted = " or ".join(map(repr, typing.get_args(hint)))
            raise ValueError(f"{type(value).__name__}({name}={getattr(value, name)!r}): {accepted} is accepted")
