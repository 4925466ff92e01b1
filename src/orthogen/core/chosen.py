"""Weights chosen by name, through whatever the module is wrapped in."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

__all__ = ["chosen"]

_COMPILED = "_orig_mod"  # what torch.compile puts into names
_PARALLEL = "module."  # what DataParallel and DistributedDataParallel put before them


def chosen(module: nn.Module, patterns: Sequence[str], who: str) -> dict[str, nn.Parameter]:
    """The weights of ``module`` that the names stand for: parameters of two or more dimensions, in the module's order.

    A name is that of a parameter, or of a part, which stands for all weights in it; in either ``*``, ``?`` and
    ``[...]`` are wildcards. Names are the same whether or not the module is compiled, runs in parallel or is
    parametrized: ``conv.weight`` also finds ``module.conv.weight``, ``_orig_mod.conv.weight`` and
    ``conv.parametrizations.weight.original``. No name at all stands for the first weight.

    Args:
        module: any module.
        patterns: names; each has to be found.
        who: what chooses, for the message.

    Raises:
        ValueError: a name stands for nothing, or for biases and gains alone; or the module has no weights.
        TypeError: one string in place of a sequence of them.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))
        >>> list(chosen(net, (), "a rule")), list(chosen(net, ("2", "0.wei*"), "a rule"))
        (['0.weight'], ['0.weight', '2.weight'])
        >>> chosen(net, ("weight",), "a rule")
        Traceback (most recent call last):
        ValueError: a rule: no parameter or part of Sequential is named 'weight'; near it are '2.weight', '0.weight'
    """
    if isinstance(patterns, str):
        raise TypeError(f"{who}: {patterns!r} is one string; give a tuple of names, such as ({patterns!r},)")
    named = list(module.named_parameters(remove_duplicate=False))
    parallel = bool(named) and all(_without_compiled(name).startswith(_PARALLEL) for name, _ in named)
    every = {_plain(name, parallel): (name, parameter) for name, parameter in named}
    weights = [name for name, (_, parameter) in every.items() if parameter.dim() >= 2]
    if not weights:
        raise ValueError(f"{who}: {type(module).__name__} has no parameter of two or more dimensions")

    names = set() if patterns else {weights[0]}
    for pattern in patterns:
        found = {name for name in every if _matches(pattern, name) or _matches(pattern, every[name][0])}
        if not found:
            known = dict.fromkeys(part for name in weights for part in _parts(name))
            near = get_close_matches(pattern, known, n=3, cutoff=0.5) or weights[:3]
            raise ValueError(
                f"{who}: no parameter or part of {type(module).__name__} is named {pattern!r}; "
                f"near it are {', '.join(map(repr, near))}"
            )
        if found.isdisjoint(weights):
            raise ValueError(
                f"{who}: {pattern!r} has no parameter of two or more dimensions; such are "
                f"{', '.join(map(repr, weights[:3]))}"
            )
        names |= found

    result: dict[str, nn.Parameter] = {}
    seen: set[int] = set()  # a weight that stands at two places is one weight
    for name in weights:
        parameter = every[name][1]
        if name in names and id(parameter) not in seen:
            result[name] = parameter
            seen.add(id(parameter))
    return result


def _without_compiled(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def _plain(name: str, parallel: bool) -> str:
    """The name without what wrappers and parametrizations put into it."""
    plain = _without_compiled(name)
    if parallel:
        plain = plain.removeprefix(_PARALLEL)
    match plain.split("."):
        case [*owner, "parametrizations", tensor, "original"]:
            return ".".join([*owner, tensor])
    return plain


def _parts(name: str) -> list[str]:
    """``a.b.weight``: a, a.b and a.b.weight."""
    words = name.split(".")
    return [".".join(words[: n + 1]) for n in range(len(words))]


def _matches(pattern: str, name: str) -> bool:
    return any(fnmatchcase(part, pattern) for part in _parts(name))
