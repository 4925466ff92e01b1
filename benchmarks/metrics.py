"""All benchmarks of scores in one run: the VP score, scores of codes, scores of features, and memory.

Each part is also a benchmark of its own, and says there what it compares; `--quick` shows that all of it runs.

Memory: how much the process grows while a Fréchet distance of generated images is prepared, for two numbers of images,
in a process each; 2048 features, streamed into moments. It is to be the same for both.

    python benchmarks/metrics.py [--quick]
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import codes
import frechet
import orthogen as og
import variation_score
from orthogen.core.kinds import Eye
from orthogen.evaluation.images import see_generated

MIB = 2**20


def held() -> int:
    """The memory that this process holds now, in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def growth(n: int) -> int:
    """How much more memory is held, at most, while ``n`` images are generated and seen, in bytes."""
    torch.manual_seed(0)
    generator = og.adapt(nn.Sequential(nn.Linear(8, 3 * 16 * 16), nn.Unflatten(1, (3, 16, 16))), og.Normal(8))
    project = nn.Linear(3 * 16 * 16, 2048)
    seen: list[int] = []

    @torch.no_grad()
    def see(images: Tensor) -> tuple[Tensor, None]:
        seen.append(held())
        return project(images.flatten(1).float() / 255), None

    before = held()
    see_generated(generator, Eye(see, {"name": "random projection"}), {"moments"}, n=n, batch=256)
    return max(*seen, held()) - before


def memory(quick: bool) -> None:
    """Print the growth for few and for many images."""
    print("growth of the process while images are generated and seen, 2048 features, moments alone")
    for n in (1000, 4000) if quick else (5000, 50_000):
        done = subprocess.run(
            [sys.executable, __file__, "--growth", str(n)], capture_output=True, text=True, check=True
        )
        print(f"{n:8,} images: {int(done.stdout) / MIB:6.0f} MiB", flush=True)


def main() -> None:
    """Run all parts, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run?")
    parser.add_argument("--growth", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.growth:
        print(growth(args.growth))
        return
    for part in (frechet, codes, variation_score):
        print(f"\n== {part.__name__}: {part.__doc__.splitlines()[0]}", flush=True)
        part.main()
    print("\n== memory", flush=True)
    memory(args.quick)


if __name__ == "__main__":
    main()
