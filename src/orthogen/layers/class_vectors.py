"""What conditional norms do to each class: their gain offsets and biases, found by type or by name."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import zip_longest

from torch import Tensor, nn

from orthogen.core.chosen import chosen
from orthogen.layers.batch_norm import ConditionalBatchNorm2d
from orthogen.layers.class_rows import ClassRows

__all__ = ["ClassVectors", "Tables", "VectorSource", "class_vectors"]

# gain and bias of each layer; None for one that it does not have
ClassVectors = Mapping[str, tuple[ClassRows | None, ClassRows | None]]
VectorSource = Callable[[nn.Module], Mapping[str, tuple[Tensor | ClassRows | None, Tensor | ClassRows | None]]]


@dataclass(frozen=True)
class Tables:
    """Tables of gains and biases by name, of norms that are not of this library: parameters ``(classes, channels)``.

    A parametrized table is taken as it is learned, before the parametrization.

    Attributes:
        gains: names of tables, or of parts that have them, with ``*``, ``?`` and ``[...]`` as wildcards, see
            `orthogen.core.chosen`. Layers are called by these, by those of the biases where there are no gains.
        biases: the same; the first one belongs to the first gain, in the module's order.

    Raises:
        ValueError: when it is called, a name that stands for no table, or gains and biases do not pair.

    Example:
        >>> net = nn.ModuleDict({"norm": nn.ModuleDict({"scale": nn.Embedding(10, 6), "shift": nn.Embedding(10, 6)})})
        >>> {name: gain.shape for name, (gain, bias) in Tables(("*.scale",), ("*.shift",))(net).items()}
        {'norm.scale.weight': (10, 6)}
    """

    gains: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()

    def __call__(self, module: nn.Module) -> ClassVectors:
        """The tables, as they are in the module at present."""
        if not self.gains and not self.biases:
            raise ValueError("Tables() names nothing; give gains=, biases= or both, such as gains=('*.scale.weight',)")
        gains = chosen(module, self.gains, "Tables(gains)") if self.gains else {}
        biases = chosen(module, self.biases, "Tables(biases)") if self.biases else {}
        if gains and biases and len(gains) != len(biases):
            raise ValueError(
                f"Tables: {len(gains)} gains ({', '.join(gains)}) and {len(biases)} biases ({', '.join(biases)}) were "
                "found; name as many of both, or only one kind"
            )
        pairs = zip_longest(map(ClassRows, gains.values()), map(ClassRows, biases.values()))
        return dict(zip(gains or biases, pairs, strict=True))


def class_vectors(
    module: nn.Module, source: VectorSource | None = None, layers: Sequence[str] = (), who: str = "class_vectors"
) -> ClassVectors:
    """Gain offsets and biases of each conditional norm by its name, as they are at present.

    Without a ``source``, those of every `ConditionalBatchNorm2d` whose gain and bias are embeddings (SNGAN), or linear
    maps of a class embedding that the norms share (BigGAN); the class embedding comes first in their condition.

    Args:
        module: a generator's module.
        source: finds other norms: `Tables`, or any function of the module that returns {name: (gain, bias)}, two
            tensors ``(classes, channels)``, or None for one that is not there.
        layers: names among those found, with wildcards; all if there are none.
        who: asks, for messages.

    Raises:
        ValueError: there is nothing of the kind, a name stands for none of it, or tables do not fit together.
        TypeError: one string in place of several names.

    Example:
        >>> import orthogen as og
        >>> found = class_vectors(og.Sngan(width=4).build()["generator"], layers=("blocks.0.*",))
        >>> {name: gain.shape for name, (gain, bias) in found.items()}
        {'blocks.0.0.bn1': (10, 16), 'blocks.0.0.bn2': (10, 16)}
    """
    given = _by_type(module, who) if source is None else source(module)
    found = {name: (_rows(gain), _rows(bias)) for name, (gain, bias) in given.items()}
    if layers:
        found = {name: found[name] for name in _named(found, layers, who)}
    _check(found, who)
    return found


def _rows(given: Tensor | ClassRows | None) -> ClassRows | None:
    return given if given is None or isinstance(given, ClassRows) else ClassRows(given)


def _by_type(module: nn.Module, who: str) -> dict[str, tuple[ClassRows, ClassRows]]:
    norms = {name: part for name, part in module.named_modules() if isinstance(part, ConditionalBatchNorm2d)}
    if not norms:
        raise ValueError(
            f"{who}: {type(module).__name__} has no conditional norm of orthogen; for others give "
            "vectors=Tables(gains=..., biases=...), or a function of the module that returns {name: (gain, bias)}"
        )
    shared = _shared(module, norms.values())

    def rows(name: str, layer: nn.Module) -> ClassRows:
        if isinstance(layer, nn.Embedding):
            return ClassRows(layer)
        if not isinstance(layer, nn.Linear) or len(shared) != 1:
            raise ValueError(
                f"{who}: {name} is a {type(layer).__name__}, beside {len(shared)} class embeddings; understood are an "
                "embedding, and a linear map of the only one; else give vectors=, a function of the module"
            )
        return ClassRows(layer, shared[0])

    return {name: (rows(f"{name}.gain", norm.gain), rows(f"{name}.bias", norm.bias)) for name, norm in norms.items()}


def _shared(module: nn.Module, norms: Collection[nn.Module]) -> list[nn.Embedding]:
    """The embeddings outside of the norms; none are looked for where all that norms have are their own."""
    tables = [part for norm in norms for part in (norm.gain, norm.bias)]
    if all(isinstance(table, nn.Embedding) for table in tables):
        return []
    own = set(map(id, tables))
    return [part for part in module.modules() if isinstance(part, nn.Embedding) and id(part) not in own]


def _named(found: ClassVectors, patterns: Sequence[str], who: str) -> list[str]:
    """The names that the patterns stand for, in the order of ``found``."""
    if isinstance(patterns, str):
        raise TypeError(f"{who}: {patterns!r} is one string; give a tuple of names, such as ({patterns!r},)")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            near = get_close_matches(pattern, found, n=3, cutoff=0.3) or list(found)[:3]
            raise ValueError(
                f"{who}: no conditional norm is named {pattern!r}; near it are {', '.join(map(repr, near))}"
            )
    return [name for name in found if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _check(found: ClassVectors, who: str) -> None:
    """Refuse tables that are not of the same classes, or a gain and a bias that are not of the same channels."""
    shapes = {name: [rows.shape for rows in pair if rows is not None] for name, pair in found.items()}
    classes = {rows for sizes in shapes.values() for rows, _ in sizes}
    if len(classes) != 1 or any(len({channels for _, channels in sizes}) != 1 for sizes in shapes.values()):
        told = ", ".join(f"{name} {' and '.join(f'{k} x {c}' for k, c in sizes)}" for name, sizes in shapes.items())
        raise ValueError(
            f"{who}: tables are (classes, channels), one row for each of the same classes; found: {told or 'none'}"
        )
