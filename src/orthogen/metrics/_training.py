"""How predictors of the VP score are trained on a few pairs and tested on the others."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core.progress import track
from orthogen.core.shapes import Int
from orthogen.core.untouched import seeded
from orthogen.metrics._pairs import Pairs
from orthogen.metrics._predictor import Input, Predictor, look

__all__ = ["APART", "Precision", "Readout", "Run", "Training", "accuracy", "confusion", "split"]

Precision = Literal["auto", "bfloat16", "float32"]
Readout = Literal["best", "last", "cosine"]

CHECKED = 512  # test pairs on which bfloat16 is held against float32
APART = 0.5  # percentage points by which it may differ


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def split(order: Int[Tensor, "n"], train_share: float) -> tuple[Int[Tensor, "a"], Int[Tensor, "b"]]:
    """Pairs to train on and to test on: the released code tests on the first int(n (1 - share)) of a permutation."""
    trained = math.ceil(round(len(order) * train_share, 6))
    return order[len(order) - trained :], order[: len(order) - trained]


def accuracy(counts: Int[Tensor, "k k"]) -> float:
    """Percent of pairs on the diagonal of a confusion matrix."""
    return 100 * counts.trace().item() / counts.sum().item()


@torch.no_grad()
def confusion(
    network: Predictor, pairs: Pairs, index: Int[Tensor, "n"], input: Input, dtype: torch.dtype
) -> Int[Tensor, "k k"]:
    """How often a pair of one class (row) was taken for another (column), on the CPU."""
    k, labels, device = pairs.classes, pairs.labels, pairs.first.device
    folded = network.folded(dtype)
    counts = torch.zeros(k * k, dtype=torch.int64, device=device)
    with torch.autocast(device.type, enabled=False):
        for some in index.split(32 if device.type == "cpu" else 1024):  # few suit the caches of a CPU
            guess = folded(look(pairs, some, input, dtype)).argmax(dim=1)
            counts += torch.bincount(labels[some] * k + guess, minlength=k * k)
    return counts.view(k, k).cpu()


@dataclass(frozen=True)
class Run:
    """One predictor: the epochs after which it was tested, its confusion matrix at each, and on which pairs."""

    network: Predictor
    epochs: list[int]
    counts: list[Tensor]
    test: Tensor


@dataclass(frozen=True)
class Training:
    """The fields of the metric that say how one predictor is trained, tested and read out."""

    train_share: float
    epochs: int
    lr: float
    batch: int
    input: Input
    readout: Readout
    eval_every: int
    precision: Precision

    def arithmetic(self, device: torch.device) -> Literal["bfloat16", "float32"]:
        """What ``precision`` comes to on a device."""
        if self.precision == "auto":
            return "bfloat16" if _has_bfloat16(device) else "float32"
        return self.precision

    def runs(self, pairs: Pairs, seeds: list[int]) -> tuple[list[Run], bool]:
        """One run per seed, and whether all are in float32 because the first one's bfloat16 was off."""
        dtype = torch.bfloat16 if self.arithmetic(pairs.first.device) == "bfloat16" else torch.float32
        fell_back, runs = False, list[Run]()
        for seed in seeds:
            what = f"VP score, predictor {len(runs) + 1} of {len(seeds)}"
            run = self._run(pairs, seed, dtype, what)
            checked = self.precision != "auto" or dtype == torch.float32 or runs
            if not checked and self._off(pairs, run) > APART:
                fell_back, dtype = True, torch.float32
                run = self._run(pairs, seed, dtype, what)
            runs.append(run)
        return runs, fell_back

    def _run(self, pairs: Pairs, seed: int, dtype: torch.dtype, what: str) -> Run:
        rng = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(pairs), generator=rng).to(pairs.first.device)
        trained, tested = split(order, self.train_share)
        epochs, counts = [], []
        for epoch, network in track(enumerate(self._train(pairs, trained, dtype, rng), 1), what, self.epochs):
            if epoch == self.epochs or (self.readout == "best" and epoch % self.eval_every == 0):
                epochs.append(epoch)
                counts.append(confusion(network, pairs, tested, self.input, dtype))
        return Run(network, epochs, counts, tested)

    def _train(
        self, pairs: Pairs, index: Int[Tensor, "n"], dtype: torch.dtype, rng: torch.Generator
    ) -> Iterator[Predictor]:
        """A fresh predictor after each epoch on some pairs: Adam on the cross-entropy.

        A last batch of a single pair, of which batch norm cannot take statistics, is left out.
        """
        labels, device = pairs.labels, pairs.first.device
        with seeded(rng, torch.device("cpu")):
            network = Predictor(look(pairs, index[:1], self.input).shape[1], pairs.classes)
        network.to(device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr, fused=True)
        steps = sum(len(some) > 1 for some in index.split(self.batch)) * self.epochs
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(self.epochs):
            network.train()
            for some in index[torch.randperm(len(index), generator=rng).to(device)].split(self.batch):
                if len(some) < 2:
                    continue
                with torch.enable_grad():
                    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                        loss = F.cross_entropy(network(look(pairs, some, self.input, dtype)), labels[some])
                    optimizer.zero_grad()
                    loss.backward()
                optimizer.step()
                if self.readout == "cosine":
                    rate.step()
            yield network

    def _off(self, pairs: Pairs, run: Run) -> float:
        """By how many points bfloat16 changes the accuracy of a trained predictor."""
        some = run.test[:CHECKED]
        low, high = (
            accuracy(confusion(run.network, pairs, some, self.input, dtype))
            for dtype in (torch.bfloat16, torch.float32)
        )
        return abs(low - high)
