"""Paths through a latent space: step values, and the latents they lead to."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = [
    "PATHS",
    "Number",
    "check_mode",
    "linear",
    "moved",
    "smooth_center",
    "smooth_left_to_right",
    "there_and_back",
    "traversal_latents",
]


Number = float | int


def _count(name: str, given: int, least: int) -> None:
    if given < least:
        raise ValueError(f"{name}={given}: give at least {least}")


def linear(low: Number, high: Number, steps: int) -> Float[Tensor, "steps"]:
    """``steps`` equidistant values from ``low`` to ``high``, both included; the middle alone for one step.

    Raises:
        ValueError: ``steps`` is below 1.

    Example:
        >>> linear(-2, 2, 5).tolist()
        [-2.0, -1.0, 0.0, 1.0, 2.0]
        >>> linear(-2, 2, 1).tolist()
        [0.0]
    """
    _count("steps", steps, 1)
    if steps == 1:
        return torch.tensor([(low + high) / 2], dtype=torch.float32)
    return (low + (high - low) * torch.arange(steps, dtype=torch.float64) / (steps - 1)).float()  # 0 is exactly 0


def there_and_back(low: Number, high: Number, frames: int) -> Float[Tensor, "frames"]:
    """A closed loop for animations: from the middle to ``high``, back to ``low`` and up again, slower at the ends.

    v(i) = m + r sin(2 pi i / frames) with m and r the middle and half width, half a frame off where ``frames`` is no
    multiple of 4. The frame after the last is the first; the way back repeats the values of the way there exactly, so
    that a caller draws each only once.

    Args:
        low: the lower end, which is reached.
        high: the upper end, likewise.
        frames: length of the loop; an even number, at least 2.

    Raises:
        ValueError: ``frames`` is odd or below 2.

    Example:
        >>> there_and_back(-2, 2, 8)
        tensor([ 0.0000,  1.4142,  2.0000,  1.4142,  0.0000, -1.4142, -2.0000, -1.4142])
    """
    _count("frames", frames, 2)
    if frames % 2:
        raise ValueError(f"frames={frames}: a way there and back has an even number of frames")
    quarter = torch.arange(frames // 2 + 1, dtype=torch.float64) * (2 * math.pi / frames) - math.pi / 2
    out = (low + high) / 2 + (high - low) / 2 * quarter.sin()
    return torch.cat([out, out[1:-1].flip(0)]).roll(-(frames // 4)).float()


def _ease(t: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The released ease, clip(sigmoid(10 (t - 1/2) - e) / (1 - 2 e), 0, 1) with e = sigmoid(-5).

    A smooth step would subtract e outside the sigmoid; inside, it starts at 0.0067 and reaches 1 before t = 1.
    """
    e = 1 / (1 + math.exp(5))
    return ((10 * (t - 0.5) - e).sigmoid() / (1 - 2 * e)).clamp(0, 1)


def _released(frames: int) -> Float[Tensor, "frames"]:
    """From 0 to 1 and back, eased as released."""
    t = torch.linspace(0, 1, frames)
    return _ease(torch.minimum(2 * t, 2 * (1 - t)))


def smooth_center(frames: int) -> Float[Tensor, "frames"]:
    """The path of the released Hessian Penalty and OroJaR videos: 0 -> -1 -> 0 -> 1 -> 0, with its small jumps.

    Kept for comparison with published videos (180 frames); `there_and_back` is the better loop. Multiply by the extent.

    Raises:
        ValueError: ``frames`` is no positive multiple of 4, for which the released code returns another length.

    Example:
        >>> path = smooth_center(180)
        >>> [round(path[i].item(), 4) for i in (0, 44, 90, 134)]
        [0.0, -0.9933, 0.0067, 1.0]
    """
    if frames < 4 or frames % 4:
        raise ValueError(f"frames={frames}: smooth_center takes a positive multiple of 4, such as 180")
    half = _released(frames // 2)
    return torch.cat([half.roll(frames // 4) - 1, half])


def smooth_left_to_right(frames: int) -> Float[Tensor, "frames"]:
    """The released path -1 -> 1 -> -1, with the same ease as `smooth_center`.

    Raises:
        ValueError: ``frames`` is below 2.
    """
    _count("frames", frames, 2)
    return 2 * _released(frames) - 1


def _smooth_center(low: Number, high: Number, frames: int) -> Float[Tensor, "frames"]:
    return (low + high) / 2 + (high - low) / 2 * smooth_center(frames)


PATHS: Mapping[str, Callable[[Number, Number, int], Tensor]] = {
    "pingpong": there_and_back,
    "linear": linear,
    "smooth_center": _smooth_center,
}  # what a film can follow, from (low, high, frames)


def moved(z: Tensor, q: Tensor, a: Tensor, mode: str) -> Tensor:
    """The latents z + a q, less what z had along q where that is replaced; row by row, the latent on the last axis."""
    if mode == "replace":
        a = a - (z * q).sum(-1) / q.square().sum(-1)
    return z + a[..., None] * q


def check_mode(q: Float[Tensor, "n dim"], mode: str) -> None:
    """Refuse what `moved` cannot do.

    Raises:
        ValueError: the mode is neither, or a direction to be replaced is zero.
    """
    if mode not in ("replace", "add"):
        raise ValueError(f"mode={mode!r}: a traversal can 'replace' the coordinate along a direction, or 'add' to it")
    zero = (q == 0).all(dim=1)
    if mode == "replace" and bool(zero.any()):
        raise ValueError(
            f"direction {int(zero.nonzero()[0])} is zero: nothing to replace; leave it out, or use mode='add'"
        )


def traversal_latents(
    z: Float[Tensor, "batch dim"],
    directions: Float[Tensor, "n dim"],
    values: Float[Tensor, "steps"],
    mode: str = "replace",
) -> Float[Tensor, "n batch steps dim"]:
    """Latents that move along each direction while the rest of them stays.

    ``replace``: z' = z - (z.q) q + a q for a unit direction q, so that a is the coordinate along q itself, as in the
    released Hessian Penalty and OroJaR tools; for any other length, a counts in units of q. ``add``: z' = z + a q. In
    order: every direction q, every sample z, every value a.

    Raises:
        ValueError: the widths differ, the mode is neither, or a direction to be replaced is zero.

    Example:
        >>> z = torch.tensor([[5.0, 7.0]])
        >>> traversal_latents(z, torch.eye(2), torch.tensor([-1.0, 1.0])).tolist()
        [[[[-1.0, 7.0], [1.0, 7.0]]], [[[5.0, -1.0], [5.0, 1.0]]]]
        >>> traversal_latents(z, torch.eye(2), torch.tensor([-1.0, 1.0]), mode="add")[0].tolist()
        [[[4.0, 7.0], [6.0, 7.0]]]
    """
    check_mode(directions, mode)
    if z.shape[1] != directions.shape[1]:
        raise ValueError(f"directions are {directions.shape[1]} wide and latents {z.shape[1]}; they must be the same")
    return moved(z[None, :, None, :], directions[:, None, None, :], values, mode)
