"""Measuring: the place where generators, data, extractors and metrics meet."""

from orthogen.evaluation.comparison import compare, difference
from orthogen.evaluation.measuring import measure, measure_codes

__all__ = ["compare", "difference", "measure", "measure_codes"]
