"""Several processes, one run: each takes its part of every batch, and gradients are averaged once per optimizer step.

A GAN step with double backward does not fit the hooks of DistributedDataParallel, so nothing happens during backward:
afterwards, gradients and buffers travel in one flat all-reduce. Start the processes with ``torchrun``.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from orthogen.core.shapes import Shaped

__all__ = ["Processes", "join", "pick_device"]

T = TypeVar("T")


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """A device by name; None or ``"auto"`` is the GPU where there is one, else the CPU.

    Raises:
        ValueError: there is no such device here.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None or name == "auto":
        name = "cuda" if gpus else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name!r} is no device; give auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda":
        if not gpus:
            raise ValueError(f"device={str(device)!r} was asked for, and torch finds no GPU here; give cpu or auto")
        index = int(os.environ.get("LOCAL_RANK", 0)) if device.index is None else device.index
        if index >= gpus:
            raise ValueError(f"device='cuda:{index}' was asked for, and there are {gpus} GPUs, counted from 0")
        device = torch.device("cuda", index)
    return device


class Processes:
    """This process among those that train together; alone, every method does nothing.

    Attributes:
        device: of this process.
        rank: its number, from 0; process 0 writes the files.
        size: how many there are.
    """

    def __init__(self, device: torch.device) -> None:
        group = dist.is_available() and dist.is_initialized()
        self.device = device
        self.rank = dist.get_rank() if group else 0
        self.size = dist.get_world_size() if group else 1

    def part(self, rows: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "part ..."]:
        """This process's contiguous part of a batch."""
        return rows.chunk(self.size)[self.rank] if self.size > 1 else rows

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their mean over all processes, in one all-reduce per dtype."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for group in kinds.values():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in group])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, mean in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
                tensor.detach().copy_(mean.view_as(tensor))

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of process 0."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def first(self, call: Callable[[], T]) -> T:
        """Let process 0 do something; all get what it returns, or raise what it raises."""
        if self.size == 1:
            return call()
        box: list[Any] = [None, None]
        if self.rank == 0:
            try:
                box[0] = call()
            except Exception as error:
                box[1] = error
        dist.broadcast_object_list(box, src=0, device=self.device)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def gather(self, value: T) -> Sequence[T]:
        """The values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return any(self.gather(flag))


def join(device: str | torch.device | None = None) -> Processes:
    """The processes that ``torchrun`` started (or that the caller's own process group holds), else this one alone.

    A group that is begun here lasts as long as the process: a second one would meet what the first left in their store.
    """
    picked = pick_device(device)
    if picked.type == "cuda":
        torch.cuda.set_device(picked)
    if dist.is_available() and not dist.is_initialized() and "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        # imported later, its functions would keep the group as a default argument, and its threads would outlive Python
        import_module("torch.distributed.nn.functional")
        dist.init_process_group("nccl" if picked.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Processes(picked)
