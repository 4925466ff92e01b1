"""How much of what a method finds depends on its seed."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.linalg import principal_angles
from orthogen.core.score import Score
from orthogen.core.shapes import Float

__all__ = ["consistency"]

DIGITS = 7  # of a cosine: directions are in single precision
DRAWS = 4096  # of a random direction, for what chance gives


def consistency(runs: Sequence[Directions]) -> Score:
    """Agreement of the directions that one method finds with several seeds.

    For direction i of the first seed, and the directions q_j of each other seed s,

        c_i = mean over s of max_j |cos(q_i, q_j)|,   value = mean of c_i

    1 where every seed finds the same directions, in whatever order, sign and length. The spans are compared by
    themselves: the part ``angle`` is the mean, and ``largest_angle`` the largest, of the principal angles in degrees
    between the spans of each two seeds, as a mean over these pairs. A method may find the same span with another basis
    in it every time (small angles, low c_i). As many directions as there are dimensions always have one span, and
    ``angle`` is then None. What a random direction has with as many orthonormal ones is the part ``chance``.

    The standard error is over the other seeds, of which two or more are needed for one.

    Raises:
        ValueError: fewer than two seeds, or directions of different spaces or widths.

    Reference:
        A. Björck, G. H. Golub, "Numerical Methods for Computing Angles Between Linear Subspaces", Mathematics of
        Computation 27, 1973 (principal angles).

    Example:
        The same plane, with its axes turned by 45 degrees.

        >>> first, second = torch.eye(3)[:2], torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
        >>> score = consistency([Directions(first), Directions(second)])
        >>> round(score.value, 4), round(score.parts["angle"], 4)
        (0.7071, 0.0)
    """
    if len(runs) < 2:
        raise ValueError(f"consistency was given the directions of {len(runs)} seed; it compares two or more")
    first, *others = runs
    for run in others:
        if run.space != first.space or run.basis.shape[1] != first.basis.shape[1]:
            raise ValueError(
                f"directions of {first.basis.shape[1]} dimensions in {first.space!r} and of {run.basis.shape[1]} in "
                f"{run.space!r} cannot be compared; fit them on one generator"
            )
    bases = [F.normalize(run.basis.detach().cpu().double(), dim=1) for run in runs]
    closest = torch.stack([(bases[0] @ basis.mT).abs().amax(dim=1) for basis in bases[1:]])
    table = closest.clamp_max(1.0).round(decimals=DIGITS)
    scale, known = len(others) ** -0.5, len(others) > 1
    dim, count = first.basis.shape[1], len(first)
    return Score(
        table.mean().item(),
        stderr=table.mean(dim=1).std().item() * scale if known else None,
        n=len(runs),
        name="Consistency",
        protocol={
            "compared": "each direction of the first seed with the closest of every other",
            "directions": count,
            "dim": dim,
            "space": first.space,
            "stderr": "over the other seeds",
        },
        parts={
            "directions": list(first.names),
            "consistency": table.mean(dim=0).tolist(),
            "stderr": (table.std(dim=0) * scale).tolist() if known else None,
            **_angles(bases),
            "chance": _chance(count, dim),
        },
    )


def _angles(bases: list[Float[Tensor, "_ dim"]]) -> dict[str, float | None]:
    """Means over pairs of seeds, in degrees; None where there is nothing to compare."""
    mean, largest = [], []
    for i, one in enumerate(bases):
        for other in bases[i + 1 :]:
            if max(len(one), len(other)) >= one.shape[1]:
                continue  # one of them is the whole space
            try:
                angles = torch.rad2deg(principal_angles(one, other))
            except ValueError:  # rows that depend on each other span less than they are
                continue
            mean.append(angles.mean().item())
            largest.append(angles.max().item())
    if not mean:
        return {"angle": None, "largest_angle": None}
    return {"angle": sum(mean) / len(mean), "largest_angle": sum(largest) / len(largest)}


def _chance(count: int, dim: int) -> float:
    """The mean of the largest of ``count`` coordinates of a random unit vector."""
    z = torch.randn(DRAWS, dim, generator=randomness.generator("consistency", "chance"), dtype=torch.float64)
    return float(F.normalize(z, dim=1)[:, : min(count, dim)].abs().amax(dim=1).mean())
