"""The one move: a penalty never sees a generator. It sees a `LatentMap`, a function of the latent.

``probe(G, layers)`` looks at layers, ``given(f, label=y)`` fixes conditions, ``along(f, z, basis)`` moves to direction
coordinates. The same penalty is then the loss of a simple GAN, of a ProGAN, and the search for directions in a BigGAN.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from orthogen.core.generator import Generator
from orthogen.core.passes import Behavior, Host, Keep
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import Untouched, reduced_precision

__all__ = ["LatentMap", "along", "given", "probe"]

_CPU_ROWS = 16  # passes are merged up to so many rows on a CPU: larger batches fall out of its caches


def _rows(tensor: Tensor, index: Tensor) -> Tensor:
    # a batch of m * n latents repeats the n rows
    return tensor.index_select(0, index.to(tensor.device) % len(tensor))


def _tiled(tensor: Tensor, batch: int, what: str) -> Tensor:
    if len(tensor) == batch:
        return tensor
    if len(tensor) == 0 or batch % len(tensor):
        raise ValueError(f"{what} has {len(tensor)} rows for {batch} latents; give one row per sample")
    return tensor.repeat(batch // len(tensor), *[1] * (tensor.ndim - 1))


@dataclass(frozen=True, eq=False)
class _Known:
    """Activations at some latents, and when they hold."""

    z: Tensor
    activations: tuple[Tensor, ...]
    structure: tuple[Any, ...]  # of the module when they were made
    index: Tensor | None = None  # the rows meant; all if None

    def take(self, index: Tensor) -> "_Known":
        """Some rows, which are copied once they are asked for."""
        return replace(self, z=_rows(self.z, index), index=index if self.index is None else _rows(self.index, index))

    def layer(self, i: int) -> Tensor:
        """The activations of layer i."""
        return self.activations[i] if self.index is None else _rows(self.activations[i], self.index)


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A function of the latent: ``f(z)`` is a tuple of activations, one per name in ``f.layers``.

    Made by `probe`; `given` and `along` make further ones. ``"output"`` among the layers is the image. Conditions and
    base latents have one row per sample; a batch of ``m * n`` latents, k-major (``[z; z; ...]``), repeats those ``n``.
    ``waiting`` names layers that will be among its layers when the generator has grown.
    """

    _host: Host
    layers: tuple[str, ...]
    _conditions: Mapping[str, Tensor] = field(default_factory=dict)
    _bases: tuple[tuple[Tensor, Tensor], ...] = ()
    _known: "_Known | None" = None
    waiting: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """Width of the map's latent."""
        return self._bases[-1][1].shape[0] if self._bases else self._host.generator.latent.dim

    @property
    def device(self) -> torch.device:
        """Where the generator lives."""
        return self._host.generator.device

    @property
    def scripted(self) -> bool:
        """Whether parts of the generator are TorchScript, whose operations cannot be watched."""
        return self._host.scripted

    def session(self) -> AbstractContextManager[Untouched]:
        """A context in which many evaluations share one set-up; nothing it does outlives it."""
        return self._host.session()

    def separable(self, z: Float[Tensor, "batch dim"]) -> bool:
        """Whether samples do not see each other, so that passes may be merged and split."""
        return self._behavior(z).separable

    def take(self, index: Int[Tensor, "n"]) -> "LatentMap":
        """The map restricted to some samples: their conditions, base latents and known activations.

        Example:
            >>> from orthogen.core.generator import adapt
            >>> from orthogen.core.latent import Normal
            >>> G = adapt(torch.nn.Bilinear(2, 1, 3), Normal(2), call=lambda m, z, scale: m(z, scale))
            >>> f = given(probe(G), scale=torch.tensor([[0.0], [1.0], [2.0]]))
            >>> z = torch.randn(3, 2)
            >>> bool(torch.allclose(f.take(torch.tensor([2]))(z[2:])[0], f(z)[0][2:]))
            True
        """
        return replace(
            self,
            _conditions={name: _rows(value, index) for name, value in self._conditions.items()},
            _bases=tuple((_rows(z, index), basis) for z, basis in self._bases),
            _known=None if self._known is None else self._known.take(index),
        )

    def only(self, layers: Sequence[str]) -> "LatentMap":
        """The map restricted to some of its layers; a pass goes no deeper than these."""
        where = [self.layers.index(name) for name in layers]
        known = self._known
        if known is not None:
            known = replace(known, activations=tuple(known.activations[i] for i in where))
        return replace(self, layers=tuple(layers), _known=known)

    def at(self, z: Float[Tensor, "batch dim"], activations: Sequence[Tensor] | None = None) -> "LatentMap":
        """The same map, remembering its activations at ``z``, so that penalties on these latents share the base pass.

        Args:
            z: the latents.
            activations: f(z) where it is known already, in the order of ``layers``; computed here if None. They are
                used only if they are float32 or wider, products are not less precise now (by autocast, or by torch's
                switches such as TF32), and a pass is repeatable (no dropout, noise or power iteration in the module's
                mode); otherwise a penalty recomputes them.
        """
        if activations is None:
            activations = self(z)
        elif len(activations) != len(self.layers):
            raise ValueError(f"{len(activations)} activations were given for {len(self.layers)} layers {self.layers}")
        elif reduced_precision(z.device):
            return self
        wide = all(x.dtype in (torch.float32, torch.float64) for x in activations)
        if not (wide and self._behavior(z).repeatable):
            return self
        # a copy of the latents, as the caller may change them in place
        known = _Known(z.detach().clone(), tuple(activations), self._host.structure())
        return replace(self, _known=known)

    def light(self) -> "LatentMap":
        """The map without the activations remembered by `at`, unless they are leaves at which gradients collect: a
        penalty on few of the samples would go back through the graph of all.
        """
        light = self._known is None or all(x.is_leaf and x.requires_grad for x in self._known.activations)
        return self if light else replace(self, _known=None)

    def knows(self, z: Float[Tensor, "batch dim"]) -> bool:
        """Whether there are activations remembered by `at`, of these latents, that still hold in the module's mode."""
        known = self._known
        if known is None or known.z.shape != z.shape or known.structure != self._host.structure():
            return False
        return torch.equal(known.z, z)

    def known(self, z: Float[Tensor, "batch dim"]) -> tuple[Tensor, ...] | None:
        """These activations; None where there are none."""
        if self._known is None or not self.knows(z):
            return None
        return tuple(self._known.layer(i) for i in range(len(self.layers)))

    def __call__(self, z: Float[Tensor, "batch dim"]) -> tuple[Tensor, ...]:
        """Activations at ``z``, in float32 or wider.

        Raises:
            ValueError: the latent has the wrong width, its rows do not fit the conditions, or a layer returned another
                number of rows than it got.
            TypeError: a layer's activations are narrower than float32.
        """
        return self.passes(z.unsqueeze(0))[0]

    def once(self, z: Float[Tensor, "batch dim"]) -> tuple[Tensor, ...]:
        """Activations of a pass as the generator makes it by itself: buffers move on, and what it draws is drawn."""
        behavior = self._behavior(z)
        point, conditions = self._point(z)
        return self._host.run(point, conditions, behavior, self.layers)

    def stages(self, z: Float[Tensor, "batch dim"]) -> list[tuple[str, ...]]:
        """The map's layers in the order in which a pass is done with them, those of one resolution together."""
        behavior = self._behavior(z)
        deeper = sorted(self.layers, key=lambda name: behavior.ends.get(name, math.inf))
        return [tuple(names) for _, names in groupby(deeper, key=lambda name: behavior.extents[name])]

    def passes(self, points: Float[Tensor, "m batch dim"], max_batch: int | None = None) -> list[tuple[Tensor, ...]]:
        """The activations at ``m`` batches of latents.

        Where samples do not see each other, passes are merged and split into forward passes of at most ``max_batch``
        rows; None means a few rows, or one batch, at a time on a CPU, and everything at once elsewhere.
        Where they do (batch statistics), each pass is exactly one of the batches.
        """
        m, batch, _ = points.shape
        whole = m * batch
        with self._host.session():
            behavior = self._behavior(points[0])
            rows = max_batch or (batch * max(1, _CPU_ROWS // batch) if points.device.type == "cpu" else whole)
            if not behavior.separable or rows == batch:
                return [self._run(z, behavior) for z in points.unbind(0)]
            flat = points.reshape(whole, -1)
            index = torch.arange(whole, device=flat.device) % batch
            chunks = [self.take(index[i : i + rows])._run(flat[i : i + rows], behavior) for i in range(0, whole, rows)]
            merged = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*chunks, strict=True)]
            return list(zip(*(x.unflatten(0, (m, batch)).unbind(0) for x in merged), strict=True))

    def reduced(
        self,
        points: Float[Tensor, "m batch dim"],
        reduce: Callable[[Tensor, Tensor | None], Tensor],
        max_batch: int | None = None,
        *,
        known: bool = False,
    ) -> list[Tensor]:
        """What is made of the activations at ``m`` batches of latents, layer by layer, while a pass comes to them.

        They are not kept, so that without gradients one layer at a time is in memory. A pass takes all points of a few
        samples; these must not see each other.

        Args:
            points: the latents.
            reduce: makes one tensor ``(n, ...)`` of a layer's activations ``(m, n, ...)`` and of the known ones.
            max_batch: most rows of a pass, but at least ``m``; None means a few on a CPU, and all elsewhere.
            known: whether ``reduce`` gets the activations remembered by `at`, else None.
        """
        m, batch, _ = points.shape
        few = max(1, (max_batch or (_CPU_ROWS if points.device.type == "cpu" else m * batch)) // m)
        found = []
        with self._host.session():
            for start in range(0, batch, few):
                rows = slice(start, start + few)

                def see(name: str, x: Tensor, rows: slice = rows) -> Tensor:
                    base = self._known.layer(self.layers.index(name))[rows] if known and self._known else None
                    return reduce(x.unflatten(0, (m, -1)), base)

                z = points[:, rows].flatten(0, 1)
                part = self.take(torch.arange(batch, device=z.device)[rows])
                found.append(part._run(z, part._behavior(z), see))
        return [torch.cat(parts) for parts in zip(*found, strict=True)]

    def _point(self, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's own latent and conditions for the map's latent."""
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise ValueError(f"latents of shape {tuple(z.shape)} were given; this map takes (batch, {self.dim})")
        if len(z) == 0:
            raise ValueError("no latents were given; a map needs at least one")
        if z.dtype not in (torch.float32, torch.float64):
            z = z.float()

        batch = len(z)
        for base, basis in reversed(self._bases):
            z = _tiled(base, batch, "the base latent of along").to(z.dtype) + z @ basis.to(z.dtype)
        return z, {name: _tiled(value, batch, f"condition {name!r}") for name, value in self._conditions.items()}

    def _behavior(self, z: Tensor) -> Behavior:
        point, conditions = self._point(z)
        return self._host.behavior(point, conditions)

    def _run(self, z: Tensor, behavior: Behavior, reduce: Keep | None = None) -> tuple[Tensor, ...]:
        point, conditions = self._point(z)
        with self._host.session() as session:
            session.rewind()
            activations = self._host.run(point, conditions, behavior, self.layers, reduce)
        for name, x in zip(self.layers, activations, strict=True):
            if x.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"{name!r} is {x.dtype}; derivatives need float32 or wider, call module.float() first")
        return activations


def probe(generator: Generator, layers: Sequence[str] = (), *, waiting: Sequence[str] = ()) -> LatentMap:
    """Look at some layers of a generator as a function of its latent.

    Args:
        generator: made by `orthogen.adapt`.
        layers: names of ``dict(module.named_modules())``; ``"output"``, or no name at all, is the image. A pass stops
            after the last layer asked for. A layer that is called twice gives its last output.
        waiting: further ones, that do not run before the generator has grown; weights may name them already.

    Raises:
        ValueError: no layer has that name; the message lists the nearest ones.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
        >>> f = probe(adapt(net, Normal(2)), layers=("0", "1"))
        >>> [tuple(x.shape) for x in f(torch.zeros(5, 2))]
        [(5, 4), (5, 4)]
    """
    if isinstance(layers, str):
        layers = (layers,)
    host = Host(generator, tuple(dict.fromkeys(layers)))
    return LatentMap(host, host.layers, waiting=tuple(waiting))


def given(f: LatentMap, **conditions: Tensor) -> LatentMap:
    """The map with conditions fixed: tensors with one row per sample, handed to ``call`` as keywords.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Bilinear(2, 1, 3), Normal(2), call=lambda m, z, scale: m(z, scale))
        >>> given(probe(G), scale=torch.ones(5, 1))(torch.zeros(5, 2))[0].shape
        torch.Size([5, 3])
    """
    for name, value in conditions.items():
        if not isinstance(value, Tensor) or value.ndim == 0:
            raise TypeError(f"given({name}={value!r}): a condition is a tensor with one row per sample")
    return replace(f, _conditions={**f._conditions, **conditions}, _known=None)


def along(f: LatentMap, z: Float[Tensor, "batch dim"], basis: Float[Tensor, "n dim"]) -> LatentMap:
    """The map in direction coordinates: a -> f(z + a @ basis), with ``a`` of shape (batch, n).

    Args:
        f: a map.
        z: base latents, one row per sample.
        basis: directions as rows.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> f, z = probe(adapt(torch.nn.Identity(), Normal(3))), torch.zeros(1, 3)
        >>> along(f, z, torch.tensor([[0.0, 2.0, 0.0]]))(torch.ones(1, 1))[0]
        tensor([[0., 2., 0.]])
    """
    if basis.ndim != 2 or basis.shape[1] != f.dim:
        raise ValueError(f"along: basis has shape {tuple(basis.shape)}; (directions, {f.dim}) is needed")
    if z.ndim != 2 or z.shape[1] != f.dim:
        raise ValueError(f"along: base latents have shape {tuple(z.shape)}; (batch, {f.dim}) is needed")
    return replace(f, _bases=(*f._bases, (z, basis)), _known=None)
