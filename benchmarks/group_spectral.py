"""Group spectral regularization against a plain transcription of the released formulation, in one process, in turn.

- `GroupSpectral` with warm vectors, forward and backward into the generator's parameters, against the released way:
  each layer's gain and bias apart, four rounds of power iteration on both vectors with a normalization each, class
  weights computed anew in float64, and, where maps of a shared embedding have spectral norm, the whole padded condition
  through each of them, with a step of that norm. On SNGAN at 32 pixels with 10 classes: at least 4x. On BigGAN at 64
  pixels with 1000 classes: at least 5x with a subset of 128 classes per step, and no slower with all of them.
- `PerClassMean`, the running means of the critic's logits per class, against a loop over classes that looks for those
  in the batch and fetches their mean: at least 100x with 1010 classes and batches of 256.

Each figure is the median ratio of processor times, plain / ours, of several rounds.

    python benchmarks/group_spectral.py [--threads 1] [--rounds 15] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import ImageSet
from orthogen.core.long_tail import long_tail_counts
from orthogen.core.per_class_mean import PerClassMean
from orthogen.layers.batch_norm import ConditionalBatchNorm2d
from orthogen.layers.spectral_norm import SpectralLinear

BETA, EPS = 0.999, 1e-3


class Counted(ImageSet):
    """So many images of each class; none of them can be seen."""

    channels, resolution = 3, 32

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = torch.tensor(counts)
        self.classes = tuple(map(str, range(len(counts))))

    def __len__(self) -> int:
        return int(self.counts.sum())

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        """None are needed."""
        raise NotImplementedError

    def class_counts(self) -> Tensor:
        """As given."""
        return self.counts


# ---------------------------------------------------------------------------------------------- transcriptions
def unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp(min=EPS)


class Plain:
    """The released regularizer, layer by layer."""

    def __init__(self, generator: nn.Module, counts: Sequence[int]) -> None:
        self.generator, self.counts = generator, np.array(counts)
        self.norms = [part for part in generator.modules() if isinstance(part, ConditionalBatchNorm2d)]
        self.vectors: dict[int, list[Tensor]] = {}
        self.rounds = 40

    def _layer(self, norm: ConditionalBatchNorm2d) -> Iterator[Tensor]:
        for part in (norm.gain, norm.bias):
            if isinstance(part, nn.Embedding):
                yield part.weight
            else:
                shared = self.generator.shared.weight
                rest = torch.zeros(len(shared), part.in_features - shared.shape[1])
                yield part(torch.cat([shared, rest], dim=1))

    def __call__(self) -> Tensor:
        """The regularization, with class weights of mean 1."""
        effective = (1.0 - np.power(BETA, self.counts)) / (1.0 - BETA)
        weights = (1.0 / effective) / np.sum(1.0 / effective) * len(effective)
        factors = torch.from_numpy(weights)
        total = torch.zeros((), dtype=torch.float64)
        for i, norm in enumerate(self.norms):
            matrices = []
            for rows in self._layer(norm):
                groups = max(n for n in range(1, int(rows.shape[1] ** 0.5) + 1) if rows.shape[1] % n == 0)
                matrices.append(rows.view(len(rows), groups, -1))
            if i not in self.vectors:
                sides = (side for W in matrices for side in W.shape[1:])
                self.vectors[i] = [torch.randn(len(self.counts), side) for side in sides]
            with torch.no_grad():
                for _ in range(self.rounds):
                    for k, W in enumerate(matrices):
                        u, v = self.vectors[i][2 * k : 2 * k + 2]
                        v = unit(torch.matmul(W.permute(0, 2, 1), u.unsqueeze(2)).squeeze(2))
                        u = unit(torch.matmul(W, v.unsqueeze(2)).squeeze(2))
                        self.vectors[i][2 * k : 2 * k + 2] = u, v
            for k, W in enumerate(matrices):
                u, v = self.vectors[i][2 * k : 2 * k + 2]
                sigma = torch.matmul(u.unsqueeze(1), torch.matmul(W, v.unsqueeze(2))).view(-1)
                total = total + (factors * sigma**2).mean()
        self.rounds = 4
        return total / len(self.norms)


class PlainMeans:
    """Per class: is it in the batch, and the mean of its logits, as a number of Python's."""

    def __init__(self, classes: int) -> None:
        self.means = [0.0] * classes

    def __call__(self, logits: Tensor, labels: Tensor) -> None:
        """Take note of a batch."""
        for k in range(len(self.means)):
            if k in labels:
                self.means[k] = 0.99 * self.means[k] + 0.01 * logits[labels == k].mean().item()


# ---------------------------------------------------------------------------------------------- timing
def seconds(run: Callable[[], object], least: float = 0.02) -> float:
    """Processor time of one run, of as many as take 20 ms."""
    runs, start = 0, time.process_time()
    while time.process_time() - start < least or not runs:
        run()
        runs += 1
    return (time.process_time() - start) / runs


def ratios(plain: Callable[[], object], ours: Sequence[Callable[[], object]], rounds: int) -> tuple[float, list[str]]:
    """Time of plain in ms; time of plain / time of each of ours, median and range over the rounds, after a warm-up."""
    times, found = [], [[] for _ in ours]
    for i in range(rounds + 1):
        other = seconds(plain)
        own = [seconds(run) for run in ours]
        if i:
            times.append(other)
            for column, each in zip(found, own, strict=True):
                column.append(other / each)
    told = [f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})" for column in found]
    return 1e3 * statistics.median(times), told


def regularizer(
    label: str,
    generator: nn.Module,
    counts: Sequence[int],
    cases: dict[str, tuple[og.GroupSpectral, float | None]],
    rounds: int,
) -> None:
    data, plain = Counted(counts), Plain(generator, counts)
    rng = torch.Generator().manual_seed(0)

    def step(value: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            generator.zero_grad(set_to_none=True)
            value().backward()

        return run

    def ours(penalty: og.GroupSpectral) -> Callable[[], Tensor]:
        memory = penalty.init(generator, data)
        return lambda: penalty(generator, state=memory, rng=rng)

    values = {name: ours(penalty) for name, (penalty, _) in cases.items()}
    for part in generator.modules():
        if isinstance(part, SpectralLinear):
            for _ in range(20):  # spectral norms at rest, so that the same weights are looked at
                part(torch.zeros(1, part.in_features))
    exact = ours(og.GroupSpectral(exact=True))().item()
    times, columns = ratios(step(plain), [step(value) for value in values.values()], rounds)
    print(f"{label}: released {times:.2f} ms, value {plain().item() / exact - 1:+.1e} off the exact one")
    for (name, (_, target)), value, column in zip(cases.items(), values.values(), columns, strict=True):
        error = torch.stack([value().detach() for _ in range(10)]).mean().item() / exact - 1
        print(f"  {name:28} {column:24} target {target or '-':4}  value {error:+.1e}", flush=True)


def bookkeeping(classes: int, rounds: int) -> None:
    plain, means = PlainMeans(classes), PerClassMean(classes)
    logits, labels = torch.randn(256), torch.randint(0, classes, (256,))
    _, (column,) = ratios(lambda: plain(logits, labels), [lambda: means.update(logits, labels)], rounds)
    print(f"logits per class, {classes} classes, batch 256")
    print(f"  {'sums by index':28} {column:24} target 100")


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=15, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="narrow networks, two rounds: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rounds = 2 if args.quick else args.rounds
    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds: time of plain / time of ours")
    regularizer(
        "SNGAN at 32 pixels, 10 classes",
        og.Sngan(width=4 if args.quick else 64).build()["generator"],
        long_tail_counts(5000, 10, rho=100),
        {
            "all classes": (og.GroupSpectral(), 4.0),
            "all classes, 1 round": (og.GroupSpectral(iterations=1), None),
            "exact": (og.GroupSpectral(exact=True), None),
        },
        rounds,
    )
    regularizer(
        "BigGAN at 64 pixels, 1000 classes",
        og.BigGan(resolution=64, dim=100, width=4 if args.quick else 80, attention=(32,)).build()["generator"],
        long_tail_counts(1000, 1000, rho=100),
        {
            "128 classes per step": (og.GroupSpectral(class_subset=128), 5.0),
            "all classes": (og.GroupSpectral(), 1.0),
            "all classes, 1 round": (og.GroupSpectral(iterations=1), None),
        },
        rounds,
    )
    bookkeeping(50 if args.quick else 1010, rounds)


if __name__ == "__main__":
    main()
