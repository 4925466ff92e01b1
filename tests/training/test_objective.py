"""When a term acts, and with which weight."""

from pathlib import Path

import numpy as np
import pytest

import orthogen as og
from orthogen.training.objective import Term

GOLDEN = Path(__file__).parent.parent / "golden"


def test_the_ramp_is_the_originals():
    with np.load(GOLDEN / "hp_weight_schedule.npz") as data:
        rows, weights = data["inp"], data["out"]
    for (largest, start, images, ramp), weight in zip(rows, weights, strict=True):
        term = Term(og.HessianPenalty(), float(largest), start=int(start), ramp=int(ramp))
        if images == start == ramp == 0:
            continue  # the original's first step has no penalty; here a term without a start acts from the first step
        assert term.weight_at(int(images)) == pytest.approx(weight, rel=1e-12)


def test_a_term_without_start_and_ramp_acts_from_the_first_step():
    assert Term(og.OroJaR(), 0.5).weight_at(0) == 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every": 0}, "the interval is a whole number of steps, at least 1"),
        ({"batch": 0}, "give at least 1 latent, or None for the whole batch"),
        ({"ramp": -1}, "image counts cannot be negative"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Term(og.OroJaR(), **fields)
