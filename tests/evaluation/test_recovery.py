import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import orthogen as og
from orthogen.core.linalg import orthonormalize
from orthogen.evaluation.assignment import assignment
from orthogen.evaluation.consistency import consistency
from orthogen.evaluation.recovery import planted_leakage, recovery


def haar(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return orthonormalize(torch.randn(n, dim, generator=rng, dtype=torch.float64))


# ---------------------------------------------------------------------------------------------- assignment
@given(
    st.integers(1, 7).flatmap(
        lambda n: st.integers(1, 7).flatmap(
            lambda m: st.lists(st.lists(st.integers(0, 5), min_size=m, max_size=m), min_size=n, max_size=n)
        )
    )
)
def test_the_assignment_is_the_best_there_is(rows):
    values = np.array(rows, dtype=float)
    found = assignment(values)
    taken = [column for column in found if column is not None]
    assert len(taken) == len(set(taken)) == min(values.shape)
    i, j = linear_sum_assignment(values, maximize=True)
    assert sum(values[r, c] for r, c in enumerate(found) if c is not None) == pytest.approx(values[i, j].sum())


# ---------------------------------------------------------------------------------------------- recovery
def test_the_planted_directions_are_found_whatever_their_order_sign_and_length():
    basis = haar(5, 8)
    planted = og.Directions(basis, names=tuple("abcde"))
    mixed = og.Directions(torch.tensor([[-1.0], [3.0], [0.2], [1.0], [-5.0]]) * basis[[3, 0, 4, 2, 1]])
    score = recovery(mixed, planted)
    assert score.value == 1.0
    assert score.parts["found_as"] == ["1", "4", "3", "0", "2"]
    assert score.parts["directions"] == list("abcde")
    assert (score.stderr, score.n) == (None, 1)


def test_random_directions_in_a_plane_recover_what_they_should():
    planted = og.Directions(torch.eye(2))
    found = [og.Directions(haar(2, 2, seed)) for seed in range(400)]
    score = recovery(found, planted)
    # a turned pair: max(|cos t|, |sin t|), of which the mean over t is (4 / pi) sin(pi / 4)
    expected = 4 / np.pi * np.sin(np.pi / 4)
    assert score.value == pytest.approx(expected, abs=3 * score.stderr)
    assert score.parts["chance"] == pytest.approx(expected, abs=0.03)
    assert score.stderr < 0.01


def test_one_random_direction_recovers_the_mean_cosine():
    # E|u_1| of a unit vector in three dimensions is 1/2
    score = recovery([og.Directions(haar(1, 3, seed)) for seed in range(500)], og.Directions(torch.eye(3)[:1]))
    assert score.value == pytest.approx(0.5, abs=3 * score.stderr)


def test_what_was_not_found_counts_nothing():
    score = recovery(og.Directions(torch.eye(4)[:1]), og.Directions(torch.eye(4)))
    assert score.parts["recovery"] == [1.0, 0.0, 0.0, 0.0]
    assert score.parts["found_as"] == ["0", None, None, None]
    assert score.value == 0.25
    # one direction cannot stand for two
    twice = recovery(og.Directions(torch.eye(2)[[0, 0]]), og.Directions(torch.eye(2)))
    assert sorted(twice.parts["recovery"]) == [0.0, 1.0]


def test_tied_directions_are_as_good_in_any_basis_of_their_span():
    basis = haar(4, 4)
    strengths = torch.tensor([3.0, 2.0, 2.0 - 1e-4, 1.0])
    tied, told = og.Directions(basis, strength=strengths), og.Directions(basis)
    turned = basis.clone()
    turned[1:3] = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64) @ basis[1:3]
    assert recovery(og.Directions(turned), tied).value == pytest.approx(1.0)
    assert recovery(og.Directions(turned), told).value == pytest.approx((2 + 2 * 0.8) / 4)
    # both in the span, but the same one twice: half of it
    half = torch.stack([basis[0], basis[1], basis[1], basis[3]])
    assert recovery(og.Directions(half), tied).parts["recovery"] == pytest.approx([1.0, 0.5, 0.5, 1.0])


def test_several_seeds_of_several_answers():
    answers = [og.Directions(haar(3, 6, seed)) for seed in range(3)]
    perfect = recovery(answers, answers)
    assert (perfect.value, perfect.stderr, perfect.n) == (1.0, 0.0, 3)
    mixed = recovery([answers[0], answers[1], answers[1]], answers)
    alone = recovery(answers[1], answers[2]).value
    assert mixed.value == pytest.approx((2 + alone) / 3)
    assert mixed.stderr == pytest.approx(np.std([1, 1, alone], ddof=1) / 3**0.5)


def test_recovery_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="are 3 wide and the planted ones 2; compare those of one generator"):
        recovery(og.Directions(torch.eye(3)), og.Directions(torch.eye(2)))
    with pytest.raises(ValueError, match="directions of 1 seeds and 2 answers"):
        recovery(og.Directions(torch.eye(2)), [og.Directions(torch.eye(2))] * 2)


# ---------------------------------------------------------------------------------------------- leakage
def test_planted_directions_do_not_leak_and_diagonals_do():
    basis = haar(6, 6)
    planted = og.Directions(basis[:4], names=("x", "y", "size", "angle"))
    found = torch.stack([-3 * basis[2], basis[0] + basis[1], basis[5], basis[3] + 3 * basis[4]])
    score = planted_leakage(og.Directions(found), planted)
    assert score.parts["leakage"] == [pytest.approx(0, abs=1e-6), pytest.approx(0.5), None, pytest.approx(0, abs=1e-6)]
    assert score.parts["main"][0] == "size"
    assert score.parts["main"][3] == "angle"
    assert score.parts["dead"] == ["2"]
    assert score.value == pytest.approx(0.5 / 3)
    assert planted_leakage(og.Directions(basis[4:]), planted).value == 0.0


# ---------------------------------------------------------------------------------------------- consistency
def test_the_same_directions_in_any_order_agree():
    basis = haar(3, 7)
    score = consistency([og.Directions(basis), og.Directions(-basis[[2, 0, 1]]), og.Directions(5 * basis)])
    assert (score.value, score.stderr, score.n) == (1.0, 0.0, 3)
    assert score.parts["consistency"] == [1.0, 1.0, 1.0]
    assert score.parts["angle"] == pytest.approx(0.0, abs=1e-4)


def test_a_turned_basis_has_the_same_span():
    basis = haar(2, 5)
    turn = torch.tensor([[0.5**0.5, 0.5**0.5], [0.5**0.5, -(0.5**0.5)]], dtype=torch.float64)
    score = consistency([og.Directions(basis), og.Directions(turn @ basis)])
    assert score.value == pytest.approx(0.5**0.5)
    assert score.parts["largest_angle"] == pytest.approx(0.0, abs=1e-4)
    assert (score.stderr, score.parts["stderr"]) == (None, None)


def test_angles_between_spans_are_the_planted_ones():
    a = torch.eye(4)[:2]
    b = torch.stack([torch.eye(4)[0], (torch.eye(4)[1] + torch.eye(4)[2])])
    score = consistency([og.Directions(a), og.Directions(b)])
    assert score.parts["angle"] == pytest.approx(22.5, abs=1e-3)
    assert score.parts["largest_angle"] == pytest.approx(45.0, abs=1e-3)
    whole = consistency([og.Directions(torch.eye(4)), og.Directions(haar(4, 4).float())])
    assert whole.parts["angle"] is None


def test_random_directions_agree_by_chance():
    score = consistency([og.Directions(haar(4, 10, seed)) for seed in range(60)])
    assert score.value == pytest.approx(score.parts["chance"], abs=3 * score.stderr)


def test_consistency_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="of 1 seed; it compares two or more"):
        consistency([og.Directions(torch.eye(2))])
    with pytest.raises(ValueError, match="fit them on one generator"):
        consistency([og.Directions(torch.eye(2)), og.Directions(torch.eye(3))])
