"""A generator step of ProGAN with OroJaR or the Hessian Penalty, against the step without.

The step is that of training: forward through generator and critic, backward, the optimizer; at 32 pixels, with the
losses of the paper, batches of 16, penalties with k = 2 on layers 1 to 10 as far as they exist (eight convolutions and
the image). "As released" is what the penalty's own plain formulation would add to it: a base pass of its own, and all
samples with gradients. Networks of the paper's width, 512 channels, and of 128.

Each figure is the median ratio of processor times, step with penalty / step without, of several rounds in one process,
in turn. Targets: at most 1.6 with OroJaR, at most 2.2 with the Hessian Penalty, at the paper's width.

    python benchmarks/hosts.py [--threads 1] [--rounds 7] [--widths 128 512] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import orthogen as og
from orthogen.core.kinds import Data, ImageSet
from orthogen.core.probing import ProbePenalty, rademacher
from orthogen.training.distributed import Processes
from orthogen.training.feed import Batch
from orthogen.training.recipe import Adam
from orthogen.training.step import Game, _generator_step

BATCH, SIDE, STEP = 16, 32, 0.1
TARGETS = {"OroJaR": 1.6, "HessianPenalty": 2.2}


class Noise(ImageSet):
    """Random pixels."""

    channels, resolution = 3, SIDE

    def __len__(self) -> int:
        return BATCH

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        """As many as are asked for."""
        return torch.randint(0, 256, (len(index), 3, SIDE, SIDE), dtype=torch.uint8)


@dataclass(frozen=True)
class NoiseData(Data):
    """Random pixels."""

    def open(self) -> ImageSet:
        """The images."""
        return Noise()


def game(width: int, penalty: ProbePenalty | None) -> Game:
    """Networks to train, with a penalty if one is given; what becomes of images is not the point."""
    model = og.ProGan(resolution=SIDE, channel_max=width)
    terms = {}
    if penalty is not None:
        layers = model.penalized_layers if isinstance(penalty, og.HessianPenalty) else model.preactivation_layers
        terms["penalty"] = og.Term(penalty, 1e-9, layers=layers[:10])
    adam = Adam(lr=1e-3, betas=(0.0, 0.99))
    recipe = og.Recipe(
        "benchmark", model, NoiseData(), batch=BATCH, objective=og.Objective(og.Wasserstein(), terms),
        generator_optimizer=adam, critic_optimizer=adam,
    )  # fmt: skip
    return Game(recipe, recipe.data.open(), Processes(torch.device("cpu")))


def as_released(state: Game, penalty: ProbePenalty) -> Callable[[], None]:
    """The penalty by itself: separate passes over the whole batch, all with gradients, forward and backward."""
    f = state.maps["penalty"]

    def run() -> None:
        z = state.generator.latent.sample(BATCH)
        base, statistics_of = f(z), [[] for _ in f.layers]
        for v in rademacher(2, z):
            ahead = f(z + STEP * v)
            behind = f(z - STEP * v) if penalty.order == 2 else None
            for i, (a, o) in enumerate(zip(ahead, base, strict=True)):
                moved = (a - o) / STEP if behind is None else (a - 2 * o + behind[i]) / STEP**2
                statistics_of[i].append(penalty.statistic(moved))
        sum(torch.stack(each).var(0).max() for each in statistics_of).backward()
        state.generator.module.zero_grad()

    return run


def seconds(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(width: int, rounds: int) -> None:
    """Print the ratios at one width, and what a step without penalties takes."""
    images = Batch(torch.rand(BATCH, 3, SIDE, SIDE) * 2 - 1)
    plain = game(width, None)
    cases = {"without": lambda: _generator_step(plain, images)}
    for penalty in (og.OroJaR(), og.HessianPenalty()):
        name, state = type(penalty).__name__, game(width, penalty)
        cases[name] = lambda state=state: _generator_step(state, images)
        cases[f"{name}, as released"] = as_released(state, penalty)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for i in range(rounds + 1):
        for name, run in cases.items():
            taken = seconds(run)
            if i:  # the first round warms up, and tries what the generator does
                times[name].append(taken)
    base = times.pop("without")
    print(f"{width} channels: {statistics.median(base):.3f} s without")
    for name, each in times.items():
        added = name.endswith("as released")
        ratios = [(t + b * added) / b for t, b in zip(each, base, strict=True)]
        target = f"  (at most {TARGETS[name]})" if name in TARGETS and width == 512 else ""
        print(
            f"  {name:28} {statistics.median(ratios):5.2f}   {min(ratios):.2f} to {max(ratios):.2f}{target}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up")
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 512], help="most channels of the networks")
    parser.add_argument("--quick", action="store_true", help="16 channels, two rounds: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rounds, widths = (2, [16]) if given.quick else (given.rounds, given.widths)
    print(f"torch {torch.__version__}, {given.threads} threads, median of {rounds} rounds: with penalty / without")
    for width in widths:
        compare(width, rounds)


if __name__ == "__main__":
    main()
