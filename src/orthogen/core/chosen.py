"""Weights and layers chosen by name, through whatever the module is wrapped in."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from orthogen.core.conditioning import matrix_of
from orthogen.core.untouched import evaluating

__all__ = ["chosen", "chosen_layers"]

_COMPILED = "_orig_mod"  # what torch.compile puts into names
_PARALLEL = "module"  # what DataParallel and DistributedDataParallel put into them


def chosen(module: nn.Module, patterns: Sequence[str], who: str, *, learned: bool = False) -> dict[str, nn.Parameter]:
    """The weights of ``module`` that the names stand for: parameters of two or more dimensions, in the module's order.

    A name is that of a parameter, or of a part, which stands for all weights in it; in either ``*``, ``?`` and
    ``[...]`` are wildcards. Names are the same whether or not the module is compiled, runs in parallel or is
    parametrized: ``conv.weight`` also finds ``module.conv.weight``, ``_orig_mod.conv.weight`` and
    ``conv.parametrizations.weight.original``. No name at all stands for the first weight.

    Args:
        module: any module.
        patterns: names; each has to be found.
        who: what chooses, for the message.
        learned: leave out weights that do not require a gradient.

    Raises:
        ValueError: a name stands for nothing, or for biases, gains and frozen weights alone; or the module has no
            weights.
        TypeError: one string in place of a sequence of them.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))
        >>> list(chosen(net, (), "a rule")), list(chosen(net, ("2", "0.wei*"), "a rule"))
        (['0.weight'], ['0.weight', '2.weight'])
        >>> chosen(net, ("weight",), "a rule")
        Traceback (most recent call last):
        ValueError: a rule: no parameter or part of Sequential is named 'weight'; near it are '2.weight', '0.weight'
    """
    _no_string(patterns, who)
    every = {_plain(module, name): (name, p) for name, p in module.named_parameters(remove_duplicate=False)}
    weights = [name for name, (_, p) in every.items() if p.dim() >= 2 and (p.requires_grad or not learned)]
    kind = "learned parameter of two or more dimensions" if learned else "parameter of two or more dimensions"
    if not weights:
        raise ValueError(f"{who}: {type(module).__name__} has no {kind}")

    names = set() if patterns else {weights[0]}
    for pattern in patterns:
        found = {name for name in every if _matches(pattern, name) or _matches(pattern, every[name][0])}
        if not found:
            known = dict.fromkeys(part for name in weights for part in _parts(name))
            near = get_close_matches(pattern, known, n=3, cutoff=0.5) or weights[:3]
            raise ValueError(
                f"{who}: no parameter or part of {type(_unwrapped(module)).__name__} is named {pattern!r}; "
                f"near it are {', '.join(map(repr, near))}"
            )
        if found.isdisjoint(weights):
            raise ValueError(f"{who}: {pattern!r} has no {kind}; such are {', '.join(map(repr, weights[:3]))}")
        names |= found

    result: dict[str, nn.Parameter] = {}
    seen: set[int] = set()  # a weight that stands at two places is one weight
    for name in weights:
        parameter = every[name][1]
        if name in names and id(parameter) not in seen:
            result[name] = parameter
            seen.add(id(parameter))
    return result


def chosen_layers(module: nn.Module, patterns: Sequence[str], who: str) -> dict[str, nn.Module]:
    """The layers with a matrix for a weight that the names stand for; the first of all if there is no name.

    Raises:
        ValueError: a name stands for none, or there is none.
        TypeError: one string in place of a sequence of them.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
        >>> list(chosen_layers(net, (), "a rule")), list(chosen_layers(net, ("*",), "a rule"))
        (['0'], ['0', '2'])
    """
    _no_string(patterns, who)
    with evaluating(module):  # a parametrization of the weight may iterate in training
        known = {_plain(module, name): part for name, part in module.named_modules() if matrix_of(part) is not None}
    if not known:
        raise ValueError(f"{who}: {type(module).__name__} has no layer with a weight of two or more dimensions")
    names = set() if patterns else {next(iter(known))}
    for pattern in patterns:
        found = {name for name in known if fnmatchcase(name, pattern)}
        if not found:
            near = get_close_matches(pattern, known, n=3, cutoff=0.3) or list(known)[:3]
            raise ValueError(
                f"{who}: no layer with a weight of two or more dimensions is named {pattern!r}; near it are "
                f"{', '.join(map(repr, near))}"
            )
        names |= found
    return {name: part for name, part in known.items() if name in names}


def _no_string(patterns: Sequence[str], who: str) -> None:
    if isinstance(patterns, str):
        raise TypeError(f"{who}: {patterns!r} is one string; give a tuple of names, such as ({patterns!r},)")


def _unwrapped(module: nn.Module) -> nn.Module:
    while isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.module
    return getattr(module, _COMPILED, module)


def _plain(module: nn.Module, name: str) -> str:
    """The name without what wrappers and parametrizations put into it."""
    kept: list[str] = []
    holder = module
    for part in name.split(".") if name else ():
        parallel = isinstance(holder, nn.DataParallel | nn.parallel.DistributedDataParallel)
        if part != _COMPILED and not (part == _PARALLEL and parallel):
            kept.append(part)
        holder = getattr(holder, part)
    match kept:
        case [*owner, "parametrizations", tensor, "original"]:
            return ".".join([*owner, tensor])
    return ".".join(kept)


def _parts(name: str) -> list[str]:
    """``a.b.weight``: a, a.b and a.b.weight."""
    words = name.split(".")
    return [".".join(words[: n + 1]) for n in range(len(words))]


def _matches(pattern: str, name: str) -> bool:
    return any(fnmatchcase(part, pattern) for part in _parts(name))
