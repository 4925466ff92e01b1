"""Scores of image features against their plain formulations, on the same features, in one process, in turn.

- Fréchet distance at 2048 features from given moments: by Cholesky factor and eigenvalues of a symmetric matrix, and
  with the errors that `Fid` adds, against scipy's root of the product of the covariances, in float64. Where the version
  of scipy computes that root faster than in the published measurements, the ratio says so. Target: at least 10x.
- KID with its standard error against a loop over subsets in numpy without, which is what is published; the same number
  of subsets, of features as an evaluation hands them over. Matrix products are most of both. Target: not slower.
- Precision, recall, density and coverage in blocks against whole matrices of distances in numpy, with the peak of what
  either holds. Ours without the standard errors, which cost 1.25 times as much again.

Each figure is the median ratio of times over the rounds; the values must agree.

    python benchmarks/frechet.py [--threads 2] [--rounds 3] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from orthogen.core.features import Features, Moments
from orthogen.metrics._frechet import distance, frechet
from orthogen.metrics._neighbors import ENTRIES, inside
from orthogen.metrics.kid import Kid

Run = Callable[[], Any]


def features(n: int, d: int, seed: int) -> Tensor:
    """Positive and correlated, with a falling spectrum, as of a network after its last rectifier."""
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(7)) * torch.arange(1, d + 1) ** -0.5
    shift = 0.2 * torch.randn(d, generator=rng)
    return (torch.randn(n, d, generator=rng) @ mix.T / 2 + shift).relu()


def plain_frechet(real: Moments, fake: Moments) -> float:
    """The formula as written, with a root of a matrix that is not symmetric."""
    s1, s2 = real.covariance.numpy(), fake.covariance.numpy()
    gap = (real.mean - fake.mean).numpy()
    root = linalg.sqrtm(s1 @ s2)
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def plain_kid(x: np.ndarray, y: np.ndarray, subsets: int, size: int) -> float:
    """One subset after the other."""
    rng, width, found = np.random.default_rng(0), x.shape[1], []
    for _ in range(subsets):
        a, b = (z[rng.choice(len(z), size, replace=False)] for z in (x, y))
        aa, bb, ab = ((p @ q.T / width + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
        within = sum((k.sum() - np.trace(k)) / (size * (size - 1)) for k in (aa, bb))
        found.append(within - 2 * ab.mean())
    return float(np.mean(found))


def plain_neighbors(x: np.ndarray, y: np.ndarray, k: int) -> list[float]:
    """Three whole matrices of distances."""

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        return np.sqrt(np.maximum(squared, 0))

    radius_x, radius_y = (np.partition(apart(z, z), k, axis=1)[:, k] for z in (x, y))
    between = apart(x, y)
    near = between < radius_x[:, None]
    return [near.any(0).mean(), (between < radius_y).any(1).mean(), near.sum(0).mean() / k, near.any(1).mean()]


def our_neighbors(x: Tensor, y: Tensor, k: int) -> list[float]:
    """One pass in blocks."""
    found = inside(x, y, k)
    shares = (found.balls > 0, found.held, found.balls / k, found.holds)
    return [share.double().mean().item() for share in shares]


def seconds(run: Run) -> tuple[float, Any]:
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def compare(label: str, plain: Run, ours: Run, rounds: int, *, target: float | None, close: float) -> None:
    """One line of the table: median times and ratio, after a warm-up of ours; values must agree."""
    ours()
    times = []
    for _ in range(rounds):
        (a, theirs), (b, found) = seconds(plain), seconds(ours)
        times.append((a, b))
    np.testing.assert_allclose(found, theirs, rtol=close)
    ratios = [a / b for a, b in times]
    middle = [statistics.median(column) for column in zip(*times, strict=True)]
    spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    print(f"{label:44} {middle[0]:9.2f} {middle[1]:9.2f} {spread:>22} {target or '-':>7}", flush=True)


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and of numpy's BLAS")
    parser.add_argument("--rounds", type=int, default=3, help="rounds")
    parser.add_argument("--quick", action="store_true", help="64 features of a few images, one round: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    d, n, rounds = (64, 300, 1) if args.quick else (2048, 5000, args.rounds)
    subsets, size = (20, 100) if args.quick else (20, 1000)
    real, fake = features(n, d, 0), features(n, d, 1)
    moments, given = (Moments.of(real), Moments.of(fake)), (Features(n, real), Features(n, fake))
    a, b, kid = real.numpy(), fake.numpy(), Kid(subsets=subsets, size=size)

    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds; {n} x {d} features")
    print(f"{'':44} {'plain, s':>9} {'ours, s':>9} {'plain / ours':>22} {'target':>7}")
    target = None if args.quick else 10.0
    plain: Run = lambda: plain_frechet(*moments)  # noqa: E731
    compare("Frechet distance", plain, lambda: distance(*moments), rounds, target=target, close=1e-5)
    compare("Frechet distance with its errors", plain, lambda: frechet(*moments).value, rounds, target=None, close=1e-5)
    compare(
        f"kernel distance, {subsets} subsets of {size}",
        lambda: plain_kid(a, b, subsets, size),
        lambda: kid(*given, rng=torch.Generator().manual_seed(0)).value,
        rounds,
        target=None if args.quick else 1.0,
        close=0.3,  # other subsets
    )
    compare(
        "precision, recall, density, coverage",
        lambda: plain_neighbors(a, b, 5),
        lambda: our_neighbors(real, fake, 5),
        rounds,
        target=None,
        close=1e-3,
    )
    whole, block = 3 * 4 * n * n / 2**20, 3 * 4 * min(ENTRIES, n * n) / 2**20
    print(f"\ndistances held: {whole:.0f} MB grows with the square of {n}; in blocks at most {block:.0f} MB")


if __name__ == "__main__":
    main()
