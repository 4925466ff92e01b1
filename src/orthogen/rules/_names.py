"""What a rule acts on: found by name, once, and held by reference from then on."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from orthogen.core.conditioning import matrix_of
from orthogen.core.untouched import evaluating

__all__ = ["layers", "parameters"]


def parameters(who: str, module: nn.Module, names: Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters of two or more dimensions that are learned and meant by names, in the module's order.

    A name, or a pattern such as ``blocks.*.U``, is that of a parameter, or of a layer with parameters in it. What
    DataParallel, DistributedDataParallel and torch.compile put in front of a name need not be given.

    Args:
        who: asks, for messages.
        module: where to look.
        names: of parameters or layers; none at all means the first parameter.

    Raises:
        ValueError: a name matches nothing, or nothing that is learned and has two dimensions.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
        >>> [list(parameters("Rule", net, names)) for names in (["*.weight"], ["2"], [])]
        [['0.weight', '2.weight'], ['2.weight'], ['0.weight']]
    """
    every = {_plain(module, name): p for name, p in module.named_parameters(remove_duplicate=False)}
    fit = {name: p for name, p in every.items() if p.ndim > 1 and p.requires_grad}
    if not names:
        if not fit:
            raise ValueError(f"{who}: {type(module).__name__} has no learned parameter of two or more dimensions")
        return dict([next(iter(fit.items()))])
    found: set[str] = set()
    for pattern in [names] if isinstance(names, str) else names:
        met = {name for name in every if any(fnmatchcase(upper, pattern) for upper in _uppers(name))}
        if not met:
            known = {upper: None for name in every for upper in _uppers(name)}
            raise ValueError(f"{who}: no parameter, or layer with parameters, is called {_near(pattern, known)}")
        if not met & fit.keys():
            raise ValueError(
                f"{who}: {pattern!r} means {', '.join(sorted(met))}, and nothing there is learned and has two or more "
                "dimensions; name a weight that requires a gradient"
            )
        found |= met
    once = {id(p): name for name, p in reversed(fit.items()) if name in found}  # tied weights have several names
    return {name: p for name, p in fit.items() if once.get(id(p)) == name}


def layers(who: str, module: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """The layers with a matrix for a weight that are meant by names or patterns; the first of all if none is given.

    Raises:
        ValueError: a name matches none.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
        >>> list(layers("Rule", net, [])), list(layers("Rule", net, ["*"]))
        (['0'], ['0', '2'])
    """
    with evaluating(module):  # a parametrization of the weight may iterate in training
        found_in = [(name, layer) for name, layer in module.named_modules() if matrix_of(layer) is not None]
    known = {_plain(module, name): layer for name, layer in found_in}
    if not names:
        if not known:
            raise ValueError(f"{who}: {type(module).__name__} has no layer with a weight of two or more dimensions")
        return dict([next(iter(known.items()))])
    found: set[str] = set()
    for pattern in [names] if isinstance(names, str) else names:
        met = {name for name in known if fnmatchcase(name, pattern)}
        if not met:
            raise ValueError(
                f"{who}: no layer with a weight of two or more dimensions is called {_near(pattern, known)}"
            )
        found |= met
    return {name: layer for name, layer in known.items() if name in found}


def _plain(module: nn.Module, name: str) -> str:
    """A name in the module without what wrappers of modules put into it."""
    kept, holder = [], module
    for part in name.split(".") if name else ():
        parallel = isinstance(holder, nn.DataParallel | nn.parallel.DistributedDataParallel)
        if part != "_orig_mod" and not (part == "module" and parallel):
            kept.append(part)
        holder = getattr(holder, part)
    return ".".join(kept)


def _uppers(name: str) -> list[str]:
    """The name itself, and of all modules that it is in."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _near(pattern: str, known: Collection[str]) -> str:
    near = get_close_matches(pattern, known, n=3, cutoff=0.3) or list(known)[:3]
    return f"{pattern!r}; nearest: {', '.join(near)}" if near else f"{pattern!r}; there are none"
