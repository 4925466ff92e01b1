"""The squared maximum mean discrepancy of two sets under a cubic kernel, and what its variance is made of.

Hoeffding's decomposition of the unbiased estimate has five terms that do not correlate: of single images of either
set, and of pairs within and between the sets. Their variances are estimated without bias from the sums of the kernel
matrices that the value needs anyway, which are held in blocks.
"""

import torch
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["cubic", "discrepancy", "variance"]

ENTRIES = 2**24  # of a kernel matrix held at once
STRIP = 256  # rows of a symmetric matrix computed at once; what lies below the diagonal is not


def cubic(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """The kernel (x.y / d + 1)^3 of all pairs."""
    return torch.addmm(x.new_ones(()), x, y.T, alpha=1 / x.shape[1]).pow_(3)


def _squares(block: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
    return torch.linalg.vector_norm(block, dim=1).double().square().sum()


def _within(x: Float[Tensor, "n d"], shift: Float[Tensor, ""]) -> tuple[Float[Tensor, "n"], Float[Tensor, ""]]:
    """Sums over the rows of the kernel matrix less ``shift``, without its diagonal, and the sum of its squares."""
    n, rows, squares = len(x), x.new_zeros(len(x), dtype=torch.float64), x.new_zeros((), dtype=torch.float64)
    step = max(1, min(STRIP, ENTRIES // n))
    for start in range(0, n, step):
        block = cubic(x[start : start + step], x[start:]).sub_(shift)
        block.diagonal().zero_()
        mirrored = block[:, step:]  # stands for itself and for what lies below the diagonal
        rows[start : start + step] += block.sum(dim=1).double()
        rows[start + step :] += mirrored.sum(dim=0).double()
        squares += _squares(block) + _squares(mirrored)
    return rows, squares


def _between(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], shift: Float[Tensor, ""]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "m"], Float[Tensor, ""]]:
    """Sums over rows and columns of the kernel matrix less ``shift``, and the sum of its squares."""
    rows, columns = (z.new_zeros(len(z), dtype=torch.float64) for z in (x, y))
    squares = x.new_zeros((), dtype=torch.float64)
    step = max(1, ENTRIES // len(y))
    for start in range(0, len(x), step):
        block = cubic(x[start : start + step], y).sub_(shift)
        rows[start : start + step] = block.sum(dim=1).double()
        columns += block.sum(dim=0).double()
        squares += _squares(block)
    return rows, columns, squares


def discrepancy(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], shift: Float[Tensor, ""] | None = None
) -> Float[Tensor, "6"]:
    """The unbiased estimate of the discrepancy, and of the five variances of its terms.

    These are Var E[k(x, x') - k(x, y) | x], the same of y, and the variances of what neither image of a pair explains
    of k(x, x'), k(y, y') and k(x, y). All six are means over samples, so those of several subsets can be averaged.

    Args:
        x: one set, of at least 4.
        y: the other, of at least 4.
        shift: subtracted from the kernel, which changes nothing but rounding; near its values if None.
    """
    n, m = len(x), len(y)
    shift = cubic(x.mean(dim=0)[None], y.mean(dim=0)[None])[0, 0] if shift is None else shift
    (of_x, xx), (of_y, yy), (across, down, xy) = _within(x, shift), _within(y, shift), _between(x, y, shift)
    within = of_x.sum() / (n * (n - 1)) + of_y.sum() / (m * (m - 1))
    mean = across.sum() / (n * m)

    pairs = []  # centered by row and column; without a diagonal the sums are over one less each (Székely and Rizzo)
    for rows, squares, size in ((of_x, xx, n), (of_y, yy, m)):
        explained = 2 * rows.square().sum() / (size - 2) - rows.sum().square() / ((size - 1) * (size - 2))
        pairs.append((squares - explained).clamp_min(0) / (size * (size - 3)))
    explained = across.square().sum() / m + down.square().sum() / n - n * m * mean.square()
    pairs.append((xy - explained).clamp_min(0) / ((n - 1) * (m - 1)))

    # of n - 1 others, the mean over which an image is itself part of: with n - 2 its own share in it comes out right
    single_x = (of_x / (n - 2) - across / m).var() - pairs[0] / (n - 2) - pairs[2] / m
    single_y = (of_y / (m - 2) - down / n).var() - pairs[1] / (m - 2) - pairs[2] / n
    return torch.stack([within - 2 * mean, single_x, single_y, *pairs])


def variance(found: Float[Tensor, "6"], n: int, m: int) -> float:
    """The variance of the discrepancy of n against m images, from what `discrepancy` found on as many or fewer.

    Var = 4 V_x / n + 4 V_y / m + 2 V_xx / n(n - 1) + 2 V_yy / m(m - 1) + 4 V_xy / nm
    """
    _, x, y, xx, yy, xy = found.tolist()
    return max(0.0, 4 * x / n + 4 * y / m) + 2 * xx / (n * (n - 1)) + 2 * yy / (m * (m - 1)) + 4 * xy / (n * m)
