"""Single passes through a generator that is watched at some layers, and what trying tells about its passes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from types import FunctionType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from orthogen.core.generator import Generator, first_tensor
from orthogen.core.rng import generator as generator_of
from orthogen.core.untouched import Untouched, untouched

__all__ = ["OUTPUT", "Behavior", "Host", "Watch"]

OUTPUT = "output"  # the name of the image among the layers
Keep = Callable[[str, Tensor], Tensor]


class _Enough(BaseException):
    """Stops a forward pass. Not an Exception, so that no ``except Exception`` on the way catches it."""


class _BatchError(ValueError):
    """A pass gave another number of rows than it got."""


@dataclass(frozen=True)
class Behavior:
    """What a module does in its present mode, found by trying (`Host.behavior`).

    Attributes:
        ends: for each hooked layer, how many calls of hooked layers one pass has made when its last one is done.
        extents: of each layer's output, the image among them: its shape without samples and channels.
        overwritten: layers whose output a later in-place operation changes.
        separable: samples do not see each other, so passes may be merged and split.
        repeatable: a pass depends on latents and conditions only; no dropout, noise or power iteration.
    """

    ends: Mapping[str, int]
    extents: Mapping[str, tuple[int, ...]]
    overwritten: frozenset[str]
    separable: bool
    repeatable: bool


MODES = 64  # of one module, remembered
_BEHAVIORS: WeakKeyDictionary[nn.Module, WeakKeyDictionary[Any, dict[Any, Behavior]]] = WeakKeyDictionary()


def _anchor(call: Any) -> Any:
    """What stands for a ``call`` in the memory: its code, if that is all there is to it, so that a lambda made anew at
    every step is known again; else the very object.
    """
    bare = isinstance(call, FunctionType) and not (call.__closure__ or call.__defaults__ or call.__kwdefaults__)
    return call.__code__ if bare else call


class Watch(TorchFunctionMode):
    """Notes which of torch's norms run inside, and whether batch norm takes its statistics from the batch."""

    FLAGS: ClassVar = {"batch_norm": "training", "instance_norm": "use_input_stats"}  # argument 5 of each

    def __init__(self) -> None:
        super().__init__()
        self.norms: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "layer_norm":
            self.norms.add(name)
        elif name in self.FLAGS and (
            args[5] if len(args) > 5 else kwargs.get(self.FLAGS[name], name == "instance_norm")
        ):
            self.norms.add(name)
        return func(*args, **kwargs)


@dataclass(frozen=True)
class _Hook:
    """A forward hook that shows what a layer returned."""

    name: str
    see: Callable[[str, Tensor], None]

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self.see(self.name, first_tensor(output, f"layer {self.name!r}"))


@dataclass
class _Sight:
    """Keeps what ``keep`` makes of the last output of each layer, and ends the pass with call number ``end`` (0: it
    goes on).
    """

    keep: Keep
    end: int
    seen: dict[str, Tensor] = field(default_factory=dict)
    calls: int = 0

    def __call__(self, name: str, output: Tensor) -> None:
        self.calls += 1
        self.seen[name] = self.keep(name, output)
        if self.calls == self.end:
            raise _Enough


class Host:
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
        for name, layer in self.hooked.items():
            if isinstance(layer, torch.jit.ScriptModule):
                raise ValueError(
                    f"layer {name!r} is TorchScript, where layers cannot be watched; look at the image alone, or take "
                    "the module that it was made from"
                )
        self._session: Untouched | None = None
        self._tried: dict[Any, Behavior] = {}  # during the session

    @property
    def scripted(self) -> bool:
        """Whether parts of the module are TorchScript, whose operations `Watch` does not see."""
        return any(isinstance(part, torch.jit.ScriptModule) for part in self.generator.module.modules())

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
        handles = [module.register_forward_hook(_Hook(name, see)) for name, module in self.hooked.items()]
        try:
            return self.generator(z, **conditions)
        except _Enough:
            return None
        finally:
            for handle in handles:
                handle.remove()

    def run(
        self,
        z: Tensor,
        conditions: Mapping[str, Tensor],
        behavior: Behavior,
        layers: tuple[str, ...],
        reduce: Keep | None = None,
    ) -> tuple[Tensor, ...]:
        """The activations of one pass over exactly these rows, which goes no deeper than these layers.

        With ``reduce``, what it makes of them as the pass comes to them; they are not kept.
        """

        def keep(name: str, x: Tensor) -> Tensor:
            if name not in layers:
                return x[:0]
            _check_rows(name, x, len(z))
            if reduce is not None:
                return reduce(name, x)
            return x.clone() if name in behavior.overwritten else x

        wants_image = any(name not in self.hooked for name in layers)
        end = max((behavior.ends.get(name, 0) for name in layers), default=0)
        see = _Sight(keep, 0 if wants_image else end)
        image = self._forward(z, conditions, see)
        if wants_image and image is not None:
            see.seen[OUTPUT] = keep(OUTPUT, image)
        for name in layers:
            if name not in see.seen:
                raise ValueError(f"layer {name!r} is not reached by the generator's forward pass")
        return tuple(see.seen[name] for name in layers)

    def behavior(self, z: Tensor, conditions: Mapping[str, Tensor]) -> Behavior:
        """What the module does in its present mode, tried once per mode on the first latents met."""
        kind = (tuple(conditions), z.dtype)
        if kind not in self._tried:
            module = self.generator.module
            key = (kind, self.layers, z.device, self.structure())
            known = _BEHAVIORS.setdefault(module, WeakKeyDictionary()).setdefault(_anchor(self.generator.call), {})
            if key not in known:
                if len(known) >= MODES:  # a module that counts its passes has a new mode at each
                    known.clear()
                found = self._try(z, conditions)
                key = (*key[:-1], self.structure())  # a pass may be what tells the module its mode
                known[key] = found
            if self._session is None:
                return known[key]
            self._tried[kind] = known[key]  # the mode does not change within a session
        return self._tried[kind]

    def structure(self) -> tuple[Any, ...]:
        """The module's mode: what flags and whole numbers its parts hold, ``training`` among them."""
        return tuple(
            # ``training``: in TorchScript it is no attribute of the object, and once frozen it is not there at all
            (
                id(part),
                getattr(part, "training", None),
                *(value for value in vars(part).values() if type(value) in (bool, int)),
            )
            for part in self.generator.module.modules()
        )

    @torch.no_grad()
    def _try(self, z: Tensor, conditions: Mapping[str, Tensor]) -> Behavior:
        z = z.detach()
        outputs: list[tuple[str, Tensor, int]] = []
        with self.session() as session:
            session.rewind()
            # the whole pass, to the end: which calls are there, and what is overwritten after it was seen?
            with Watch() as watch:
                image = self._forward(z, conditions, lambda name, x: outputs.append((name, x, x._version)))
            overwritten = frozenset(name for name, x, version in outputs if x._version != version)
            ends = {name: count for count, (name, _, _) in enumerate(outputs, start=1)}
            assert image is not None  # nothing stopped it
            extents = {name: tuple(x.shape[2:]) for name, x, _ in outputs} | {OUTPUT: tuple(image.shape[2:])}
            found = Behavior(ends, extents, overwritten, separable=False, repeatable=False)

            # not by comparing images: at initialization noise may have strength 0, and batch norm gain 0
            if session.drew or "batch_norm" in watch.norms:
                return replace(found, repeatable=not (session.drew or session.power_iterating))
            draw = partial(self.generator.latent.sample, 2, device=z.device)
            two, others = (draw(rng=generator_of(name)).to(z.dtype) for name in ("two latents", "other latents"))
            fixed = {name: value[[0, -1]] for name, value in conditions.items()}
            try:
                session.rewind()
                together = self.run(two, fixed, found, self.layers)
                session.rewind()
                nudged = self.run(two * (1 + torch.finfo(two.dtype).eps), fixed, found, self.layers)
                separable = True
                for row in (0, 1):
                    session.rewind()
                    one = {name: value[[row]] for name, value in fixed.items()}
                    alone = self.run(two[[row]], one, found, self.layers)
                    compared = zip(alone, together, nudged, strict=True)
                    separable = separable and all(_same(a[0], b[row], c[row]) for a, b, c in compared)
                    # beside another sample, in a batch of the same size, there is nothing to magnify
                    session.rewind()
                    beside = two.clone()
                    beside[1 - row] = others[row]
                    pairs = zip(self.run(beside, fixed, found, self.layers), together, strict=True)
                    separable = separable and all(_same(a[row], b[row], b[row]) for a, b in pairs)
            except _BatchError:
                raise
            except Exception:  # batch statistics refuse a single sample: then passes are exact batches
                separable = False
        return replace(found, separable=separable, repeatable=not session.power_iterating)


def _same(a: Tensor, b: Tensor, nudged: Tensor) -> bool:
    """Equal up to the rounding that another batch size brings.

    A sampler that runs a network many times magnifies rounding: by how much, ``b`` at latents moved by one tells. But a
    hundredth of the largest value is no rounding.
    """
    largest, tolerance = b.abs().max(), 1e-8 if a.dtype == torch.float64 else 1e-4
    magnified = (16 * (nudged - b).abs().max()).minimum(0.01 * largest)
    return bool(((a - b).abs() <= tolerance * (largest + 1e-30) + magnified).all())


def _check_rows(name: str, output: Tensor, rows: int) -> None:
    if output.ndim == 0 or output.shape[0] != rows:
        got = output.shape[0] if output.ndim else "no"
        raise _BatchError(
            f"{name!r} has {got} rows for {rows} latents; if `call` closes over labels, hand them to og.given instead"
        )
