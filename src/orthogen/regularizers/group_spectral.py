"""Group spectral regularization (gSR): spectral norms of what conditional norms do to each class, for long tails."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator, module_of
from orthogen.core.groups import group_shape
from orthogen.core.kinds import ImageSet, WeightPenalty
from orthogen.core.linalg import spectral_norm
from orthogen.core.long_tail import effective_numbers
from orthogen.core.rng import generator, private
from orthogen.core.shapes import Float, Int
from orthogen.layers.class_rows import ClassRows, stacked
from orthogen.layers.class_vectors import VectorSource, class_vectors
from orthogen.regularizers._class_weights import ClassWeights, class_weights
from orthogen.regularizers._group_power import Memory, differentiable_once, iterated, released

__all__ = ["GroupSpectral"]

CITATION = """\
@inproceedings{rangwani2022improving,
  title     = {Improving {GANs} for Long-Tailed Data through Group Spectral Regularization},
  author    = {Rangwani, Harsh and Jaswani, Naman and Karmali, Tejan and Jampani, Varun and Babu, R. Venkatesh},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""

Target = Literal["gain", "bias"]

_FIRST = 20  # rounds of power iteration behind the first value, which has no vectors of an earlier step
_ROUNDS = {None: 2, "released": 4}
_TARGETS: tuple[Target, ...] = ("gain", "bias")


class _Tables(NamedTuple):
    """Tables of one width: gains, then biases, layer by layer."""

    width: int
    rows: list[ClassRows]
    classes: int


@dataclass(frozen=True)
class GroupSpectral(WeightPenalty):
    """The spectral norms of each class's gains and biases in conditional norms, as matrices of channel groups.

        R = 1 / (L K) sum_l sum_y lambda_y (sigma(Gamma_y^l)² + sigma(B_y^l)²)

    Gamma_y^l is the gain's offset from 1 of class y at layer l, its C channels cut into n_g groups that are the rows of
    a matrix (`orthogen.core.groups.group_shape`), B_y^l its bias; sigma is the largest singular value, L and K are the
    numbers of layers and of classes. All classes take part in every step, whoever is in the batch. As a rare class
    collapses, its sigma shoots up; this holds it down.

        lambda_y = (1 / E_y) / mean_k (1 / E_k),   E_y = (1 - beta^n_y) / (1 - beta),   n_y images of class y

    The mean of lambda is 1, so that the weight of the term is the paper's: ``Term(GroupSpectral(), weight=0.5)`` for
    CIFAR-10 and LSUN. Defaults are SNGAN's; BigGAN has beta=0.99 on CIFAR-10 and LSUN, and 0.999 with weight 0.01 on
    iNaturalist-2019.

    Sigma comes from power iteration that goes on where the step before left it, for all layers of equal width in one
    product; it is never larger than the exact one. Spectral norms of the generator's own layers are used as they
    stand, without a step of theirs. The gradient is not to be differentiated again, which is refused.

    Attributes:
        layers: names of conditional norms, with ``*``, ``?`` and ``[...]`` as wildcards; all of them if empty.
        vectors: how norms that are not of this library are found: `orthogen.layers.class_vectors.Tables` by name, or
            any function of the module that returns {layer: (gain, bias)} with rows per class, gains as offsets from 1
            (a run that is to be recorded takes a frozen dataclass with ``__call__``). None finds ours by type.
        weights: "effective-number" as above, "uniform" (all 1), or one lambda per class, taken as they are.
        beta: of the effective number.
        iterations: rounds of power iteration per step; 2 if None, 4 with ``compat``.
        exact: take singular values exactly, in float64, in place of power iteration.
        class_subset: how many classes, drawn anew, take part in a step, with K / class_subset as a factor, so that the
            mean over draws is the whole; None for all. For hundreds of classes.
        targets: "gain", "bias" or both.
        include_one: take the gain itself in place of its offset from 1.
        groups: n_g, where it is not to follow the rule.
        shuffle: seed of a fixed permutation of each table's channels before they are grouped (an ablation); None for
            none.
        compat: "released" does as the released code: what moves a bias's vector is the right vector of the gain, which
            leaves its sigma a quarter low or more; 40 rounds at first; vectors shorter than 1e-3 stay short.

    Raises:
        ValueError: fields that make no sense together; from ``init`` and the call, a generator without conditional
            norms, data without labels or with an empty class, and a memory of another number of classes, or of channels
            in another order.

    Reference:
        H. Rangwani, N. Jaswani, T. Karmali, V. Jampani, R. V. Babu, "Improving GANs for Long-Tailed Data through Group
        Spectral Regularization", ECCV 2022; weights after Y. Cui et al., "Class-Balanced Loss Based on Effective Number
        of Samples", CVPR 2019.

    Example:
        >>> import orthogen as og
        >>> G = og.Sngan(width=4).build()["generator"]
        >>> penalty = og.GroupSpectral(weights="uniform")
        >>> memory = penalty.init(G)
        >>> exact = og.GroupSpectral(weights="uniform", exact=True)
        >>> bool((penalty(G, state=memory) / exact(G, state=exact.init(G)) - 1).abs() < 0.02)
        True
    """

    layers: tuple[str, ...] = ()
    vectors: VectorSource | None = None
    weights: ClassWeights = "effective-number"
    beta: float = 0.999
    iterations: int | None = None
    exact: bool = False
    class_subset: int | None = None
    targets: tuple[Target, ...] = _TARGETS
    include_one: bool = False
    groups: int | None = None
    shuffle: int | None = None
    compat: Literal["released"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.weights, str) and self.weights not in ("effective-number", "uniform"):
            raise ValueError(
                f"GroupSpectral(weights={self.weights!r}): 'effective-number', 'uniform' or a tuple of one number per "
                "class is accepted"
            )
        effective_numbers([1], self.beta)  # refuses a beta that is none
        if self.compat not in _ROUNDS:
            raise ValueError(f"GroupSpectral(compat={self.compat!r}): None or 'released' is accepted")
        if not self.targets or len(set(self.targets) & set(_TARGETS)) != len(self.targets):
            raise ValueError(f"GroupSpectral(targets={self.targets}): 'gain', 'bias' or both are accepted, as a tuple")
        if min(1 if n is None else n for n in (self.iterations, self.class_subset)) < 1:
            raise ValueError(
                f"GroupSpectral(iterations={self.iterations}, class_subset={self.class_subset}): give 1 or more "
                "of each, or None"
            )
        if self.compat and (self.exact or set(self.targets) != set(_TARGETS)):
            raise ValueError(
                "GroupSpectral(compat='released') is about power iteration on gains and biases together; leave out "
                "exact and targets"
            )

    def init(self, network: Generator | nn.Module, data: ImageSet | None = None) -> Memory:
        """Class weights and singular vectors, after the rounds of power iteration that go before the first step."""
        tables = self._tables(network)
        count = tables[0].classes
        weights = class_weights(self.weights, self.beta, count, data, "GroupSpectral")
        memory = Memory(
            weights.to(next(module_of(network).parameters()).device),
            {} if self.exact else {each.width: (len(each.rows), self._shape(each)[0]) for each in tables},
            {} if self.shuffle is None else {each.width: self._orders(each) for each in tables},
        )
        before = (2 * _FIRST if self.compat else _FIRST) - self._rounds
        if before > 0 and not self.exact:
            with torch.no_grad():
                self._value(tables, memory, None, before)
        return memory

    def __call__(
        self, network: Generator | nn.Module, *, state: nn.Module | None = None, rng: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """The penalty, unweighted; the memory is one step further. ``rng`` draws the classes of a subset."""
        if not isinstance(state, Memory):
            raise ValueError(
                "GroupSpectral remembers vectors between steps: make them once by memory = penalty.init(generator, "
                "data), and hand in state=memory"
            )
        tables = self._tables(network)
        for each in tables:
            shape = None if self.exact else (len(each.rows), self._shape(each)[0])
            state.check(each.classes, each.width, shape, self.shuffle is not None)
        return self._value(tables, state, self._drawn(tables[0].classes, rng, state.weights.device), self._rounds)

    def _value(
        self, tables: list[_Tables], memory: Memory, classes: Int[Tensor, "n"] | None, rounds: int
    ) -> Float[Tensor, ""]:
        """The penalty on some classes or all; the memory is so many rounds further."""
        weights = memory.weights if classes is None else memory.weights[classes]
        layers = sum(len(each.rows) for each in tables) / len(self.targets)
        weights = weights / (layers * len(weights))
        iterate, sums = released if self.compat else iterated, []
        with torch.autocast(weights.device.type, enabled=False):
            vectors = stacked([each.rows for each in tables], classes)
            for each, V in zip(tables, vectors, strict=True):
                W, w = self._matrices(each, V, memory), weights.to(V)
                if self.exact:
                    sums.append((w * spectral_norm(W).sigma.square()).sum())
                else:
                    value, u = iterate(W, memory.vectors(each.width, classes).to(W), w, rounds)
                    memory.remember(each.width, u, classes)
                    sums.append(value)
            return sum(sums[1:], start=sums[0])

    @property
    def _rounds(self) -> int:
        return _ROUNDS[self.compat] if self.iterations is None else self.iterations

    def _tables(self, network: Generator | nn.Module) -> list[_Tables]:
        """The tables that are held down, those of equal width together."""
        found = class_vectors(module_of(network), self.vectors, self.layers, "GroupSpectral")
        by_width: dict[int, list[ClassRows]] = {}
        for place, target in enumerate(_TARGETS):
            for name, pair in found.items() if target in self.targets else ():
                rows = pair[place]
                if rows is None:
                    raise ValueError(f"GroupSpectral: {name} has no {target}; leave it out of targets")
                by_width.setdefault(rows.shape[1], []).append(rows)
        return [_Tables(width, rows, rows[0].shape[0]) for width, rows in by_width.items()]

    def _shape(self, tables: _Tables) -> tuple[int, int]:
        return group_shape(tables.width, self.groups)

    def _orders(self, tables: _Tables) -> Int[Tensor, "tables c"]:
        rng = generator(0 if self.shuffle is None else self.shuffle, "groups", tables.width)
        return torch.stack([torch.randperm(tables.width, generator=rng) for _ in tables.rows])

    def _drawn(self, count: int, rng: torch.Generator | None, device: torch.device) -> Int[Tensor, "n"] | None:
        """The classes of this step; None for all."""
        if self.class_subset is None or self.class_subset >= count:
            return None
        rng = private() if rng is None else rng
        order = torch.randperm(count, generator=rng, device=rng.device)
        return order[: self.class_subset].to(device, non_blocking=True)

    def _matrices(
        self, tables: _Tables, vectors: Float[Tensor, "tables n c"], memory: Memory
    ) -> Float[Tensor, "tables n n_g n_c"]:
        if self.include_one and "gain" in self.targets:
            gains = len(tables.rows) // len(self.targets)
            vectors = torch.cat([vectors[:gains] + 1, vectors[gains:]])
        if self.shuffle is not None:
            vectors = vectors.gather(2, memory.order(tables.width)[:, None].expand_as(vectors))
        return differentiable_once(vectors.unflatten(2, self._shape(tables)))
