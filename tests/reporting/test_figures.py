import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthogen.reporting.figures import bars, curves

X = np.arange(1000.0)


def text_of(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("text")]


def test_a_chart_is_svg_in_the_pages_ink_and_font():
    svg = curves({"plain": (X, np.sin(X)), "orojar": (X, np.cos(X))}, "loss over images")
    root = ElementTree.fromstring(svg)  # well formed
    assert root.tag == "svg"
    assert root.get("aria-label") == "loss over images"
    assert "currentColor" in svg
    assert "font-family" not in svg
    assert "http" not in svg
    assert {"plain", "orojar", "images"} <= set(text_of(svg))


def test_names_from_files_are_only_text():
    name = '<script>alert("$x^2$")</script>&'
    svg = curves({name: (X, X), "b": (X, X)}, name)
    assert "<script" not in svg
    assert name in text_of(svg)
    assert ElementTree.fromstring(svg).get("aria-label") == name


def test_two_charts_share_no_ids():
    first, second = (set(re.findall(r' id="([^"]+)"', curves({"a": (X, X)}, "a"))) for _ in range(2))
    assert first
    assert not first & second


def test_every_reference_is_to_an_id_of_the_chart():
    svg = bars(["a", "b"], [1.0, 2.0], [0.1, None], "score")
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
    assert {a or b for a, b in used} <= set(re.findall(r' id="([^"]+)"', svg))


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [(np.geomspace(1, 1e4, 1000), True), (np.geomspace(1, 10, 1000), False), (np.linspace(-1, 1e4, 1000), False)],
)
def test_the_axis_is_logarithmic_where_positive_values_span_decades(values, logarithmic):
    labels = text_of(curves({"a": (X, values)}, "a"))
    assert ("10⁴" in labels) == logarithmic
    assert "10⁴" not in text_of(curves({"a": (X, values)}, "a", log=False))


@pytest.mark.parametrize(
    "values", [[], [1.0], [np.nan] * 3, [1.0, np.nan, 3.0], [np.inf, 1.0, 2.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 1e9]]
)
def test_any_series_can_be_drawn(values):
    ElementTree.fromstring(curves({"a": (np.arange(len(values), dtype=float), np.array(values, dtype=float))}, "a"))


def test_long_series_are_short_on_the_page():
    rng = np.random.default_rng(0)
    x = np.arange(100_000.0)
    assert len(curves({"a": (x, rng.standard_normal(len(x)))}, "a")) < 20_000


def test_scores_that_are_not_finite_have_no_bar():
    svg = bars(["good", "bad"], [1.0, float("nan")], [float("inf"), None], "score")
    assert {"good", "bad"} <= set(text_of(svg))


def test_nothing_is_left_in_pyplot():
    curves({"a": (X, X)}, "a")
    assert plt.get_fignums() == []
