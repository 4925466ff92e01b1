"""Two files of scores side by side; scores of different protocols are not subtracted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from orthogen.core.score import Score
from orthogen.core.score_file import plain, read

__all__ = ["Comparison", "Pair", "compare", "difference"]


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _fields(score: Score) -> dict[str, Any]:
    return {"n": score.n, **dict(_flat(plain(score.protocol)))}


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], despite: Sequence[str] = ()) -> list[str]:
    """The fields in which two descriptions differ, in words."""
    found = []
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name) and not any(name == x or name.startswith(f"{x}.") for x in despite):
            found.append(f"{name}: {_shown(ours.get(name))} against {_shown(theirs.get(name))}")
    return found


def _minus(a: Score, b: Score) -> Score:
    known = a.stderr is not None and b.stderr is not None
    return Score(b.value - a.value, (a.stderr**2 + b.stderr**2) ** 0.5 if known else None, name=a.name)  # type: ignore[operator]


def difference(a: Score, b: Score, *, despite: Sequence[str] = ()) -> Score:
    """``b - a`` of two scores of one protocol, as independent measurements.

    The standard error is sqrt(ea^2 + eb^2); it is None where one of the two has none. `Score.interval_95` of the result
    is the difference's interval. `Score.about` (which checkpoint, which seed) may differ.

    Args:
        a: one score.
        b: the other.
        despite: fields of the protocol that may differ all the same, such as ``"versions"``, or ``"n"``.

    Raises:
        ValueError: the names or the protocols differ; the message says in which fields.

    Example:
        >>> a, b = Score(0.30, 0.03, 1000, "MIG", {"bins": 20}), Score(0.42, 0.04, 1000, "MIG", {"bins": 20})
        >>> print(difference(a, b))
        MIG 0.12 ± 0.05
    """
    if a.name != b.name:
        raise ValueError(f"{a.name!r} and {b.name!r} are different scores; compare scores of one name")
    if found := _differing(_fields(a), _fields(b), despite):
        raise ValueError(f"{a.name} was measured by different protocols: {'; '.join(found)}")
    return _minus(a, b)


@dataclass(frozen=True)
class Pair:
    """One line of a comparison: a score, or a part of one that has a standard error of its own."""

    name: str
    a: Score
    b: Score
    difference: Score

    @property
    def about(self) -> str:
        """In what the subjects differ, in words: the checkpoint, the seed; empty where they do not."""
        return "; ".join(_differing(_about(self.a), _about(self.b)))


@dataclass(frozen=True)
class Comparison:
    """What two files have in common.

    Attributes:
        pairs: scores of one protocol, with their difference.
        refused: one line for each score whose protocols differ.
        only_a: names of scores that the first alone has.
        only_b: names of scores that the second alone has.
    """

    pairs: tuple[Pair, ...]
    refused: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def _about(score: Score) -> dict[str, Any]:
    return dict(_flat(plain(score.about)))


def _pairs(a: Score, b: Score, minus: Score) -> Iterator[Pair]:
    yield Pair(a.name, a, b, minus)
    theirs = dict(b.named_parts())
    for name, ours in a.named_parts():
        if name in theirs:
            yield Pair(f"{a.name}: {ours.name}", ours, theirs[name], _minus(ours, theirs[name]))


def _matches(ours: list[Score], theirs: list[Score], despite: Sequence[str]) -> Iterator[tuple[Score, Score]]:
    """Scores of one name, closest first: of one protocol and subject, of one protocol, of any; newest first."""
    for close in (
        lambda a, b: not _differing(_fields(a), _fields(b), despite) and not _differing(_about(a), _about(b)),
        lambda a, b: not _differing(_fields(a), _fields(b), despite),
        lambda a, b: True,
    ):
        for a in reversed(list(ours)):
            found = [b for b in theirs if b.name == a.name and close(a, b)]
            if found:
                ours.remove(a)
                theirs.remove(found[-1])
                yield a, found[-1]


def compare(a: str | Path, b: str | Path, *, despite: Sequence[str] = ()) -> Comparison:
    """Lay two files of scores side by side, with each difference's interval.

    A score is set against the one of the same name and protocol in the other file: against that of the same checkpoint
    and seed where there is one, else the one measured last. Where there is one of that name but of another protocol
    only, the pair is refused, with the fields that differ.

    Args:
        a: a ``scores.json``, or a run folder.
        b: another.
        despite: fields of the protocol that may differ all the same.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: one of them is damaged, or no protocol has a field of ``despite``.
    """
    ours, theirs = read(a), read(b)
    fields = {name for score in (*ours, *theirs) for name in _fields(score)}
    for field in despite:
        if not any(name == field or name.startswith(f"{field}.") for name in fields):
            near = get_close_matches(field, fields | {name.partition(".")[0] for name in fields}, n=3, cutoff=0.5)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise ValueError(f"no protocol here has a field {field!r}{hint}")
    order = {id(score): i for i, score in enumerate(ours)}
    pairs: list[Pair] = []
    refused: list[str] = []
    for one, other in sorted(_matches(ours, theirs, despite), key=lambda match: order[id(match[0])]):
        try:
            pairs += _pairs(one, other, difference(one, other, despite=despite))
        except ValueError as error:
            refused.append(str(error))
    return Comparison(
        tuple(pairs), tuple(refused), tuple(score.name for score in ours), tuple(score.name for score in theirs)
    )
