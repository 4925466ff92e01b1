"""The VP score against a plain transcription of the released procedure.

The transcription reads JPEG files with Pillow, at every epoch anew, trains one predictor in float32 and tests it on all
other pairs after every epoch. Ours holds the pairs in memory. Pairs are of a drawn generator of six coordinates
(position, size, hue, rotation, shape), a tenth of them to train on.

Time: both run in turn in one process, and each figure is the median ratio of several rounds. Seconds are those of the
processor, which neighbors on the machine disturb less than those of the clock. "Like for like" is one epoch of training
and a full test for both. "Cosine" sets the 200 epochs and 200 tests of the released protocol against the 200 epochs and
one test of the cosine readout, both from the times of an epoch and of a test. Targets: 6x and 15x where the processor
multiplies bfloat16, else none.

Accuracy: several predictors of both on the same JPEG files at 32 px, best of the same epochs; the difference is to be
within twice its standard error.

    python benchmarks/variation_score.py [--threads 1] [--rounds 5] [--quick]
"""

import argparse
import math
import statistics
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

import orthogen as og
from orthogen.core.progress import shown
from orthogen.metrics.variation_score import Pairs

EPOCHS = 200
RELEASED = og.VariationScore()


# ---------------------------------------------------------------------------------------------- the pairs
class Renderer(nn.Module):
    """A colored super-ellipse; one coordinate each for x, y, size, hue, rotation and exponent."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, resolution)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="xy")))

    def forward(self, z: Tensor) -> Tensor:
        """Images of latents in [-2, 2]."""
        x, y, size, hue, angle, shape = (z / 2).clamp(-1, 1)[:, :, None, None].unbind(dim=1)
        dx, dy = self.grid[0] - 0.4 * x, self.grid[1] - 0.4 * y
        cos, sin = (0.7 * angle).cos(), (0.7 * angle).sin()
        u, v = (cos * dx + sin * dy).abs(), (cos * dy - sin * dx).abs()
        power = 2.0 ** (1.5 + shape)
        inside = torch.sigmoid(8 * (1 - (u / (0.45 + 0.15 * size)) ** power - (v / (0.3 + 0.1 * size)) ** power))
        phase = torch.tensor([0.0, 2.1, 4.2], device=z.device).view(1, 3, 1, 1)
        return inside[:, None] * (0.5 + 0.5 * torch.cos(2 * hue[:, None] + phase)) * 2 - 1


def drawn(n: int, resolution: int) -> Pairs:
    G = og.adapt(Renderer(resolution), og.Uniform(6, -2.0, 2.0))
    return Pairs.draw(G, n, rng=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------------------------------------- as released
class Files(Dataset):
    """Strips of a folder, decoded when asked for: x1 - x2 and the class."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.labels = folder, np.load(folder / "labels.npy")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.folder / f"pair_{i:06d}.jpg") as image:
            strip = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1
        first, second = strip.chunk(2, dim=2)
        return first - second, int(np.abs(self.labels[i]).argmax())


def network(classes: int) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (before, after, size) in enumerate([(3, 64, 7), (64, 64, 3), (64, 128, 3), (128, 256, 3)]):
        layers[f"conv{i}"] = nn.Conv2d(before, after, size, 2 if i == 0 else 1, size // 2, bias=False)
        layers[f"bn{i}"], layers[f"relu{i}"] = nn.BatchNorm2d(after), nn.ReLU()
        if i == 1:
            layers["pool"] = nn.MaxPool2d(3, 2, 1)
    layers["mean"], layers["flat"], layers["output"] = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes)
    return nn.Sequential(layers)


class Plain:
    """One predictor, epoch by epoch."""

    def __init__(self, folder: Path, metric: og.VariationScore, seed: int) -> None:
        files = Files(folder)
        torch.manual_seed(seed)
        order = torch.randperm(len(files)).tolist()
        tests = int(len(files) * (1 - metric.train_share))
        self.test = DataLoader(Subset(files, order[:tests]), metric.batch)
        self.train = DataLoader(Subset(files, order[tests:]), metric.batch, shuffle=True)
        self.network = network(files.labels.shape[1])
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=metric.lr)

    def epoch(self) -> tuple[float, float, float]:
        """Seconds of training, seconds of testing, and the accuracy in percent."""
        start = time.process_time()
        self.network.train()
        for x, y in self.train:
            self.optimizer.zero_grad()
            F.cross_entropy(self.network(x), y).backward()
            self.optimizer.step()
        middle = time.process_time()
        self.network.eval()
        right = total = 0
        with torch.no_grad():
            for x, y in self.test:
                right, total = right + int((self.network(x).argmax(1) == y).sum()), total + len(y)
        return middle - start, time.process_time() - middle, 100 * right / total


# ---------------------------------------------------------------------------------------------- ours
def epoch_of_ours(pairs: Pairs, metric: og.VariationScore, seed: int) -> tuple[float, float]:
    """Seconds of training and of testing of the second epoch."""
    spans: list[tuple[float, float]] = []

    def show(items: Iterable[Any], what: str, total: int | None) -> Iterator[Any]:
        start = time.process_time()
        for item in items:
            middle = time.process_time()
            yield item
            end = time.process_time()
            spans.append((middle - start, end - middle))
            start = end

    with shown(show):
        replace(metric, epochs=2, predictors=1).of(pairs, rng=torch.Generator().manual_seed(seed))
    return spans[-1]


def times(n: int, resolution: int, rounds: int, precisions: list[str]) -> None:
    """Print ratios of times."""
    pairs = drawn(n, resolution)
    with tempfile.TemporaryDirectory() as folder:
        pairs.write(folder)
        plain = Plain(Path(folder), RELEASED, 0)
        plain.epoch()
        rows: dict[str, list[tuple[float, float]]] = {precision: [] for precision in precisions}
        for i in range(rounds):
            trained, tested, _ = plain.epoch()
            for precision in precisions:
                a, b = epoch_of_ours(pairs, replace(RELEASED, precision=precision), i)
                rows[precision].append(((trained + tested) / (a + b), EPOCHS * (trained + tested) / (EPOCHS * a + b)))
    print(f"{n} pairs at {resolution} px, released: {trained:.2f} s training + {tested:.2f} s test per epoch")
    for precision, ratios in rows.items():
        for name, column, target in (("like for like", 0, 6), (f"cosine, {EPOCHS} epochs", 1, 15)):
            values = [row[column] for row in ratios]
            goal = target if precision == "bfloat16" else "-"
            spread = f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
            print(f"{precision + ', ' + name:34} {spread:>24} {goal:>7}", flush=True)


def parity(n: int, epochs: int, predictors: int) -> None:
    """Print accuracies of both on the same files."""
    metric = replace(RELEASED, train_share=0.3, epochs=epochs, predictors=predictors)
    with tempfile.TemporaryDirectory() as folder:
        drawn(n, 32).write(folder)
        plain = []
        for seed in range(predictors):
            one = Plain(Path(folder), metric, seed)
            plain.append(max(one.epoch()[2] for _ in range(epochs)))
        pairs = Pairs.read(folder)
        score = metric.of(pairs, rng=torch.Generator().manual_seed(1))
        cosine = replace(metric, readout="cosine").of(pairs, rng=torch.Generator().manual_seed(1))
    columns = [("released", plain), ("ours", score.parts["predictors"]), ("ours, cosine", cosine.parts["predictors"])]
    print(f"{n} pairs at 32 px, {epochs} epochs, {predictors} predictors each, {score.protocol['arithmetic']}")
    means, errors = [], []
    for name, values in columns:
        means.append(statistics.mean(values))
        errors.append(statistics.stdev(values) / math.sqrt(predictors))
        print(f"{name:14} {means[-1]:.1f} ± {errors[-1]:.1f} %   {', '.join(f'{value:.1f}' for value in values)}")
    gap, error = means[1] - means[0], math.hypot(*errors[:2])
    verdict = (
        "too few to tell" if predictors < 5 else "within its error" if abs(gap) <= 2 * error else "OUTSIDE its error"
    )
    print(f"ours - released: {gap:+.1f} ± {error:.1f}: {verdict}")


def main() -> None:
    """Print ratios of times, then accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="few pairs, two rounds: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    can = torch.cpu.get_capabilities()
    fast = bool(can.get("amx_bf16") or can.get("avx512_bf16"))
    precisions = ["float32", "bfloat16"] if fast else ["float32"]
    rounds = 2 if args.quick else args.rounds
    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds: released / ours", end="")
    print("" if fast else "; no bfloat16 on this processor")
    print(f"{'':34} {'ratio':>24} {'target':>7}")
    if args.quick:
        times(100, 32, rounds, precisions)
        parity(100, 2, 2)
    else:
        times(2000, 64, rounds, precisions)
        parity(1000, 15, 5)


if __name__ == "__main__":
    main()
