"""Directional derivatives of a `LatentMap`, of order 1 and 2: by finite differences, or exactly by forward mode."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel

from orthogen.core.maps import LatentMap
from orthogen.core.passes import Watch
from orthogen.core.shapes import Float

__all__ = ["Derivative", "Exact", "FiniteDifference"]

Order = Literal[1, 2]


class Derivative(ABC):
    """A way to differentiate a map along vectors."""

    searchable: bool  # whether it is cheap without gradients, so that a maximum may be searched first

    def needs_base(self, order: Order, *, up_to_constant: bool = False) -> bool:
        """Whether `along` looks at f(z), which saves a pass if it is known (`LatentMap.at`)."""
        return False

    @abstractmethod
    def along(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        vectors: Float[Tensor, "k batch dim"],
        order: Order,
        *,
        up_to_constant: bool = False,
    ) -> list[tuple[Tensor, ...]]:
        """The derivatives of f at z along each vector: k tuples with one ``(batch, ...)`` tensor per layer.

        Args:
            f: the map.
            z: where.
            vectors: k directions for each sample.
            order: 1 for J v, 2 for the second derivative v^T H v.
            up_to_constant: the caller compares derivatives along different vectors at one point, so that a term common
                to all of them may be left out.
        """

    def by_layer(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        vectors: Float[Tensor, "k batch dim"],
        order: Order,
        reduce: Callable[[Sequence[Tensor]], Tensor],
        *,
        up_to_constant: bool = False,
    ) -> list[Tensor]:
        """What ``reduce`` makes of each layer's k derivatives: ``(batch, ...)`` of k tensors ``(batch, ...)``.

        Where this is cheap, a few samples at a time and without keeping what was reduced. The map must be separable.
        """
        derivatives = self.along(f, z, vectors, order, up_to_constant=up_to_constant)
        return [reduce(layer) for layer in zip(*derivatives, strict=True)]


@dataclass(frozen=True)
class FiniteDifference(Derivative):
    """Finite differences with a step e, as in both papers.

    order 1:  [f(z + e v) - f(z)] / e,  or centrally  [f(z + e v) - f(z - e v)] / 2e
    order 2:  [f(z + e v) - 2 f(z) + f(z - e v)] / e²

    The step is a part of the method, not an approximation of zero: a generator with ReLUs is linear almost everywhere,
    its exact second derivative does not see the kinks, and the difference grows like 1/e as e falls. Both papers use
    e = 0.1; with vectors of ±1 the distance moved is e sqrt(dim).

    Where only the spread over vectors matters (``up_to_constant``), the -2 f(z) of order 2 is left out and the base
    pass saved.

    Attributes:
        step: e, in units of the latent.
        central: for order 1, two passes per vector in place of one and the base; the originals are one-sided.
        max_batch: most rows of one forward pass, where passes may be merged; None lets the device decide.

    Raises:
        ValueError: the step is not a positive number.

    Reference:
        Peebles et al., The Hessian Penalty, ECCV 2020, eq. 5 (order 2); Wei et al., OroJaR, ICCV 2021 (order 1).

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.core.maps import probe
        >>> f = probe(adapt(torch.nn.Identity(), Normal(1), call=lambda m, z: z**2))
        >>> z, v = torch.tensor([[1.0]]), torch.tensor([[[1.0]]])
        >>> [round(FiniteDifference(0.1).along(f, z, v, order)[0][0].item(), 3) for order in (1, 2)]
        [2.1, 2.0]
    """

    step: float = 0.1
    central: bool = False
    max_batch: int | None = None
    searchable = True

    def __post_init__(self) -> None:
        if not (self.step > 0 and math.isfinite(self.step)):
            raise ValueError(f"FiniteDifference(step={self.step}): the step must be positive; the papers use 0.1")
        if self.max_batch is not None and self.max_batch < 1:
            raise ValueError(f"FiniteDifference(max_batch={self.max_batch}): give at least 1 row, or None")

    def needs_base(self, order: Order, *, up_to_constant: bool = False) -> bool:
        """See `Derivative.needs_base`."""
        return not up_to_constant if order == 2 else not self.central

    def along(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        vectors: Float[Tensor, "k batch dim"],
        order: Order,
        *,
        up_to_constant: bool = False,
    ) -> list[tuple[Tensor, ...]]:
        """See `Derivative.along`."""
        needs_base = self.needs_base(order, up_to_constant=up_to_constant)
        base = f.known(z) if needs_base else None
        passes = f.passes(self._points(z, vectors, order, base=needs_base and base is None), self.max_batch)
        if needs_base and base is None:
            *passes, base = passes
        layers = [
            self._combined(values, None if base is None else base[i], len(vectors), order)
            for i, values in enumerate(zip(*passes, strict=True))
        ]
        return list(zip(*layers, strict=True))

    def by_layer(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        vectors: Float[Tensor, "k batch dim"],
        order: Order,
        reduce: Callable[[Sequence[Tensor]], Tensor],
        *,
        up_to_constant: bool = False,
    ) -> list[Tensor]:
        """See `Derivative.by_layer`."""
        k, needs_base = len(vectors), self.needs_base(order, up_to_constant=up_to_constant)
        known = needs_base and f.knows(z)

        def combine(values: Tensor, base: Tensor | None) -> Tensor:
            moved = list(values)
            if needs_base and base is None:
                base = moved.pop()
            return reduce(self._combined(moved, base, k, order))

        points = self._points(z, vectors, order, base=needs_base and not known)
        return f.reduced(points, combine, self.max_batch, known=known)

    def _points(self, z: Tensor, vectors: Tensor, order: Order, *, base: bool) -> Tensor:
        moves = self.step * vectors
        two_sided = order == 2 or self.central
        return torch.cat([z + moves] + ([z - moves] if two_sided else []) + ([z[None]] if base else []))

    def _combined(self, moved: Sequence[Tensor], base: Tensor | None, k: int, order: Order) -> list[Tensor]:
        """One layer's k derivatives of what it gave at the points without the last, and of the base."""
        derivatives = []
        for j, ahead in enumerate(moved[:k]):
            behind = moved[k + j] if len(moved) > k else base
            assert behind is not None
            # scaled in place: these are fresh tensors that no backward rule has saved, and memory is what limits here
            if order == 1:
                derivatives.append((ahead - behind).mul_(1 / (2 * self.step if self.central else self.step)))
            else:
                both = (ahead + behind).mul_(1 / self.step**2)
                derivatives.append(both if base is None else both.sub_(base, alpha=2 / self.step**2))
        return derivatives


@dataclass(frozen=True)
class Exact(Derivative):
    """Exact derivatives by forward-mode differentiation: J v, and v^T H v as a derivative of a derivative.

    Another penalty than the papers': it sees the curvature of norms and smooth activations, not the kinks of ReLUs.
    It refuses where the second derivative is identically zero (a piecewise-linear map), and where the module calls
    ``torch.nn.functional``'s layer_norm, instance_norm or batch_norm on batch statistics: backward through a
    forward-mode derivative of these is silently wrong (7 to 35 %), or may do so unseen, in TorchScript. Group norm, and
    the norms in `orthogen.layers`, are right; attention is computed without fused kernels, which have no such
    derivative. About 2 to 3 times the cost of `FiniteDifference` when training.

    Raises:
        ValueError: as above, in words, or where an operation of the module has no forward-mode derivative.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.core.maps import probe
        >>> f = probe(adapt(torch.nn.Identity(), Normal(1), call=lambda m, z: z**3))
        >>> z, v = torch.tensor([[1.0]]), torch.tensor([[[1.0]]])
        >>> [Exact().along(f, z, v, order)[0][0].item() for order in (1, 2)]
        [3.0, 6.0]
    """

    searchable = False

    def along(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        vectors: Float[Tensor, "k batch dim"],
        order: Order,
        *,
        up_to_constant: bool = False,
    ) -> list[tuple[Tensor, ...]]:
        """See `Derivative.along`."""
        _load_forward_mode()
        with f.session():
            _refuse_unsafe(f, z)
            derivatives = [_forward_mode(f, z, v, order) for v in vectors]
            if order == 2:
                _refuse_zero(f, z, derivatives)
        return derivatives


def _refuse_unsafe(f: LatentMap, z: Tensor) -> None:
    # torch up to 2.15: 7 to 35 % error in the gradient through these, and no error raised
    if f.scripted:
        raise ValueError(
            "Exact(): parts of the generator are TorchScript, where norms with wrong forward-mode gradients cannot be "
            "seen; use FiniteDifference(0.1), or take the module that it was made from"
        )
    f.separable(z.detach())  # tries the whole module, if that was not done; here only these layers count
    with torch.no_grad(), Watch() as watch:
        f(z.detach())
    if watch.norms:
        raise ValueError(
            f"Exact(): the generator calls {', '.join(sorted(watch.norms))}, whose forward-mode gradients are "
            "silently wrong in torch; use FiniteDifference(0.1), or group_norm or the norms in orthogen.layers"
        )


@cache
def _load_forward_mode() -> None:
    """Torch compiles its forward-mode rules on first use, and warns about its own use of a deprecated function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by plain products and softmax: the fused kernels have no forward-mode derivative."""
    fused = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fused)


@_plain_attention()
def _forward_mode(f: LatentMap, z: Tensor, v: Tensor, order: Order) -> tuple[Tensor, ...]:
    def first(point: Tensor) -> tuple[Tensor, ...]:
        return torch.func.jvp(f, (point,), (v.to(point.dtype),))[1]

    try:
        if order == 1:
            return first(z)
        with torch.enable_grad():  # silu and mish have second forward-mode derivatives only so
            return torch.func.jvp(first, (z,), (v.to(z.dtype),))[1]
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"Exact(): no forward-mode derivative here ({reason}); use FiniteDifference(0.1)") from error


def _refuse_zero(f: LatentMap, z: Tensor, derivatives: list[tuple[Tensor, ...]]) -> None:
    """Refuse layers whose second derivative is zero along every probe, and also elsewhere along another vector."""
    flat = [i for i in range(len(f.layers)) if all(not d[i].any() for d in derivatives)]
    if flat:
        steps = torch.arange(1, z.numel() + 1, dtype=z.dtype, device=z.device).view_as(z)
        elsewhere = _forward_mode(f, z.detach() + 0.3 * steps.sin(), steps.cos(), 2)
        names = [f.layers[i] for i in flat if not elsewhere[i].any()]
        if names:
            raise ValueError(
                f"Exact(): the second derivative of {', '.join(map(repr, names))} is identically zero (piecewise "
                "linear in the latent); use FiniteDifference(0.1), which sees the kinks, or deeper layers"
            )
