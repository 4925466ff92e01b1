"""Scores print with as many digits as their error deserves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core.record import from_json, to_json
from orthogen.core.score import Score


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score(0.8312, 0.0214, 2000, "MIG"), "MIG 0.83 ± 0.02 (n=2000)"),
        (Score(0.8312, 0.214), "0.8 ± 0.2"),
        (Score(12.345, 1.9, name="FD"), "FD 12.3 ± 1.9"),
        (Score(0.5, 0.0196), "0.50 ± 0.02"),
        (Score(0.83, 0.02, 10_000), "0.83 ± 0.02 (n=10000)"),
        (Score(1234.5, 56.0), "1234 ± 56"),
        (Score(1234.5, 5678.0), "1234 ± 5678"),
        (Score(1.0, 0.0), "1.0000 ± 0.0000"),
        (Score(0.5, 1e-9), "0.5000000000 ± 0.0000000010"),
        (Score(1.234e-5, 2e-6), "(1.2 ± 0.2)e-05"),
        (Score(2.5e7, 1e6), "(2.50 ± 0.10)e+07"),
        (Score(0.123456), "0.1235"),
        (Score(0.0, 0.01), "0.000 ± 0.010"),
        (Score(-0.25, 0.05), "-0.25 ± 0.05"),
        (Score(math.nan, math.nan), "nan ± nan"),
        (Score(1.0, math.inf), "1.0000 ± inf"),
    ],
)
def test_text(score, text):
    assert str(score) == text


@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e3))
def test_text_is_within_the_error(value, error):
    text, _, power = str(Score(value, error)).partition(")")
    shown, stderr = (float(part.strip("(") + power) for part in text.split(" ± "))
    assert abs(shown - value) <= max(0.51 * error, 0.006 * abs(value))
    assert stderr == pytest.approx(error, rel=0.5)


def test_json():
    score = Score(0.5, None, 3, "MIG", {"bins": 20}, {"factor": [0.1, 0.9]})
    assert from_json(to_json(score)) == score
