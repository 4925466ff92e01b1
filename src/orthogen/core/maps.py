"""The one move: a penalty never sees a generator. It sees a `LatentMap`, a function of the latent.

``probe(G, layers)`` looks at layers, ``given(f, label=y)`` fixes conditions, ``along(f, z, basis)`` moves to direction
coordinates. The same penalty is then the loss of a simple GAN, of a ProGAN, and the search for directions in a BigGAN.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator, first_tensor
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import Untouched, untouched

__all__ = ["OUTPUT", "LatentMap", "along", "given", "probe"]

OUTPUT = "output"  # the name of the image among the layers
_CPU_ROWS = 32  # passes are merged up to so many rows on a CPU: larger batches fall out of its caches


class _Enough(BaseException):
    """Stops a forward pass. Not an Exception, so that no ``except Exception`` on the way catches it."""


class _BatchError(ValueError):
    """A pass gave another number of rows than it got."""


@dataclass(frozen=True)
class Behavior:
    """What a module does in its present mode, found by trying (`_Host.behavior`).

    Attributes:
        ends: for each hooked layer, how many calls of hooked layers one pass has made when its last one is done.
        overwritten: layers whose output a later in-place operation changes.
        separable: samples do not see each other, so passes may be merged and split.
        repeatable: a pass depends on latents and conditions only; no dropout, noise or power iteration.
    """

    ends: Mapping[str, int]
    overwritten: frozenset[str]
    separable: bool
    repeatable: bool


_BEHAVIORS: WeakKeyDictionary[nn.Module, dict[Any, Behavior]] = WeakKeyDictionary()


class _Host:
    """A generator with the layers to capture: runs single passes, inside a session that leaves no trace."""

    def __init__(self, generator: Generator, layers: tuple[str, ...]) -> None:
        modules = dict(generator.module.named_modules())
        for name in layers:
            if name not in modules and name != OUTPUT:
                near = get_close_matches(name, modules, n=3, cutoff=0.3) or [n for n in modules if n][:3]
                raise ValueError(f"no layer is called {name!r}; nearest: {', '.join(near)} (all: generator.layers)")
        self.generator = generator
        self.layers = layers or (OUTPUT,)
        self.hooked = {name: modules[name] for name in self.layers if name in modules}
        self._session: Untouched | None = None
        self._tried: dict[Any, Behavior] = {}  # during the session

    @contextmanager
    def session(self) -> Iterator[Untouched]:
        """Leave no trace; sessions inside this one join it."""
        if self._session is not None:
            yield self._session
            return
        with untouched(self.generator.module, self.generator.device) as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None
                self._tried.clear()

    def _forward(
        self, z: Tensor, conditions: Mapping[str, Tensor], see: Callable[[str, Tensor], None]
    ) -> Tensor | None:
        """The image of one pass, which shows each output of a hooked layer to ``see``; None if that stops it."""

        def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
            return lambda module, args, output: see(name, first_tensor(output, f"layer {name!r}"))

        handles = [module.register_forward_hook(hook(name)) for name, module in self.hooked.items()]
        try:
            return self.generator(z, **conditions)
        except _Enough:
            return None
        finally:
            for handle in handles:
                handle.remove()

    def run(
        self, z: Tensor, conditions: Mapping[str, Tensor], behavior: Behavior, layers: tuple[str, ...]
    ) -> tuple[Tensor, ...]:
        """The activations of one pass over exactly these rows, which goes no deeper than these layers."""
        seen: dict[str, Tensor] = {}
        wants_image = any(name not in self.hooked for name in layers)
        end = max((behavior.ends.get(name, 0) for name in layers), default=0)
        calls = 0  # of hooked layers, in this pass

        def see(name: str, output: Tensor) -> None:
            nonlocal calls
            calls += 1
            seen[name] = output.clone() if name in behavior.overwritten else output
            if calls == end and not wants_image:
                raise _Enough

        image = self._forward(z, conditions, see)
        if wants_image and image is not None:
            seen[OUTPUT] = image
        for name in layers:
            if name not in seen:
                raise ValueError(f"layer {name!r} is not reached by the generator's forward pass")
            _check_rows(name, seen[name], len(z))
        return tuple(seen[name] for name in layers)

    def behavior(self, z: Tensor, conditions: Mapping[str, Tensor]) -> Behavior:
        """What the module does in its present mode, tried once per mode on the first latents met."""
        kind = (tuple(conditions), z.dtype)
        if kind not in self._tried:
            module, call = self.generator.module, self.generator.call
            modes = tuple(part.training for part in module.modules())
            key = (kind, modes, self.layers, z.device, getattr(call, "__code__", type(call)))
            known = _BEHAVIORS.setdefault(module, {})
            if key not in known:
                known[key] = self._try(z, conditions)
            if self._session is None:
                return known[key]
            self._tried[kind] = known[key]  # the mode does not change within a session
        return self._tried[kind]

    @torch.no_grad()
    def _try(self, z: Tensor, conditions: Mapping[str, Tensor]) -> Behavior:
        z = z.detach()
        outputs: list[tuple[str, Tensor, int]] = []
        with self.session() as session:
            session.rewind()
            # the whole pass, to the end: which calls are there, and what is overwritten after it was seen?
            self._forward(z, conditions, lambda name, x: outputs.append((name, x, x._version)))
            overwritten = frozenset(name for name, x, version in outputs if x._version != version)
            ends = {name: count for count, (name, _, _) in enumerate(outputs, start=1)}
            found = Behavior(ends, overwritten, separable=False, repeatable=False)

            session.rewind()
            first = self.run(z, conditions, found, self.layers)
            session.redraw()
            again = self.run(z, conditions, found, self.layers)
            repeatable = not session.power_iterating and all(map(torch.equal, first, again))

            two = torch.cat([z[:1], z[-1:] if len(z) > 1 else 0.5 - z])
            fixed = {name: value[[0, -1]] for name, value in conditions.items()}
            try:
                session.rewind()
                together = self.run(two, fixed, found, self.layers)
                separable = True
                for row in (0, 1):
                    session.rewind()
                    one = {name: value[[row]] for name, value in fixed.items()}
                    alone = self.run(two[[row]], one, found, self.layers)
                    separable = separable and all(_same(a[0], b[row]) for a, b in zip(alone, together, strict=True))
            except _BatchError:
                raise
            except Exception:  # batch statistics refuse a single sample: then passes are exact batches
                separable = False
        return replace(found, separable=separable, repeatable=repeatable)


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal up to the rounding that another batch size brings."""
    tolerance = 1e-8 if a.dtype == torch.float64 else 1e-4
    return bool(((a - b).abs() <= tolerance * (b.abs().max() + 1e-30)).all())


def _check_rows(name: str, output: Tensor, rows: int) -> None:
    if output.ndim == 0 or output.shape[0] != rows:
        got = output.shape[0] if output.ndim else "no"
        raise _BatchError(
            f"{name!r} has {got} rows for {rows} latents; if `call` closes over labels, hand them to og.given instead"
        )


def _rows(tensor: Tensor, index: Tensor) -> Tensor:
    # a batch of m * n latents repeats the n rows
    return tensor.index_select(0, index.to(tensor.device) % len(tensor))


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A function of the latent: ``f(z)`` is a tuple of activations, one per name in ``f.layers``.

    Made by `probe`; `given` and `along` make further ones. ``"output"`` among the layers is the image. Conditions and
    base latents have one row per sample; a batch of ``m * n`` latents, k-major (``[z; z; ...]``), repeats those ``n``.
    """

    _host: _Host
    layers: tuple[str, ...]
    _conditions: Mapping[str, Tensor] = field(default_factory=dict)
    _bases: tuple[tuple[Tensor, Tensor], ...] = ()
    _known: tuple[Tensor, tuple[Tensor, ...]] | None = None

    @property
    def dim(self) -> int:
        """Width of the map's latent."""
        return self._bases[-1][1].shape[0] if self._bases else self._host.generator.latent.dim

    @property
    def device(self) -> torch.device:
        """Where the generator lives."""
        return self._host.generator.device

    def session(self) -> Any:
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
            >>> G = adapt(nn.Bilinear(2, 1, 3), Normal(2), call=lambda m, z, scale: m(z, scale))
            >>> f = given(probe(G), scale=torch.tensor([[0.0], [1.0], [2.0]]))
            >>> z = torch.randn(3, 2)
            >>> bool(torch.allclose(f.take(torch.tensor([2]))(z[2:])[0], f(z)[0][2:]))
            True
        """
        known = None
        if self._known is not None:
            known = (_rows(self._known[0], index), tuple(_rows(x, index) for x in self._known[1]))
        return replace(
            self,
            _conditions={name: _rows(value, index) for name, value in self._conditions.items()},
            _bases=tuple((_rows(z, index), basis) for z, basis in self._bases),
            _known=known,
        )

    def only(self, layers: Sequence[str]) -> "LatentMap":
        """The map restricted to some of its layers; a pass goes no deeper than these."""
        where = [self.layers.index(name) for name in layers]
        known = None if self._known is None else (self._known[0], tuple(self._known[1][i] for i in where))
        return replace(self, layers=tuple(layers), _known=known)

    def at(self, z: Float[Tensor, "batch dim"], activations: Sequence[Tensor] | None = None) -> "LatentMap":
        """The same map, remembering its activations at ``z``, so that penalties on these latents share the base pass.

        Args:
            z: the latents.
            activations: f(z) where it is known already, in the order of ``layers``; computed here if None. They are
                used only if they are float32 or wider, were not made under autocast, and a pass is repeatable (no
                dropout, noise or power iteration in the module's mode); otherwise a penalty recomputes them.
        """
        if activations is None:
            activations = self(z)
        elif len(activations) != len(self.layers):
            raise ValueError(f"{len(activations)} activations were given for {len(self.layers)} layers {self.layers}")
        elif torch.is_autocast_enabled(z.device.type):
            return self
        wide = all(x.dtype in (torch.float32, torch.float64) for x in activations)
        return replace(self, _known=(z, tuple(activations))) if wide and self._behavior(z).repeatable else self

    def known(self, z: Float[Tensor, "batch dim"]) -> tuple[Tensor, ...] | None:
        """The activations remembered by `at`, if they belong to these latents and still hold in the module's mode."""
        if self._known is None or self._known[0].shape != z.shape:
            return None
        same = self._known[0] is z or torch.equal(self._known[0], z)
        return self._known[1] if same and self._behavior(z).repeatable else None

    def __call__(self, z: Float[Tensor, "batch dim"]) -> tuple[Tensor, ...]:
        """Activations at ``z``, in float32 or wider.

        Raises:
            ValueError: the latent has the wrong width, its rows do not fit the conditions, or a layer returned another
                number of rows than it got.
            TypeError: a layer's activations are narrower than float32.
        """
        return self.passes(z.unsqueeze(0))[0]

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

    def _point(self, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's own latent and conditions for the map's latent."""
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise ValueError(f"latents of shape {tuple(z.shape)} were given; this map takes (batch, {self.dim})")
        if z.dtype not in (torch.float32, torch.float64):
            z = z.float()

        def rows(tensor: Tensor, what: str) -> Tensor:
            if len(tensor) == len(z):
                return tensor
            if len(tensor) == 0 or len(z) % len(tensor):
                raise ValueError(f"{what} has {len(tensor)} rows for {len(z)} latents; give one row per sample")
            return tensor.repeat(len(z) // len(tensor), *[1] * (tensor.ndim - 1))

        for base, basis in reversed(self._bases):
            z = rows(base, "the base latent of along") + z @ basis
        return z, {name: rows(value, f"condition {name!r}") for name, value in self._conditions.items()}

    def _behavior(self, z: Tensor) -> Behavior:
        point, conditions = self._point(z)
        return self._host.behavior(point, conditions)

    def _run(self, z: Tensor, behavior: Behavior) -> tuple[Tensor, ...]:
        point, conditions = self._point(z)
        with self._host.session() as session:
            session.rewind()
            activations = self._host.run(point, conditions, behavior, self.layers)
        for name, x in zip(self.layers, activations, strict=True):
            if x.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"{name!r} is {x.dtype}; derivatives need float32 or wider, call module.float() first")
        return activations


def probe(generator: Generator, layers: Sequence[str] = ()) -> LatentMap:
    """Look at some layers of a generator as a function of its latent.

    Args:
        generator: made by `orthogen.adapt`.
        layers: names of ``dict(module.named_modules())``; ``"output"``, or no name at all, is the image. A pass stops
            after the last layer asked for. A layer that is called twice gives its last output.

    Raises:
        ValueError: no layer has that name; the message lists the nearest ones.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        >>> f = probe(adapt(net, Normal(2)), layers=("0", "1"))
        >>> [tuple(x.shape) for x in f(torch.zeros(5, 2))]
        [(5, 4), (5, 4)]
    """
    if isinstance(layers, str):
        layers = (layers,)
    host = _Host(generator, tuple(dict.fromkeys(layers)))
    return LatentMap(host, host.layers)


def given(f: LatentMap, **conditions: Tensor) -> LatentMap:
    """The map with conditions fixed: tensors with one row per sample, handed to ``call`` as keywords.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(nn.Bilinear(2, 1, 3), Normal(2), call=lambda m, z, scale: m(z, scale))
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
        >>> f, z = probe(adapt(nn.Identity(), Normal(3))), torch.zeros(1, 3)
        >>> along(f, z, torch.tensor([[0.0, 2.0, 0.0]]))(torch.ones(1, 1))[0]
        tensor([[0., 2., 0.]])
    """
    if basis.ndim != 2 or basis.shape[1] != f.dim:
        raise ValueError(f"along: basis has shape {tuple(basis.shape)}; (directions, {f.dim}) is needed")
    if z.ndim != 2 or z.shape[1] != f.dim:
        raise ValueError(f"along: base latents have shape {tuple(z.shape)}; (batch, {f.dim}) is needed")
    return replace(f, _bases=(*f._bases, (z, basis)), _known=None)
