"""How well directions that were planted in a generator are found again."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.linalg import orthonormalize
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.evaluation.assignment import assignment

__all__ = ["planted_leakage", "recovery"]

TIED = 1e-3  # strengths that differ by less than this share of the larger are one
DIGITS = 7  # of a cosine: directions are in single precision
DRAWS = 100  # of random directions, for what chance gives
LEAST = 0.01  # change of all planted coordinates together, per unit of latent, from which on a direction counts as live


def _ties(planted: Directions) -> list[list[int]]:
    """The planted directions, those of one strength together: any basis of their span is as good an answer."""
    if planted.strength is None:
        return [[i] for i in range(len(planted))]
    strength = planted.strength.double()
    groups: list[list[int]] = []
    for i in strength.argsort(descending=True, stable=True).tolist():
        above = float(strength[groups[-1][-1]]) if groups else float("inf")
        if groups and above - float(strength[i]) <= TIED * above:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _recovered(
    found: Float[Tensor, "m dim"], planted: Float[Tensor, "k dim"], ties: list[list[int]]
) -> tuple[list[float], list[int | None]]:
    """For each planted direction how well it was found, and the direction it was found as."""
    cosines = found @ planted.mT
    likeness = torch.empty(len(planted), len(found), dtype=torch.float64)
    for group in ties:
        likeness[group] = cosines[:, group].norm(dim=1)  # the part of a found direction that lies in the span
    which = assignment(likeness.numpy())
    values = [0.0] * len(planted)
    for group in ties:
        rows = found[[j for i in group if (j := which[i]) is not None]]
        if not len(rows):
            continue
        if len(group) == 1:
            values[group[0]] = float((rows[0] @ planted[group[0]]).abs().clamp_max(1.0))
            continue
        _, s, axes = torch.linalg.svd(rows, full_matrices=False)
        shared = torch.linalg.svdvals(axes[s > 1e-6 * s[0]] @ planted[group].mT)  # cosines of principal angles
        for i in group:
            values[i] = float(shared.clamp_max(1.0).sum() / len(group))
    return values, which


def _unit(basis: Tensor) -> Float[Tensor, "n dim"]:
    return F.normalize(basis.detach().cpu().double(), dim=1)


def recovery(found: Directions | Sequence[Directions], planted: Directions | Sequence[Directions]) -> Score:
    """Mean |cos| between the planted directions and the found ones that are assigned to them, one to one.

        r_i = |cos(p_i, q_a(i))|,   a = the one-to-one assignment with the largest sum,   value = mean of r_i

    1 where every planted direction was found, in whatever order, sign and length; a planted direction that goes without
    (fewer were found) has r_i = 0. Directions planted with one strength cannot be told apart: those of such a group
    share the mean cosine of the principal angles between their span and that of the directions assigned to it, which is
    1 for any basis of it. What random orthonormal directions of the same number give is the part ``chance``.

    Args:
        found: directions, or those of several seeds: the value is then their mean and has a standard error.
        planted: the answer, orthonormal where strengths are tied; one for each of several seeds where generators
            differ too.

    Raises:
        ValueError: directions of another width, or another number of answers than of seeds.

    Example:
        >>> planted = Directions(torch.eye(3)[:2])
        >>> score = recovery(Directions(torch.tensor([[0.0, -2.0, 0.0], [3.0, 0.0, 4.0]])), planted)
        >>> [round(r, 4) for r in score.parts["recovery"]]
        [0.6, 1.0]
    """
    runs = [found] if isinstance(found, Directions) else list(found)
    answers = [planted] * len(runs) if isinstance(planted, Directions) else list(planted)
    if not runs or len(answers) != len(runs):
        raise ValueError(
            f"recovery was given the directions of {len(runs)} seeds and {len(answers)} answers; give one answer for "
            "all, or one for each"
        )
    each, which = [], []
    for run, answer in zip(runs, answers, strict=True):
        _same_width(run, answer)
        values, assigned = _recovered(_unit(run.basis), _unit(answer.basis), _ties(answer))
        each.append(values)
        which.append(assigned)
    table = torch.tensor(each, dtype=torch.float64).round(decimals=DIGITS)  # (seeds, planted)
    error = table.std(dim=0) * len(runs) ** -0.5 if len(runs) > 1 else None
    return Score(
        table.mean().item(),
        stderr=None if error is None else table.mean(dim=1).std().item() * len(runs) ** -0.5,
        n=len(runs),
        name="Recovery",
        protocol={
            "assignment": "one to one, largest sum of |cos|",
            "tied strengths": "mean cosine of the principal angles of their span",
            "planted": len(answers[0]),
            "found": len(runs[0]),
            "dim": runs[0].basis.shape[1],
            "stderr": "over seeds",
        },
        parts={
            "directions": list(answers[0].names),
            "recovery": table.mean(dim=0).tolist(),
            "stderr": None if error is None else error.tolist(),
            "found_as": [None if j is None else runs[0].names[j] for j in which[0]],
            "chance": _chance(len(runs[0]), answers[0]),
        },
    )


def _same_width(found: Directions, planted: Directions) -> None:
    if found.basis.shape[1] != planted.basis.shape[1]:
        raise ValueError(
            f"the directions are {found.basis.shape[1]} wide and the planted ones {planted.basis.shape[1]}; compare "
            "those of one generator"
        )


def _chance(count: int, planted: Directions) -> float:
    """The mean recovery by random orthonormal directions."""
    rng, dim = randomness.generator("recovery", "chance"), planted.basis.shape[1]
    answer, ties, total = _unit(planted.basis), _ties(planted), 0.0
    for _ in range(DRAWS):
        guess = orthonormalize(torch.randn(min(count, dim), dim, generator=rng, dtype=torch.float64))
        values, _ = _recovered(guess, answer, ties)
        total += sum(values) / len(values)
    return total / DRAWS


def planted_leakage(found: Directions, planted: Directions) -> Score:
    """Share of what directions change in the planted coordinates that is not their main one.

        M_ik = |p_k . q_i| with q_i at length 1,   leakage_i = 1 - max_k M_ik / sum_k M_ik

    the `Leakage` of a reader that reads the coordinates p_k . z themselves, for planted p_k at length 1: 0 where each
    direction changes one of them. A direction that changes none (all of them by less than 0.01 together) has no main
    one: it is left out of the mean and named in the part ``dead``; where all are dead the value is 0. The standard
    error is 0, as nothing is drawn.

    Raises:
        ValueError: directions of another width.

    Example:
        >>> found = Directions(torch.tensor([[1.0, 0.0, 0.0], [0.0, 3.0, 1.0]]))
        >>> [round(leak, 4) for leak in planted_leakage(found, Directions.coordinates(3)).parts["leakage"]]
        [0.0, 0.25]
    """
    _same_width(found, planted)
    matrix = (_unit(found.basis) @ _unit(planted.basis).mT).abs()
    total = matrix.sum(dim=1)
    live = (total > LEAST).tolist()
    leak = (1 - matrix.amax(dim=1) / total.clamp_min(1e-12)).tolist()
    alive = [value for value, yes in zip(leak, live, strict=True) if yes]
    main = matrix.argmax(dim=1).tolist()
    return Score(
        sum(alive) / len(alive) if alive else 0.0,
        stderr=0.0,
        n=len(found),
        name="Leakage",
        protocol={"reader": "the planted coordinates", "least": LEAST, "lengths": "unit"},
        parts={
            "directions": list(found.names),
            "factors": list(planted.names),
            "matrix": matrix.tolist(),
            "leakage": [value if yes else None for value, yes in zip(leak, live, strict=True)],
            "leakage_stderr": [0.0 if yes else None for yes in live],
            "main": [planted.names[k] if yes else None for k, yes in zip(main, live, strict=True)],
            "dead": [name for name, yes in zip(found.names, live, strict=True) if not yes],
        },
    )
