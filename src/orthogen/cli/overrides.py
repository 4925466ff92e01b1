"""A recipe's own typed fields as command-line options: ``--objective.terms.orojar.weight 1e-3``.

The recipe is a tree of frozen dataclasses and mappings. Its leaves become one flat set of options, which tyro parses by
their declared types; the changed leaves are then put back into a new tree.
"""

import contextlib
import dataclasses
import inspect
import io
import itertools
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

__all__ = ["Leaf", "leaves", "override", "switched"]

T = TypeVar("T")
FIXED = ("name", "claims", "departures")  # they describe the recipe and change nothing


@dataclass(frozen=True)
class Leaf:
    """One setting: its dotted path, declared type and value, and what its class says about it."""

    path: str
    hint: Any
    value: Any
    about: str = ""

    @property
    def flag(self) -> str:
        """As it is given on the command line."""
        return "--" + self.path.replace("_", "-")


def _about(kind: type) -> dict[str, str]:
    """What the ``Attributes`` sections of a class and of those it is derived from say about each."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        _, _, section = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
        section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
        entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, flags=re.MULTILINE)
        found |= {name: " ".join(text.split()) for name, text in entries}
    return found


def _typed(hint: Any) -> Any:
    """The part of a union that words can give: a penalty or its name is here a name."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    kept = [option for option in options if not inspect.isabstract(option)]
    return typing.Union[tuple(kept)] if str in kept and len(kept) < len(options) else hint  # noqa: UP007 (any number)


def _children(value: Any) -> list[Leaf] | None:
    """What a node holds, one level down; None for what is no node."""
    if isinstance(value, Mapping):
        return [Leaf(str(key), type(item), item) for key, item in value.items()]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return None
    kind = type(value)
    if not kind.__dataclass_params__.init:  # type: ignore[attr-defined]
        return []  # its constructor has other arguments than its fields
    hints, about = typing.get_type_hints(kind), _about(kind)
    fields = [field for field in dataclasses.fields(value) if field.init]
    return [Leaf(f.name, _typed(hints[f.name]), getattr(value, f.name), about.get(f.name, "")) for f in fields]


def leaves(value: Any, prefix: str = "") -> Iterator[Leaf]:
    """Every setting below ``value``.

    Example:
        >>> from orthogen.training.recipe import Adam
        >>> [(leaf.path, leaf.value) for leaf in leaves(Adam())]
        [('lr', 0.0002), ('betas', (0.5, 0.999)), ('eps', 1e-08)]
    """
    for child in _children(value) or ():
        path = f"{prefix}{child.path}"
        if path in FIXED:
            continue
        if _children(child.value) is None:
            yield dataclasses.replace(child, path=path)
        else:
            yield from leaves(child.value, f"{path}.")


def _replaced(value: Any, changes: Mapping[tuple[str, ...], Any]) -> Any:
    """The tree with other leaves at these paths. A node is made once, with all of its changes, as they may belong
    together.
    """
    if () in changes:
        return changes[()]
    by_child: dict[str, dict[tuple[str, ...], Any]] = {}
    for (head, *rest), leaf in changes.items():
        by_child.setdefault(head, {})[tuple(rest)] = leaf
    if isinstance(value, Mapping):
        return {**value, **{head: _replaced(value[head], below) for head, below in by_child.items()}}
    children = {head: _replaced(getattr(value, head), below) for head, below in by_child.items()}
    return dataclasses.replace(value, **children)


def _said(printed: str) -> str:
    """What tyro says in its box, on one line: the text below the title, up to the rule after which it only helps."""

    def is_rule(row: str) -> bool:
        return set(row) <= set("─-")

    rows = [text for row in printed.splitlines() if (text := row.strip(" │╭╮╰╯"))]
    body = itertools.dropwhile(is_rule, rows[1:])  # below the title, which some terminals rule off
    return " ".join(itertools.takewhile(lambda row: not is_rule(row), body)) or "these options could not be read"


Switches = Mapping[str, inspect.Parameter]


def switched(
    switches: Switches, arguments: Sequence[str], usage: str = "orthogen train RECIPE"
) -> tuple[dict[str, Any], list[str]]:
    """The switches of a recipe's function that ``arguments`` set, by name, and the arguments that are left.

    Raises:
        ValueError: a value that the switch does not take.

    Example:
        >>> def recipe(*, norm: typing.Literal["batchnorm", "zca"] = "batchnorm", nog: bool = False): ...
        >>> switched(inspect.signature(recipe).parameters, ["--nog", "--norm", "zca", "--batch", "4"])
        ({'norm': 'zca', 'nog': True}, ['--batch', '4'])
    """
    if not switches or not arguments:
        return {}, list(arguments)
    import tyro

    options = [(name, each.annotation, field(default=each.default)) for name, each in switches.items()]
    asking = [argument for argument in arguments if argument not in ("-h", "--help")]
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        try:
            found: Any = tyro.cli(
                dataclasses.make_dataclass("Switches", options), args=asking, prog=usage, return_unknown_args=True
            )
        except SystemExit:
            raise ValueError(_said(printed.getvalue())) from None
    parsed, left = found
    chosen = {name: value for name, each in switches.items() if (value := getattr(parsed, name)) != each.default}
    return chosen, [*left, *(argument for argument in arguments if argument not in asking)]


def _switches_in_words(switches: Switches) -> str:
    def values(hint: Any) -> str:
        return f" {{{','.join(map(str, typing.get_args(hint)))}}}" if typing.get_origin(hint) is typing.Literal else ""

    named = [f"--{name.replace('_', '-')}{values(each.annotation)} ({each.default})" for name, each in switches.items()]
    return f" Switches, given before all else: {', '.join(named)}." if named else ""


def override(
    recipe: T,
    arguments: Sequence[str],
    usage: str = "orthogen train RECIPE",
    switches: Switches = types.MappingProxyType({}),
) -> T:
    """The recipe with the fields that ``arguments`` name changed; ``--help`` prints all of them, and the switches.

    Raises:
        ValueError: an unknown field (the message lists the nearest), a value that its type does not take, or a switch
            that hides a field.

    Example:
        >>> from orthogen.training.recipe import Adam
        >>> override(Adam(), ["--lr", "1e-3"]).lr
        0.001
    """
    found = list(leaves(recipe)) if arguments or switches else []
    flags = [leaf.flag for leaf in found]
    turned = [f"--{name.replace('_', '-')}" for name in switches]
    if hidden := set(turned).intersection(flags):
        raise ValueError(f"{usage.split()[-1]} has a switch {min(hidden)}, as a field is called; give it another name")
    if not arguments:
        return recipe
    import tyro

    for argument in arguments:
        name = argument.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in flags and name != "--help":
            near = get_close_matches(name, [*flags, *turned], n=3, cutoff=0.5)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise ValueError(f"{name} is no field of {usage.split()[-1]}{hint} ({usage} --help lists all)")
    options = [
        (f"option_{i}", Annotated[leaf.hint, tyro.conf.arg(name=leaf.path, help=leaf.about)], field(default=leaf.value))
        for i, leaf in enumerate(found)
    ]
    printed = io.StringIO()
    wants_help = "-h" in arguments or "--help" in arguments
    with contextlib.ExitStack() as stack:
        if not wants_help:
            stack.enter_context(contextlib.redirect_stderr(printed))
            stack.enter_context(contextlib.redirect_stdout(printed))  # no terminal, no colors
        try:
            parsed: Any = tyro.cli(
                dataclasses.make_dataclass("Options", options),
                args=list(arguments),
                prog=usage,
                description=f"Settings of {usage.split()[-1]}.{_switches_in_words(switches)}",
                config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
            )
        except SystemExit:
            if wants_help:
                raise
            raise ValueError(_said(printed.getvalue())) from None
    values = [getattr(parsed, f"option_{i}") for i in range(len(found))]
    changes = {tuple(leaf.path.split(".")): x for leaf, x in zip(found, values, strict=True) if x != leaf.value}
    return _replaced(recipe, changes) if changes else recipe
