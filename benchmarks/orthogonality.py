"""Orthogonal layers against plain transcriptions of their formulas, in one process, in turn.

- `ZcaNorm2d` with 64 channels on 128 x 32 x 32, forward and backward, against a plain eigendecomposition with autograd,
  and against the released formulation: Padé root, inverse, Lyapunov equation by eight sign iterations. Errors of ours
  are relative to the plain formula in float64. Target: at least 1.0x against the faster of the two, errors below 1e-5.
- `SkewOrthogonalConv2d` in training, forward and backward, against the series term by term with the kernel made twice
  per pass and its norms by sums over products, as released. Target: at least 1.3x for the stem of decorrelated batch
  norm (3 to 64 channels on 32 x 32; its images need no gradient).
- The same in evaluation, where our kernels are kept, against the released pass; against our own that makes the kernels
  anew; and against one convolution with the composed kernel of 21 x 21, which is another map near borders.
- `NearestOrthogonalGradient` in one step, on the six bases of EigenGAN at 256 px and on the first layer of the simple
  GAN, against a thin SVD of each gradient that is written back, as released. What the rule logs is part of its time.

Each figure is the median ratio of times, plain / ours, of several rounds.

    python benchmarks/orthogonality.py [--threads 2] [--rounds 7] [--quick]
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.latent import Normal
from orthogen.core.linalg import sqrtm_psd
from orthogen.layers.skew_conv import SkewOrthogonalConv2d
from orthogen.layers.zca import ZcaNorm2d
from orthogen.models.eigengan import EigenGan
from orthogen.models.simple_gan import SimpleGan
from orthogen.rules.nearest_orthogonal_gradient import NearestOrthogonalGradient

RIDGE = 1e-2
SKEW = (  # in, out, kernel, stride, side, batch, whether the input needs a gradient
    ("stem, 3 to 64", 3, 64, 3, 1, 32, 64, False),
    ("64 to 64", 64, 64, 3, 1, 16, 64, True),
    ("32 to 64, stride 2", 32, 64, 3, 2, 16, 64, True),
    ("64 to 64, 1 x 1", 64, 64, 1, 1, 32, 32, True),
)


# ---------------------------------------------------------------------------------------------- transcriptions
def by_eigh(S: Tensor) -> Tensor:
    values, Q = torch.linalg.eigh(S)
    return Q @ torch.diag(values.rsqrt()) @ Q.T


def by_lyapunov(S: Tensor) -> Tensor:
    return torch.linalg.inv(sqrtm_psd(S, method="pade"))


def plain_zca(norm: ZcaNorm2d, x: Tensor, root: Callable[[Tensor], Tensor]) -> Tensor:
    """The channels as rows of a matrix, centered, whitened, and put back."""
    X = x.transpose(0, 1).flatten(1)
    X = X - X.mean(1, keepdim=True)
    S = X @ X.T / X.shape[1] + RIDGE * torch.eye(len(X), dtype=x.dtype)
    y = (root(S) @ X).view(x.transpose(0, 1).shape).transpose(0, 1)
    return y * norm.weight[:, None, None] + norm.bias[:, None, None]


class PlainSkew:
    """The released layer: four pairs of vectors, the kernel made once for its norms and once to convolve."""

    def __init__(self, layer: SkewOrthogonalConv2d) -> None:
        self.layer = layer
        n, k = len(layer.weight), layer.kernel_size
        skew = layer.skew
        self.pairs = [
            (skew.u_sides[0].view(1, n, 1, k), skew.v_sides[0].view(n, 1, k, 1)),
            (skew.u_sides[1].view(1, n, k, 1), skew.v_sides[1].view(n, 1, 1, k)),
            (skew.u_blocks[0].view(1, n, k, k), skew.v_blocks[0].view(n, 1, 1, 1)),
            (skew.u_blocks[1].view(n, 1, k, k), skew.v_blocks[1].view(1, n, 1, 1)),
        ]

    def _kernel(self) -> Tensor:
        R = self.layer.weight
        return (R - R.transpose(0, 1).flip(2, 3)) / 2

    def _sigma(self) -> Tensor:
        kernel = self._kernel()
        if self.layer.training:
            with torch.no_grad():
                for i, (u, v) in enumerate(self.pairs):
                    v = _unit(kernel * u, like=v)
                    self.pairs[i] = _unit(kernel * v, like=u), v
        return torch.stack([(kernel * u * v).sum() for u, v in self.pairs]).min()

    def __call__(self, x: Tensor) -> Tensor:
        """The series, term by term."""
        layer = self.layer
        K = layer.skew.factor * self._kernel() / self._sigma()
        x = F.pixel_unshuffle(x, layer.stride)
        y = term = F.pad(x, (0, 0, 0, 0, 0, len(K) - x.shape[1]))
        for t in range(1, (layer.terms if layer.training else layer.eval_terms) + 1):
            term = F.conv2d(term, K, padding=layer.kernel_size // 2) / t
            y = y + term
        return y[:, : layer.out_channels] + layer.bias[:, None, None]


def _unit(products: Tensor, like: Tensor) -> Tensor:
    """Summed to the shape of ``like``, of length 1."""
    total = products.sum_to_size(like.shape)
    return total / total.norm()


def composed(layer: SkewOrthogonalConv2d) -> Callable[[Tensor], Tensor]:
    """One convolution with the kernel of the whole series; right where no border is near."""
    reach = layer.eval_terms * (layer.kernel_size // 2)
    inputs = layer.in_channels * layer.stride**2
    impulse = torch.zeros(inputs, inputs, 4 * reach + 1, 4 * reach + 1)
    impulse[range(inputs), range(inputs), 2 * reach, 2 * reach] = 1
    response = layer(F.pixel_shuffle(impulse, layer.stride)) - layer.bias[:, None, None]
    kernel = response.transpose(0, 1).flip(2, 3)[:, :, reach : 3 * reach + 1, reach : 3 * reach + 1].contiguous()
    return lambda x: F.conv2d(F.pixel_unshuffle(x, layer.stride), kernel, layer.bias, padding=reach)


def plain_nog(weights: Sequence[nn.Parameter]) -> None:
    """The released step: singular values of 1, no look at what is not finite."""
    for weight in weights:
        U, _, Vh = torch.linalg.svd(weight.grad.flatten(1), full_matrices=False)
        weight.grad = (U @ Vh).view_as(weight)


# ---------------------------------------------------------------------------------------------- timing
def nothing() -> None:
    pass


def seconds(run: Callable[[], object], prepare: Callable[[], object] = nothing) -> float:
    prepare()
    start = time.process_time()
    run()
    return time.process_time() - start


def ratios(
    plain: Sequence[Callable[[], object]],
    ours: Callable[[], object],
    rounds: int,
    prepare: Callable[[], object] = nothing,
) -> list[str]:
    """Time of each of ``plain`` / time of ours, median and range over the rounds, after a warm-up.

    ``prepare`` comes before each of them and does not count.
    """
    found: list[list[float]] = [[] for _ in plain]
    for i in range(rounds + 1):
        times = [seconds(run, prepare) for run in plain]
        own = seconds(ours, prepare)
        if i:
            for column, other in zip(found, times, strict=True):
                column.append(other / own)
    return [f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})" for column in found]


def gradients(f: Callable[[Tensor], Tensor], inputs: Sequence[Tensor], cotangent: Tensor) -> list[Tensor]:
    """Value and gradients of one pass."""
    y = f(inputs[0])
    return [y.detach(), *torch.autograd.grad(y, inputs, cotangent)]


def error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()


def zca(rounds: int, batch: int) -> None:
    norm = ZcaNorm2d(64, eps=RIDGE)
    with torch.no_grad():  # channels of a covariance with eigenvalues from 1 to 1e-4
        Q = torch.linalg.qr(torch.randn(64, 64))[0] * torch.logspace(0, -2, 64)
        x = F.conv2d(torch.randn(batch, 64, 32, 32), Q[:, :, None, None]) + torch.randn(64, 1, 1)
    cotangent = torch.randn_like(x)
    inputs = (x.requires_grad_(), norm.weight, norm.bias)

    def ours() -> list[Tensor]:
        return gradients(norm, inputs, cotangent)

    plain = [
        partial(gradients, partial(plain_zca, norm, root=root), inputs, cotangent) for root in (by_eigh, by_lyapunov)
    ]
    found = ours()
    double = ZcaNorm2d(64, eps=RIDGE).double()
    wide = (x.detach().double().requires_grad_(), double.weight, double.bias)
    exact = gradients(lambda x: plain_zca(double, x, by_eigh), wide, cotangent.double())
    errors = ", ".join(f"{error(a, b):.1e}" for a, b in zip(found, exact, strict=True))
    columns = ratios(plain, ours, rounds)
    print(f"ZCA, 64 channels, {batch} x 32 x 32: plain / ours, forward and backward; target 1.0")
    print(f"  eigh with autograd      {columns[0]}")
    print(f"  Lyapunov iteration      {columns[1]}")
    print(f"  errors of y, dx, dw, db {errors}; target 1e-5", flush=True)


def skew_training(layer: SkewOrthogonalConv2d, x: Tensor, needs: bool, rounds: int) -> str:
    layer.train()
    inputs = [layer.weight, layer.bias, *([x.requires_grad_()] if needs else [])]
    cotangent = torch.randn_like(layer(x))

    def run(f: Callable[[Tensor], Tensor]) -> object:
        return torch.autograd.grad(f(x), inputs, cotangent)

    return ratios([partial(run, PlainSkew(layer))], partial(run, layer), rounds)[0]


@torch.no_grad()
def skew_evaluation(layer: SkewOrthogonalConv2d, x: Tensor, rounds: int) -> list[str]:
    layer.eval()
    plain = PlainSkew(layer)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-4)
    others = [partial(plain, x)]
    if layer.kernel_size > 1:
        anew = copy.deepcopy(layer)
        anew.skew.register_buffer("unlike", torch.full((1,), torch.nan))  # nothing equals what it was
        others += [partial(anew, x), partial(composed(layer), x)]
    return ratios(others, partial(layer, x), rounds)


def skew(rounds: int, quick: bool) -> None:
    print("skew convolution: training, target 1.3 for the stem; evaluation against the released layer, against kernels")
    print("made anew, against one composed kernel")
    for label, inputs, outputs, k, stride, side, batch, needs in SKEW:
        layer = SkewOrthogonalConv2d(inputs, outputs, k, stride)
        x = torch.randn(4 if quick else batch, inputs, side, side)
        training = skew_training(layer, x, needs, rounds)
        evaluation = skew_evaluation(layer, x.detach(), rounds)
        print(f"  {label:19} {training:22} {'  '.join(f'{each:22}' for each in evaluation)}", flush=True)


def nog(rounds: int, resolution: int) -> None:
    print("nearest orthogonal gradient in one step: thin SVD / ours")
    eigengan, simple = EigenGan(resolution=resolution), SimpleGan(Normal(30), channels=3, resolution=128)
    for label, model, names in (
        (f"EigenGAN, {resolution} px", eigengan, eigengan.subspaces),
        ("simple GAN, 30 x 16384", simple, (simple.first_weight,)),
    ):
        generator = model.build()["generator"]
        weights = [generator.get_parameter(name) for name in names]
        gradients = [torch.randn_like(weight) for weight in weights]
        optimizer = torch.optim.Adam(weights)
        rule = NearestOrthogonalGradient(names).bind(generator)

        def fresh(weights: list[nn.Parameter] = weights, gradients: list[Tensor] = gradients) -> None:
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.clone()

        fresh()
        plain_nog(weights)
        expected = [weight.grad for weight in weights]
        fresh()
        rule.before(optimizer)
        apart = max((weight.grad - exact).abs().max().item() for weight, exact in zip(weights, expected, strict=True))
        (found,) = ratios([partial(plain_nog, weights)], partial(rule.before, optimizer), rounds, fresh)
        print(f"  {label:24} {found:22} largest difference {apart:.1e}", flush=True)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="small batches, two rounds: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rounds = 2 if args.quick else args.rounds
    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds")
    zca(rounds, 8 if args.quick else 128)
    skew(rounds, args.quick)
    nog(rounds, 32 if args.quick else 256)


if __name__ == "__main__":
    main()
