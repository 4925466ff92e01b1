"""What scores of codes share: checks of their input, equal bins, and mutual information with its error."""

from collections.abc import Callable

import torch
from torch import Tensor

from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.shapes import Bool, Float, Int, Shaped

__all__ = ["HALVES", "bins", "checked", "deviation", "information", "runs", "spread_over_halves", "varied"]

ROUNDING = 1e-12  # nats; less mutual information than that is a difference of equal entropies
LARGEST = 1e30  # its square, summed over a table, is finite
HALVES = "spread over random halves of the samples"


def checked(
    name: str,
    codes: Float[Tensor, "n c"],
    factors: Int[Tensor, "m f"],
    *,
    of: str = "a score",
    least_codes: int = 1,
    least_factors: int = 1,
) -> tuple[Float[Tensor, "n c"], Int[Tensor, "f n"]]:
    """The codes in float64, and each factor's values renumbered 0, 1, ..., beside them.

    Raises:
        ValueError: these are no tables, ``of`` cannot be had from so few samples, codes or factors, or codes are not
            finite, or so large that their squares might not be.
    """
    if codes.ndim != 2 or factors.ndim != 2:
        raise ValueError(
            f"{name} was given codes of shape {tuple(codes.shape)} and factors of shape {tuple(factors.shape)}; give "
            "tables of shape (samples, codes) and (samples, factors), also for one of them: x[:, None]"
        )
    (n, count), (rows, wanted) = codes.shape, factors.shape
    if rows != n:
        raise ValueError(f"{name} was given {n} codes and {rows} rows of factors; give one row of each per sample")
    if n < 2 or count < least_codes:
        raise ValueError(
            f"{name} was given {n} samples of {count} codes; {of} needs at least 2 samples of {least_codes} codes"
        )
    if wanted < least_factors:
        raise ValueError(f"{name} was given {wanted} factors; {of} needs at least {least_factors}")
    if not codes.isfinite().all():
        raise ValueError(f"{name} was given codes that are not finite; remove those rows")
    if codes.numel() and codes.detach().abs().amax() > LARGEST:
        raise ValueError(f"{name} was given codes beyond ±{LARGEST:.0e}; divide them by their deviation")
    columns = factors.detach().to(codes.device).unbind(dim=1)
    return codes.detach().double(), torch.stack([torch.unique(x, return_inverse=True)[1] for x in columns])


def varied(labels: Int[Tensor, "f n"], least_entropy: float) -> Bool[Tensor, "f"]:
    """Which factors have at least so much entropy, in nats, in the sample."""
    shares = [label.bincount().double() / len(label) for label in labels]
    entropy = torch.stack([-share.xlogy(share).sum() for share in shares])
    return entropy >= max(least_entropy, 1e-12)


def deviation(codes: Float[Tensor, "n c"]) -> Float[Tensor, "c"]:
    """Standard deviation of each code, exactly 0 where it is constant, which rounding in a mean could hide."""
    if len(codes) < 2:
        return codes.new_zeros(codes.shape[1])
    return torch.where(codes.amax(dim=0) > codes.amin(dim=0), codes.std(dim=0), 0.0)


def bins(values: Float[Tensor, "n k"], count: int) -> Int[Tensor, "k n"]:
    """Bin of each value among ``count`` equal ones between its column's extremes; a left edge belongs to its bin."""
    columns = values.T.contiguous()
    low, high = columns.amin(dim=1, keepdim=True), columns.amax(dim=1, keepdim=True)
    steps = torch.arange(count, dtype=columns.dtype, device=columns.device)
    return torch.searchsorted(low + steps * ((high - low) / count), columns, right=True) - 1


def runs(rows: Shaped[Tensor, "k n"]) -> tuple[Int[Tensor, "k n"], Int[Tensor, "k n"]]:
    """For each place in sorted rows, the first and the last place of the run of equal values that it belongs to."""
    n = rows.shape[1]
    place = torch.arange(n, device=rows.device).expand(rows.shape)
    new = torch.ones_like(rows, dtype=torch.bool)
    new[:, 1:] = rows[:, 1:] != rows[:, :-1]
    first = torch.where(new, place, 0).cummax(dim=1).values
    last = torch.where(new.roll(-1, dims=1), place, n - 1).flip(1).cummin(dim=1).values.flip(1)
    return first, last


def spread_over_halves(
    statistic: Callable[[Tensor, Tensor], Float[Tensor, "s"]],
    table: Float[Tensor, "n c"],
    labels: Int[Tensor, "f n"],
    count: int,
    rng: torch.Generator | None,
) -> list[float] | None:
    """Standard errors of ``statistic(table, labels)``, a vector, by its spread over ``count`` random halves.

    The delete-d jackknife (Shao and Wu, 1989) with d = n / 2, whose factor (n - d) / d is 1. Unlike a derivative with
    respect to weights it sees that bins move with a code's extremes. None for fewer than two halves or four samples.
    """
    n = len(table)
    if count < 2 or n < 4:
        return None
    rng = private() if rng is None else rng
    found = []
    for _ in track(range(count), "standard error, from halves"):
        rows = torch.randperm(n, generator=rng, device=rng.device)[: n // 2].to(table.device)
        found.append(statistic(table[rows], labels[:, rows]))
    return torch.stack(found).std(dim=0).tolist()


def information(
    codes: Int[Tensor, "c n"], labels: Int[Tensor, "f n"]
) -> tuple[Float[Tensor, "c f"], Float[Tensor, "f"]]:
    """Mutual information of every code with every factor, and the factors' entropies: plug-in estimates in nats.

    Args:
        codes: bin of each sample in each code, from 0 on.
        labels: value of each sample in each factor, from 0 on.
    """
    n, high, width = codes.shape[1], int(codes.max()) + 1, int(labels.max()) + 1
    empty = torch.zeros(len(codes), high * width, dtype=torch.float64, device=codes.device)
    one = torch.ones(codes.shape, dtype=torch.float64, device=codes.device)
    tables = [empty.scatter_add(1, codes * width + label, one) for label in labels]
    joint = torch.stack(tables, dim=1).unflatten(2, (high, width)) / n  # (c, f, b, v)
    bin_share, share = joint.sum(dim=3), joint[0].sum(dim=1)

    def entropy(p: Tensor) -> Tensor:
        return torch.special.entr(p).sum(dim=-1)

    mutual = entropy(bin_share) + entropy(share) - entropy(joint.flatten(2))
    return torch.where(mutual > ROUNDING, mutual, 0.0), entropy(share)
