"""Group spectral regularization against a plain transcription of the released formulation, in one process, in turn.

- `GroupSpectral` with warm vectors, forward and backward into the generator's parameters, against the released way:
  each layer's gain and bias apart, four rounds of power iteration on both vectors with a normalization each, class
  weights computed anew in float64, and, where maps of a shared embedding have spectral norm, the whole padded condition
  through each of them, with a step of that norm. On SNGAN at 32 pixels with 10 classes: at least 4x. On BigGAN at 64
  pixels with 1000 classes: at least 5x with a subset of 128 classes per step, and no slower with all of them.
- `PerClassMean`, the running means of the critic's logits per class, against a loop over classes that looks for those
  in the batch and fetches their mean: at least 100x with 1010 classes and batches of 256.
- A full training step of ``group_spectral.cifar10_sngan``, five steps of the critic and one of the generator, with
  LeCam, DiffAugment and the regularizer, against the released loop on networks of torch's own layers (see
  `_released_long_tail.Loop`): at least 1.15x. Both begin with the same weights, and get the same images, labels,
  latents and draws of the augmentation; what the losses of the first step differ by is printed beside them.

On a CPU most of a full step is convolutions, of which a loop makes no fewer: what is gained is their layout in memory,
channels last. One pass of the critic for real and generated images together would take the same time (ratios of 1.00 to
1.04 at this width, forward and backward), and its spectral norms would make one round of power iteration in the place
of two, so that losses differ: they pass apart.

Each figure is the median ratio of processor times, plain / ours, of several rounds.

    python benchmarks/group_spectral.py [--threads 1] [--rounds 15] [--batch 32] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

import orthogen as og
from _released_long_tail import Loop, Plain, PlainMeans
from orthogen.core.kinds import ImageSet
from orthogen.core.long_tail import long_tail_counts
from orthogen.core.per_class_mean import PerClassMean
from orthogen.core.rng import Rngs
from orthogen.layers.spectral_norm import SpectralLinear
from orthogen.recipes import build
from orthogen.training.distributed import join
from orthogen.training.feed import Batch
from orthogen.training.step import Game


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


def full_step(rounds: int, batch: int, width: int) -> None:
    recipe = build("group_spectral.cifar10_sngan")
    recipe = replace(recipe, model=replace(recipe.model, width=width), batch=batch, validation=None)
    counts = long_tail_counts(5000, 10, rho=100)
    with torch.random.fork_rng():
        game = Game(recipe, Counted(counts), join("cpu"))
        plain = Loop(game.generator.module, game.critic, counts, batch, Rngs(recipe.seed))
    rng, found = torch.Generator().manual_seed(0), []
    for _ in range(20):  # singular vectors at rest, which begin at random
        plain.regularizer()
        recipe.terms["gsr"].penalty(game.generator, state=game.memory("gsr"))
    print(f"a step of SNGAN at 32 pixels, batches of {batch}")
    for i in range(rounds + 1):
        images = torch.rand(recipe.critic_steps * batch, 3, 32, 32, generator=rng) * 2 - 1
        labels = torch.multinomial(torch.tensor(counts).float(), len(images), replacement=True, generator=rng)
        start = time.process_time()
        theirs = plain.step(images, labels)
        middle = time.process_time()
        ours = game.take_step(Batch(images, labels))
        end = time.process_time()
        if i:
            found.append((middle - start) / (end - middle))
        else:
            told = ", ".join(f"{name} {value:.5f} ({ours[name] - value:+.0e})" for name, value in theirs.items())
            print(f"  released {told}", flush=True)
    column = f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
    print(f"  {'five of the critic, one more':28} {column:24} target 1.15")


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=15, help="rounds after the warm-up")
    parser.add_argument("--batch", type=int, default=32, help="of the full step; 64 in the recipe")
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
    full_step(min(rounds, 5), 4 if args.quick else args.batch, 4 if args.quick else 64)


if __name__ == "__main__":
    main()
