"""Hessian Penalty and OroJaR against a plain transcription of their formulas, forward and backward.

The transcription makes 2k + 1 (or k + 1) separate passes over the whole batch with gradients, as the released code
does. Both run on the simple GAN at 64 px, regularized on the convolution outputs of blocks 0 to 3, in one process, in
turn; each figure is the median ratio of several rounds. The transcription runs twice: on our network, and on the same
with torch's instance norm, as released. "Base known" is our penalty where the activations at z are handed in from a
pass that was made anyway. Targets: at least 2.0x at batch 16 and 2.8x at batch 64 for the maximum,
and no slower for the mean; ``max_batch`` caps memory and ``Exact`` is another penalty, so both may be.

    python benchmarks/penalties.py [--threads 2] [--rounds 7] [--quick]
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.probing import ProbePenalty
from orthogen.layers.instance_norm import InstanceNorm2d

BLOCKS = 4
STEP = 0.1


def features(generator: nn.Module, z: Tensor) -> list[Tensor]:
    """Convolution outputs, before their norm, of the first blocks."""
    x, found = z[:, :, None, None], []
    for i in range(BLOCKS):
        block = generator.layers[i].layers
        x = block.conv(x)
        found.append(x)
        if i < BLOCKS - 1:
            for name, layer in block.named_children():
                x = layer(x) if name != "conv" else x
    return found


def plain_hessian_penalty(generator: nn.Module, z: Tensor, probes: Tensor, reduction: str) -> Tensor:
    """Var_v [G(z + e v) - 2 G(z) + G(z - e v)] / e², reduced over everything, summed over layers."""
    base = features(generator, z)
    seconds: list[list[Tensor]] = [[] for _ in base]
    for v in probes:
        ahead, behind = features(generator, z + STEP * v), features(generator, z - STEP * v)
        for i, (a, o, b) in enumerate(zip(ahead, base, behind, strict=True)):
            seconds[i].append((a - 2 * o + b) / STEP**2)
    variances = [torch.var(torch.stack(layer), dim=0, unbiased=True) for layer in seconds]
    return sum(x.max() if reduction == "max" else x.mean() for x in variances)


def plain_orojar(generator: nn.Module, z: Tensor, probes: Tensor, reduction: str) -> Tensor:
    """Var_v |[G(z + e v) - G(z)] / e|², reduced over samples, summed over layers."""
    base = features(generator, z)
    norms: list[list[Tensor]] = [[] for _ in base]
    for v in probes:
        for i, (a, o) in enumerate(zip(features(generator, z + STEP * v), base, strict=True)):
            norms[i].append(((a - o) / STEP).flatten(1).square().sum(1))
    variances = [torch.var(torch.stack(layer), dim=0, unbiased=True) for layer in norms]
    return sum(x.max() if reduction == "max" else x.mean() for x in variances)


def with_torchs_norm(generator: nn.Module) -> nn.Module:
    """The same network and weights with torch's own instance norm, as released."""
    released = copy.deepcopy(generator)
    for block in released.layers:
        for name, layer in list(block.layers.named_children()):
            if isinstance(layer, InstanceNorm2d):
                norm = nn.InstanceNorm2d(len(layer.weight), eps=layer.eps, affine=True)
                norm.load_state_dict(layer.state_dict())
                setattr(block.layers, name, norm)
    return released


def seconds(run: Callable[[], Tensor], generator: nn.Module) -> float:
    """One forward and backward pass."""
    generator.zero_grad(set_to_none=True)
    start = time.perf_counter()
    run().backward()
    return time.perf_counter() - start


def compare(
    generator: nn.Module, batch: int, penalty: ProbePenalty, plain: Callable, rounds: int, known: bool
) -> tuple[list[float], list[float]]:
    """Ratios of times, one per round, after a warm-up: on the same network, and on the released one."""
    model, released = og.SimpleGan(), with_torchs_norm(generator)
    layers = tuple(f"layers.{i}.layers.conv" for i in range(BLOCKS))
    f = og.probe(model.adapt(generator), layers)
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(batch, model.latent.dim, generator=rng)
    probes = torch.randint(0, 2, (2, *z.shape), generator=rng).float() * 2 - 1

    def ours() -> Tensor:
        return penalty(seen, z, probes=probes)

    def theirs(network: nn.Module) -> Callable[[], Tensor]:
        return lambda: plain(network, z, probes, penalty.reduction)

    seen = f
    if not isinstance(penalty.derivative, og.Exact):
        for network in (generator, released):
            torch.testing.assert_close(ours(), theirs(network)(), rtol=2e-3, atol=1e-6)
    same, published = [], []
    for i in range(rounds + 1):
        a = seconds(theirs(generator), generator)
        if known:
            seen = f.at(z)  # a fresh graph, not timed
        b = seconds(ours, generator)
        c = seconds(theirs(released), released)
        if i:
            same.append(a / b)
            published.append(c / b)
    return same, published


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="batch 4, two rounds: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    generator = og.SimpleGan().build()["generator"]
    batches, rounds = ((4,), 2) if args.quick else ((16, 64), args.rounds)
    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds: time of plain / time of ours")
    print(f"{'penalty':34} {'batch':>5} {'same network':>22} {'released network':>22} {'target':>7}")
    for method, plain in ((og.HessianPenalty, plain_hessian_penalty), (og.OroJaR, plain_orojar)):
        for batch in batches:
            cases = [
                ("max", method(), {16: 2.0, 64: 2.8}.get(batch)),
                *([("max, base known", method(), None)] if method is og.OroJaR else []),
                ("mean", method(reduction="mean"), 1.0),
                ("mean, max_batch=16", method(reduction="mean", derivative=og.FiniteDifference(max_batch=16)), None),
            ]
            if method is og.OroJaR and batch <= 16:  # for the other, the first two blocks are affine: refused
                cases.append(("mean, exact", method(reduction="mean", derivative=og.Exact()), None))
            for label, penalty, target in cases:
                columns = [
                    f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                    for ratios in compare(generator, batch, penalty, plain, rounds, "known" in label)
                ]
                name = f"{method.__name__}, {label}"
                print(f"{name:34} {batch:5} {columns[0]:>22} {columns[1]:>22} {target or '-':>7}", flush=True)


if __name__ == "__main__":
    main()
