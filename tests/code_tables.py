"""Tables of codes and factors for tests of code metrics, and the draws that golden scores were made with."""

import numpy as np
import torch
from torch import Tensor

from vectors import vectors

GOLDEN_SIZES = (3, 6, 10, 8)


def golden_codes(kind: str, factors: np.ndarray) -> Tensor:
    """The closed-form codes that the golden scores belong to."""
    f = factors.astype(float).T
    std = 2 * f / (np.array(GOLDEN_SIZES)[:, None] - 1) - 1
    noise = np.stack(
        [np.sin(12.9898 * f[0] + 78.233 * f[1] + 37.719 * f[2] + 9.151 * f[3] + 1.7 * k) for k in range(1, 7)]
    )
    if kind == "mixed":
        mix = 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
        return torch.tensor(std.T @ mix + 0.4 * noise[:4].T)
    if kind == "rotated":
        for (i, j), angle in (((0, 1), 0.5), ((2, 3), 0.3)):
            a, b = std[i].copy(), std[j].copy()
            std[i], std[j] = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
    if kind == "dead":
        return torch.tensor(np.concatenate([std + 0.05 * noise[:4], 0.01 * noise[4:], 0 * noise[:1]]).T)
    return torch.tensor(np.concatenate([std + 0.05 * noise[:4], 0.3 * noise[4:]]).T)


def golden_table(kind: str, *, with_test_rows: bool = False) -> tuple[Tensor, Tensor]:
    """Codes and factors of the golden scores: 2000 rows, and the 1000 on which classifiers were tested."""
    factors = vectors("gt_factors")["factors"]
    if with_test_rows:
        factors = np.concatenate([factors, vectors("gt_votes")["factors_test"]])
    return golden_codes(kind, factors), torch.tensor(factors, dtype=torch.int64)


def golden_generator() -> np.random.RandomState:
    """numpy's old generator, whose stream is frozen, as the golden draws began with it."""
    return np.random.RandomState(0)


def golden_factors(rng: np.random.RandomState, n: int) -> np.ndarray:
    """Factors drawn in the order of the golden draws."""
    return np.stack([rng.randint(size, size=n) for size in GOLDEN_SIZES], axis=1)


def grid(*sizes: int) -> Tensor:
    """Every combination of factor values once."""
    return torch.cartesian_prod(*[torch.arange(size) for size in sizes])


def blurred(seed: int, n: int, sizes: tuple[int, ...] = (3, 6, 4), noise: float = 0.3) -> tuple[Tensor, Tensor]:
    """A random table with one mixed code per factor and one of noise: scores in between."""
    rng = torch.Generator().manual_seed(seed)
    factors = torch.stack([torch.randint(size, (n,), generator=rng) for size in sizes], dim=1)
    scaled = 2 * factors.double() / (torch.tensor(sizes) - 1) - 1
    mixing = torch.eye(len(sizes), len(sizes) + 1, dtype=torch.float64)
    mixing[0, 1] = mixing[1, 2] = 0.6
    codes = scaled @ mixing
    return codes + noise * torch.randn(codes.shape, generator=rng, dtype=torch.float64), factors
