"""Frames drawn in a second of one core's time, in batches of 128, medians of several rounds.

Targets at 64 px: 20,000 for Sprites, 500 for Shapes3d. The rates are in processor time, which other programs on
the machine disturb less than wall-clock time. Shapes3d ray-casts each of its 480 geometries once, when it first meets
it: "cold" counts that in, over the first 480 geometries; "warm" is every later frame.

    python benchmarks/data.py [--rounds 7]
"""

import argparse
import statistics
import time

import torch

from orthogen.core.kinds import FactorSet
from orthogen.data.shapes3d import Shapes3d
from orthogen.data.sprites import Sprites

BATCH, BATCHES = 128, 16
TARGETS = {("Sprites", 64): 20_000, ("Shapes3d, warm", 64): 500}


def rate(frames: FactorSet, index: torch.Tensor) -> float:
    start = time.process_time()
    for batch in index.split(BATCH):
        frames.images(batch)
    return len(index) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)

    print(f"{'frames per second of one core':32}{'resolution':>10}{'rate':>12}{'target':>12}")
    for resolution in (32, 64, 128):
        sets = {
            "Sprites": Sprites(resolution),
            "Sprites, color": Sprites(resolution, "color"),
            "Sprites, noisy": Sprites(resolution, "noisy"),
            "Shapes3d, warm": Shapes3d(resolution),
        }
        for name, data in sets.items():
            frames = data.open()
            if name == "Shapes3d, warm":
                show("Shapes3d, cold", resolution, rate(frames, torch.arange(480)))
            index = torch.randint(len(frames), (BATCH * BATCHES,), generator=rng)
            show(name, resolution, statistics.median(rate(frames, index) for _ in range(rounds)))


def show(name: str, resolution: int, value: float) -> None:
    target = TARGETS.get((name, resolution))
    verdict = "" if target is None else f"{target:>12,} {'met' if value >= target else 'MISSED'}"
    print(f"{name:32}{resolution:>10}{value:>12,.0f}{verdict}", flush=True)


if __name__ == "__main__":
    main()
