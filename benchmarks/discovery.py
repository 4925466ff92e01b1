"""A step of the direction search, and SeFa, against plain transcriptions of the released code.

The released search makes one pass over the whole batch for each point of the finite differences, recomputes the middle
point of second differences although it drops out of the variance, and orthonormalizes the directions in a Python loop
over pairs of rows. Ours is `PenaltyDescent`. Both run on a DCGAN at 64 pixels in evaluation mode whose weights need no
gradients, with 120 directions of a latent of 120 dimensions, mean reduction and two probes; both take Adam's step.
Losses and gradients are compared first. SeFa of 18 layers with 9088 outputs that read a latent of 512 dimensions is
compared with a thin SVD of the stacked weights, in their own precision and in double, which is that of our Gram matrix.
Everything runs in one process, in turn; each figure is the median ratio of several rounds. Targets: OroJaR 2.2x,
Hessian Penalty 1.6x, SeFa 5x.

    python benchmarks/discovery.py [--threads 2] [--rounds 7] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.digest import digest

STEP = 0.1
DIM = 120


def dcgan(width: int) -> nn.Module:
    """Transposed convolutions with batch norm and ReLU, from 4 to 64 pixels."""
    levels = (8 * width, 4 * width, 2 * width, width)
    layers: list[nn.Module] = [nn.ConvTranspose2d(DIM, levels[0], 4, bias=False)]
    for before, after in zip(levels, (*levels[1:], 3), strict=True):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers, nn.Tanh())


def gram_schmidt(A: Tensor) -> Tensor:
    """Row by row: take away the parts along the rows above, then divide by the length."""
    rows: list[Tensor] = []
    for row in A:
        for other in rows:
            row = row - (row @ other) * other
        rows.append(row / row.norm())
    return torch.stack(rows)


def plain_loss(G: og.Generator, method: str, A: Tensor, z: Tensor, w: Tensor, probes: Tensor) -> Tensor:
    """The penalty along the directions, a pass for each point."""
    Q = gram_schmidt(A)
    base, values = G(z + w @ Q), []
    for v in probes:
        ahead = G(z + (w + STEP * v) @ Q)
        if method == "OroJaR":
            values.append(((ahead - base) / STEP).flatten(1).square().sum(1))
        else:
            values.append((ahead - 2 * base + G(z + (w - STEP * v) @ Q)) / STEP**2)
    return torch.stack(values).var(0, unbiased=True).mean()


def draws(method: og.PenaltyDescent, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, base points and probes, in the order in which our step draws them."""
    z = torch.randn(method.batch, DIM, generator=rng)
    w = torch.zeros(method.batch, DIM)
    if method.base == "random":
        which = torch.randint(DIM, (method.batch, 1), generator=rng)
        w.scatter_(1, which, method.path_size * (2 * torch.rand(method.batch, 1, generator=rng) - 1))
    return z, w, torch.randint(0, 2, (2, method.batch, DIM), generator=rng).float() * 2 - 1


def seconds(run: Callable[[], object]) -> float:
    """One call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratios(plain: Callable[[], object], ours: Callable[[], object], rounds: int) -> tuple[list[float], float]:
    """Times of plain over times of ours, one per round after a warm-up, and the median time of ours."""
    times = [(seconds(plain), seconds(ours)) for _ in range(rounds + 1)][1:]
    return [a / b for a, b in times], statistics.median(b for _, b in times)


def sides(
    name: str, batch: int, width: int, dtype: torch.dtype
) -> tuple[Callable[[], Tensor], Callable[[], Tensor], Tensor, Tensor]:
    """A step of the transcription and of ours, which return their losses, and the matrices that they learn."""
    torch.manual_seed(0)
    module = dcgan(width).eval().requires_grad_(False).to(dtype)
    G = og.adapt(module, og.Normal(DIM), call=lambda m, z: m(z[:, :, None, None]))
    method = og.PenaltyDescent(name, base="origin" if name == "OroJaR" else "random", batch=batch)
    search = method.search(G, rng=torch.Generator().manual_seed(0))
    A = search.A.detach().clone().requires_grad_()
    adam, rng = torch.optim.Adam([A], lr=method.lr), torch.Generator()
    rng.set_state(search.rng.get_state())

    def plain() -> Tensor:
        adam.zero_grad()
        loss = plain_loss(G, name, A, *(x.to(dtype) for x in draws(method, rng)))
        loss.backward()
        adam.step()
        return loss.detach()

    def ours() -> Tensor:
        search.step()
        return search.log[-1]["loss"]

    return plain, ours, A, search.A


def descent(name: str, batch: int, width: int, rounds: int) -> tuple[list[float], float]:
    """A step of the search, compared in double precision and timed in single."""
    plain, ours, theirs, mine = sides(name, 2, width, torch.float64)
    torch.testing.assert_close(ours(), plain(), rtol=1e-9, atol=0)
    assert mine.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-9 * theirs.grad.abs().max().item())
    plain, ours, _, _ = sides(name, batch, width, torch.float32)
    return ratios(plain, ours, rounds)


class Affines(nn.Module):
    """Layers that all read the latent."""

    def __init__(self, dim: int, outputs: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, n) for n in outputs)

    def forward(self, z: Tensor) -> Tensor:
        """All outputs."""
        return torch.cat([layer(z) for layer in self.layers], dim=1)


def sefa(dim: int, outputs: list[int], dtype: torch.dtype, rounds: int) -> tuple[list[float], float]:
    """SeFa of a stack of layers; both sides hash the weights, as a directions file records them."""
    torch.manual_seed(0)
    module = Affines(dim, outputs)
    G = og.adapt(module, og.Normal(dim))

    def plain() -> tuple[Tensor, Tensor]:
        stack = torch.cat([layer.weight.detach() for layer in module.layers]).to(dtype)
        _, s, V = torch.linalg.svd(stack, full_matrices=False)
        digest(module.state_dict())
        return s, V

    s, V = plain()
    found = og.SeFa().fit(G)
    torch.testing.assert_close(found.strength, s.float(), rtol=1e-4, atol=0)
    torch.testing.assert_close((found.basis[:1] @ V[:1].float().T).abs(), torch.ones(1, 1), rtol=0, atol=1e-3)
    return ratios(plain, lambda: og.SeFa().fit(G), rounds)


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="a narrow network, two rounds: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    width, rounds = (8, 2) if args.quick else (64, args.rounds)
    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds: time of plain / time of ours")
    print(f"{'what':34} {'ratio':>22} {'ours':>10} {'target':>7}")

    def row(what: str, found: tuple[list[float], float], target: float | None) -> None:
        each, ours = found
        figure = f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
        print(f"{what:34} {figure:>22} {1000 * ours:7.0f} ms {target or '-':>7}", flush=True)

    for name, target in (("OroJaR", 2.2), ("HessianPenalty", 1.6)):
        for batch in (2,) if args.quick else (8, 32):
            row(f"{name}, batch {batch}", descent(name, batch, width, rounds), target if batch == 8 else None)
    for precision, dtype in (("single", torch.float32), ("double", torch.float64)):
        row(f"SeFa, 9088 x 512, SVD in {precision}", sefa(512, [512] * 17 + [384], dtype, rounds), 5.0)


if __name__ == "__main__":
    main()
