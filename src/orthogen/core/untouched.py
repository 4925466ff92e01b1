"""Run a module without leaving a trace in it, and run it the same way every time.

A finite difference compares passes, so every pass must see the same buffers, the same frozen power iterations, the same
dropout draw and full float32 arithmetic; and the host must be as it was when the comparison is over.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

__all__ = ["Untouched", "evaluating", "full_precision", "reduced_precision", "seeded", "untouched"]


def _power_iterating(module: nn.Module) -> list[nn.Module]:
    """The modules whose ``training`` flag makes spectral norm iterate, in its new and its old form."""
    found = []
    for part in module.modules():
        old_form = any(isinstance(hook, SpectralNorm) for hook in part._forward_pre_hooks.values())
        if (old_form or isinstance(part, _SpectralNorm)) and part.training:
            found.append(part)
    return found


def _switches(device: torch.device) -> list[Any]:
    """What makes products on the CPU or this device less precise than float32, now."""
    backends: Any = torch.backends  # its stubs lack these switches
    every = [backends.mkldnn.matmul, backends.mkldnn.conv]
    if device.type == "cuda":
        every += [backends.cuda.matmul, backends.cudnn.conv]
    return [switch for switch in every if switch.fp32_precision not in ("none", "ieee")]


def reduced_precision(device: torch.device) -> bool:
    """Whether products of float32 tensors are less precise than float32, by autocast or by torch's switches."""
    return torch.is_autocast_enabled(device.type) or bool(_switches(device))


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No autocast and no reduced-precision products: a difference divided by 0.01 cannot afford them."""
    backends: Any = torch.backends
    switches = _switches(device)
    # a value that comes from the global switch must come from there again: "none" inherits
    general = backends.fp32_precision
    before = ["none" if switch.fp32_precision == general else switch.fp32_precision for switch in switches]
    with ExitStack() as stack:
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            for switch in switches:
                switch.fp32_precision = "ieee"
            yield
        finally:
            for switch, value in zip(switches, before, strict=True):
                switch.fp32_precision = value


class Untouched:
    """What a pass may change in a module, remembered; `rewind` before each pass.

    Buffers are swapped for clones and the originals put back at the end. Copying old values back in place would break
    the version check of autograd, for graphs that saved them.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        parts = list(module.modules())
        self._names = [(part, set(part._buffers.keys())) for part in parts]
        self._buffers = [(part, name, value) for part in parts for name, value in part._buffers.items()]
        # the old hook form of spectral and weight norm leaves the computed weight as a plain attribute
        plain = ((part, name, value) for part in parts for name, value in part.__dict__.items())
        self._plain = [entry for entry in plain if isinstance(entry[2], Tensor)]
        self._cuda = device if device.type == "cuda" else None
        self._random = self._draw_state()
        self.power_iterating = _power_iterating(module)

    def _draw_state(self) -> tuple[Tensor, Tensor | None]:
        return torch.get_rng_state(), None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)

    def _set_draw_state(self, state: tuple[Tensor, Tensor | None]) -> None:
        torch.set_rng_state(state[0])
        if self._cuda is not None and state[1] is not None:
            torch.cuda.set_rng_state(state[1], self._cuda)

    def rewind(self) -> None:
        """Make the next pass start like the first one."""
        clones: dict[int, Tensor] = {}  # a tensor that two modules share stays shared
        buffers = [(part._buffers, name, value) for part, name, value in self._buffers if value is not None]
        plain = [(part.__dict__, name, value) for part, name, value in self._plain if not value.requires_grad]
        for place, name, value in (*buffers, *plain):
            if id(value) not in clones:
                clones[id(value)] = value.clone()
            place[name] = clones[id(value)]
        self._set_draw_state(self._random)

    @property
    def drew(self) -> bool:
        """Whether something was drawn from the global random states since the last `rewind`."""
        now = self._draw_state()
        pairs = zip(now, self._random, strict=True)
        return any(a is not None and b is not None and not torch.equal(a, b) for a, b in pairs)

    def restore(self) -> None:
        """Put everything back."""
        for part, names in self._names:  # what a pass registered for the first time
            for name in set(part._buffers.keys()) - names:
                del part._buffers[name]
        for part, name, value in self._buffers:
            part._buffers[name] = value
        for part, name, value in self._plain:
            part.__dict__[name] = value
        self._set_draw_state(self._random)


@contextmanager
def untouched(module: nn.Module, device: torch.device) -> Iterator[Untouched]:
    """Passes inside the block leave buffers, spectral-norm vectors, flags and global random states as they were.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with untouched(norm, torch.device("cpu")) as host:
        ...     host.rewind()
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item(), norm.running_mean.tolist()
        (0, [0.0, 0.0])
    """
    host = Untouched(module, device)
    try:
        for part in host.power_iterating:
            part.training = False
        with full_precision(device):
            yield host
    finally:
        for part in host.power_iterating:
            part.training = True
        host.restore()


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """The modules in evaluation mode inside the block, and each part in its own mode after it.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with evaluating(net):
        ...     net[0].training
        False
        >>> net[0].training, net[1].training
        (True, False)
    """
    # a frozen TorchScript module has no modes
    parts = [part for module in modules for part in module.modules() if getattr(part, "training", None) is not None]
    modes = [(part, part.training) for part in parts]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def seeded(rng: torch.Generator, device: torch.device) -> Iterator[None]:
    """Inside the block torch's global generators go on from a seed drawn with ``rng``; they are put back after it.

    For what draws from them and cannot be told otherwise: noise inside a generator, the initialization of a module.

    Example:
        >>> def draw(seed):
        ...     with seeded(torch.Generator().manual_seed(seed), torch.device("cpu")):
        ...         return torch.rand(1).item()
        >>> draw(0) == draw(0), draw(0) == draw(1)
        (True, False)
    """
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
