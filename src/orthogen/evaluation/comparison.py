"""Two files of scores side by side; scores of different protocols are not subtracted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthogen.core.score import Score
from orthogen.evaluation.files import plain, read

__all__ = ["Comparison", "Pair", "compare", "difference"]

NORMAL_95 = 1.959963984540054  # the normal quantile of a two-sided interval of 95 %


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


def _differing(a: Score, b: Score, despite: Sequence[str]) -> list[str]:
    """The fields in which two protocols differ, in words."""
    ours, theirs = _fields(a), _fields(b)
    found = []
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name) and not any(name == x or name.startswith(f"{x}.") for x in despite):
            found.append(f"{name}: {_shown(ours.get(name))} against {_shown(theirs.get(name))}")
    return found


def _minus(name: str, a: float, a_error: float | None, b: float, b_error: float | None) -> Score:
    known = a_error is not None and b_error is not None
    error = (a_error**2 + b_error**2) ** 0.5 if known else None  # type: ignore[operator]
    interval = None if error is None else [b - a - NORMAL_95 * error, b - a + NORMAL_95 * error]
    return Score(b - a, error, name=name, parts={"interval_95": interval})


def difference(a: Score, b: Score, *, despite: Sequence[str] = ()) -> Score:
    """``b - a`` of two scores of one protocol, as independent measurements.

    The standard error is sqrt(ea^2 + eb^2), and ``parts["interval_95"]`` is the difference ± 1.96 of it; both are None
    where one of the two has no standard error. `Score.about` (which checkpoint, which seed) may differ.

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
    if found := _differing(a, b, despite):
        raise ValueError(f"{a.name} was measured by different protocols: {'; '.join(found)}")
    return _minus(a.name, a.value, a.stderr, b.value, b.stderr)


@dataclass(frozen=True)
class Pair:
    """One line of a comparison: a score, or a part of one that has a standard error of its own."""

    name: str
    a: Score
    b: Score
    difference: Score


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


def _pairs(a: Score, b: Score, minus: Score) -> Iterator[Pair]:
    yield Pair(a.name, a, b, minus)
    for (name, ours), (_, theirs) in zip(a.named_parts(), b.named_parts(), strict=False):
        yield Pair(
            f"{a.name}: {name}", ours, theirs, _minus(name, ours.value, ours.stderr, theirs.value, theirs.stderr)
        )


def compare(a: str | Path, b: str | Path, *, despite: Sequence[str] = ()) -> Comparison:
    """Lay two files of scores side by side, with each difference's interval.

    A score is set against the one of the same name and protocol in the other file. Where there is one of that name but
    of another protocol, the pair is refused, with the fields that differ.

    Args:
        a: a ``scores.json``, or a run folder.
        b: another.
        despite: fields of the protocol that may differ all the same.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: one of them is damaged.
    """
    ours, theirs = read(a), read(b)
    matched: list[tuple[Score, Score]] = []
    for agree in (True, False):  # those of one protocol find each other first
        for score in list(ours):
            same = [other for other in theirs if other.name == score.name]
            same.sort(key=lambda other: len(_differing(score, other, despite)))
            if same and not (agree and _differing(score, same[0], despite)):
                matched.append((score, same[0]))
                ours.remove(score)
                theirs.remove(same[0])
    pairs: list[Pair] = []
    refused: list[str] = []
    for one, other in matched:
        try:
            pairs += _pairs(one, other, difference(one, other, despite=despite))
        except ValueError as error:
            refused.append(str(error))
    return Comparison(
        tuple(pairs), tuple(refused), tuple(score.name for score in ours), tuple(score.name for score in theirs)
    )
