"""Recipes as people read them: a sentence per term, and every setting by name, several runs side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Setting", "compare", "objective_lines", "phrase", "words"]

_GROUPS = ("model", "data", "objective")  # shown first, in this order
_REST = "training"
_APART = ("claims", "departures", "name")  # shown elsewhere on the page
_MANY = 40  # items of a list that are written out


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        name: what it is called; dotted below the group's name.
        values: in each run; empty where a run has no such setting.
        head: whether it opens a group.
        differs: whether the runs differ in it.
    """

    name: str
    values: tuple[str, ...]
    head: bool
    differs: bool


def _type(data: Mapping[str, Any]) -> str:
    return str(data["type"]).rpartition(":")[2].rpartition(".")[2]


def words(value: Any) -> str:
    """A plain value in words.

    Example:
        >>> [words(v) for v in (88000, 1e-11, True, None, ["a", "b"], [])]
        ['88,000', '1e-11', 'yes', 'none', 'a, b', 'none']
        >>> words([[0.0] * 30] * 30)
        'a table of 30 rows'
    """
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        if len(value) > 4 and all(isinstance(row, list | tuple) for row in value):
            return f"a table of {len(value)} rows"
        left = f", ... ({len(value):,} in all)" if len(value) > _MANY else ""
        return ", ".join(map(words, value[:_MANY])) + left
    if isinstance(value, Mapping):
        return phrase(value)
    return str(value)


def phrase(data: Any) -> str:
    """A recorded object as it would be written, without what is none or empty.

    Example:
        >>> phrase({"type": "a:OroJaR", "k": 2, "derivative": {"type": "b:FiniteDifference", "step": 0.1}})
        'OroJaR(k=2, derivative=FiniteDifference(step=0.1))'
    """
    if not isinstance(data, Mapping):
        return words(data)
    said = {key: value for key, value in data.items() if key != "type" and value not in (None, [], {})}
    fields = ", ".join(f"{key}={phrase(value)}" for key, value in said.items())
    return f"{_type(data)}({fields})" if "type" in data else f"({fields})"


def objective_lines(recipe: Mapping[str, Any]) -> list[str]:
    """What was minimized: the adversarial loss, then a line per term and rule.

    Example:
        >>> term = {"type": "t:Term", "penalty": {"type": "r:R1"}, "weight": 0.05, "every": 16, "layers": []}
        >>> objective_lines({"objective": {"loss": {"type": "a:NonSaturating"}, "terms": {"r1": term}}})
        ['NonSaturating()', '+ 0.05 × R1(), every 16 steps']
    """
    objective = recipe.get("objective")
    if not isinstance(objective, Mapping):
        return []
    lines = [phrase(objective["loss"])] if "loss" in objective else []
    for term in _values(objective.get("terms")):
        if not isinstance(term, Mapping):
            continue
        line = f"+ {words(term.get('weight', 1))} × {phrase(term.get('penalty'))}"
        if term.get("layers"):
            line += f" on {words(term['layers'])}"
        if term.get("batch"):
            line += f", {words(term['batch'])} latents"
        if term.get("every", 1) != 1:
            line += f", every {words(term['every'])} steps"
        if term.get("start"):
            line += f", from {words(term['start'])} images on"
        if term.get("ramp"):
            line += f", rising over {words(term['ramp'])} images"
        lines.append(line)
    rules = [f"with {phrase(rule)}" for rule in _values(objective.get("rules"))]
    augmentation = objective.get("augmentation")
    return [*lines, *rules, *([f"behind {phrase(augmentation)}"] if augmentation else [])]


def _values(data: Any) -> list[Any]:
    return list(data.values()) if isinstance(data, Mapping) else []


def _leaves(data: Any, name: str) -> dict[str, str]:
    """Every value by its dotted name, an object's class standing at the object's own name."""
    if not isinstance(data, Mapping):
        return {name: words(data)}
    found = {name: _type(data)} if "type" in data else {}
    for key, value in data.items():
        if key != "type":
            found |= _leaves(value, f"{name}.{key}" if name else str(key))
    return found or {name: "none"}


def compare(recipes: Sequence[Mapping[str, Any]]) -> list[Setting]:
    """All settings of all runs, in the recipe's order; what a run lacks is an empty string.

    Example:
        >>> [s.name for s in compare([{"batch": 64, "seed": 0}, {"batch": 64, "seed": 1}]) if s.differs]
        ['seed']
    """
    columns = [_leaves({key: value for key, value in r.items() if key not in (*_APART, "type")}, "") for r in recipes]
    names = list(dict.fromkeys(name for column in columns for name in column if name))
    order = (*_GROUPS, _REST)
    groups: dict[str, list[Setting]] = {group: [] for group in order}
    for name in names:
        group, _, below = name.partition(".")
        if group not in _GROUPS:
            group, below = _REST, name
        values = tuple(column.get(name, "") for column in columns)
        groups[group].append(Setting(below or name, values, head=not below, differs=len(set(values)) > 1))
    if groups[_REST] and len(groups[_REST]) < len(names):
        groups[_REST].insert(0, Setting(_REST, ("",) * len(columns), head=True, differs=False))
    return [row for group in order for row in groups[group]]
