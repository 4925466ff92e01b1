"""Finding and measuring: the place where generators, methods, data, extractors and metrics meet."""

from orthogen.evaluation.comparison import compare, difference
from orthogen.evaluation.discovering import discover
from orthogen.evaluation.measuring import measure, measure_codes

__all__ = ["compare", "difference", "discover", "measure", "measure_codes"]
