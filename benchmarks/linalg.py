"""Polar factors against the thin SVD, and inverse roots against eigh with autograd, on the same matrices, in turn.

- `polar_factor` on the five gradients that the papers orthogonalize, float32, against U V^T of ``torch.linalg.svd``.
  The largest difference of ours to the SVD in float64 must be below 1e-6. Target: faster on each, 2.5x on average.
- The five in one call of `polar_factors`.
- `inv_sqrtm_psd` forward and backward on covariances with ridge 1e-2 in float32, against Q diag(l)^(-1/2) Q^T with
  autograd through ``torch.linalg.eigh``. Target: not slower.

Each figure is the median ratio of times over the rounds; the average over shapes is the geometric mean.

    python benchmarks/linalg.py [--threads 1] [--rounds 9] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from orthogen.core.linalg import inv_sqrtm_psd, polar_factor, polar_factors

SHAPES = ((64, 27), (64, 576), (30, 16384), (6, 131072), (6, 524288))
COVARIANCES = ((1, 64), (4, 64), (1, 128), (1, 256), (8, 256))  # groups or samples, channels
RIDGE = 1e-2
LEAST = 0.02  # seconds of one timing: short calls are repeated


def by_svd(G: Tensor) -> Tensor:
    """All singular values set to 1."""
    U, _, V = torch.linalg.svd(G, full_matrices=False)
    return U @ V


def all_by_svd(gradients: list[Tensor]) -> list[Tensor]:
    return [by_svd(G) for G in gradients]


def by_autograd(A: Tensor) -> Tensor:
    """The inverse root as the formula is written."""
    values, Q = torch.linalg.eigh(A + RIDGE * torch.eye(A.shape[-1], dtype=A.dtype))
    return (Q * values.rsqrt().unsqueeze(-2)) @ Q.mT


def by_ours(A: Tensor) -> Tensor:
    """The same with its derivative written down."""
    return inv_sqrtm_psd(A, eps=RIDGE)


def gradient(root: Callable[[Tensor], Tensor], A: Tensor, cotangent: Tensor) -> Tensor:
    """One forward and backward pass."""
    A = A.detach().requires_grad_()
    (found,) = torch.autograd.grad((root(A) * cotangent).sum(), A)
    return found


def seconds(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def compare(
    label: str, plain: Callable[[], object], ours: Callable[[], object], rounds: int, *, target: str, error: float
) -> float:
    """One line of the table: median times, their ratio, and the error; returns the ratio."""
    seconds(plain, 1), seconds(ours, 1)
    repeats = max(1, int(LEAST / seconds(ours, 1)))
    times = [(seconds(plain, repeats), seconds(ours, repeats)) for _ in range(rounds)]
    ratios = [a / b for a, b in times]
    a, b = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"{label:34} {a:10.3f} {b:10.3f} {spread:>22} {target:>7} {error:10.1e}", flush=True)
    return statistics.median(ratios)


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=9, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="small matrices, two rounds: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rounds = 2 if args.quick else args.rounds
    shapes, covariances = (SHAPES[:2], COVARIANCES[:2]) if args.quick else (SHAPES, COVARIANCES)
    rng = torch.Generator().manual_seed(0)

    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds; milliseconds")
    print(f"{'':34} {'plain':>10} {'ours':>10} {'plain / ours':>22} {'target':>7} {'error':>10}")
    gradients, ratios, errors = [torch.randn(*shape, generator=rng) for shape in shapes], [], []
    for G in gradients:
        errors.append((polar_factor(G) - by_svd(G.double())).abs().max().item())
        label = f"polar factor, {G.shape[0]} x {G.shape[1]}"
        theirs, ours = partial(by_svd, G), partial(polar_factor, G)
        ratios.append(compare(label, theirs, ours, rounds, target="1.00", error=errors[-1]))
    print(f"{'geometric mean':34} {'':10} {'':10} {statistics.geometric_mean(ratios):<22.2f} {'2.50':>7}")
    theirs, ours = partial(all_by_svd, gradients), partial(polar_factors, gradients)
    compare("all of them in one call", theirs, ours, rounds, target="-", error=max(errors))
    for batch, n in covariances:
        X = torch.randn(batch, n, 8 * n, generator=rng)
        A, cotangent = X @ X.mT / X.shape[-1], torch.randn(batch, n, n, generator=rng)
        theirs, ours = (partial(gradient, root, A, cotangent) for root in (by_autograd, by_ours))
        exact = gradient(by_autograd, A.double(), cotangent.double())
        error = ((ours() - exact).norm() / exact.norm()).item()
        compare(f"inverse root, {batch} x {n} x {n}", theirs, ours, rounds, target="1.00", error=error)


if __name__ == "__main__":
    main()
