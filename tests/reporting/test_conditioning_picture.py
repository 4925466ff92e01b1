"""The picture of conditioning and of used rates, and its place on the page."""

import json
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

import orthogen as og
from orthogen.reporting import html
from orthogen.reporting.charts import charts
from orthogen.reporting.conditioning import BINS, PANELS, conditioning_figure, conditioning_picture, shown_keys
from orthogen.reporting.figures import PALETTE
from orthogen.reporting.record import RunRecord, read_run
from orthogen.rules.conditioning_monitor import LOGGED
from orthogen.rules.optimal_learning_rate import histogram

SHARES = {"share/0": 0.0, "share/0.0001": 0.0, "share/0.001": 0.1, "share/0.01": 0.2, "share/0.1": 0.3, "at_base": 0.4}


def logged(folder: Path, *lines: dict[str, float]) -> RunRecord:
    folder.mkdir(parents=True)
    text = "".join(json.dumps({"images": 64 * (i + 1), **line}) + "\n" for i, line in enumerate(lines))
    (folder / "log.jsonl").write_text(text)
    return read_run(folder)


def monitored(i: int, where: str = "seen/") -> dict[str, float]:
    values = {
        "condition": 10.0**i,
        "effective_rank": 9.0 + i,
        "ridge_condition": 1e3,
        "weight_norm": 2.0,
        "defect": 0.1,
    }
    return {where + key: value for key, value in values.items()} | {"loss/critic": 1.0}


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("text")]


def heads(run: RunRecord) -> list[str]:
    return [axes.get_title(loc="left") for axes in conditioning_figure([run]).axes]


def test_a_panel_for_each_quantity_on_a_log_axis_where_it_spans_decades(tmp_path):
    run = logged(tmp_path / "a", *(monitored(i) for i in range(5)))
    condition, rank, *others = conditioning_figure([run]).axes
    assert len(others) == 3
    assert (condition.get_yscale(), rank.get_yscale()) == ("log", "linear")
    (line,) = condition.lines
    assert line.get_xdata().tolist() == [64.0 * i for i in range(1, 6)]
    assert line.get_ydata().tolist() == [1.0, 10.0, 100.0, 1000.0, 10000.0]
    svg = conditioning_picture([run])
    assert {"condition at the true rank", "effective rank", "10⁴", "images"} <= set(texts(svg))
    assert "currentColor" in svg
    assert plt.get_fignums() == []


def test_the_histogram_is_the_mean_of_the_log(tmp_path):
    other = {
        "share/0": 0.2,
        "share/0.001": 0.0,
        "share/0.01": 0.0,
        "share/0.1": 0.0,
        "share/0.0001": 0.0,
        "at_base": 0.8,
    }
    lines = [{f"olr/{key}": value for key, value in shares.items()} for shares in (SHARES, other)]
    (axes,) = conditioning_figure([logged(tmp_path / "a", *lines)]).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.1, 0, 0.05, 0.1, 0.15, 0.6])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "10⁻⁴", "0.001", "0.01", "0.1", "1"]


def test_runs_keep_their_colors_and_stand_side_by_side(tmp_path):
    runs = [
        logged(tmp_path / "plain", {"loss/critic": 1.0}),
        logged(tmp_path / "a", monitored(1)),
        logged(tmp_path / "b", monitored(2) | {f"olr/{key}": value for key, value in SHARES.items()}),
    ]
    figure = conditioning_figure(runs)
    assert [line.get_color() for line in figure.axes[0].lines[:2]] == list(PALETTE[1:3])
    assert {to_hex(bar.get_facecolor()) for bar in figure.axes[-1].patches} == {PALETTE[2]}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_several_layers_have_a_line_each(tmp_path):
    run = logged(tmp_path / "a", monitored(1, "seen/conv1/") | monitored(2, "seen/conv2/"))
    assert [line.get_label() for line in conditioning_figure([run]).axes[0].lines[:2]] == ["seen/conv1", "seen/conv2"]
    runs = [run, logged(tmp_path / "b", monitored(1, "seen/conv1/"))]
    labels = [line.get_label() for line in conditioning_figure(runs).axes[0].lines[:3]]
    assert labels == ["a, seen/conv1", "a, seen/conv2", "b, seen/conv1"]


def test_what_was_not_logged_has_no_panel(tmp_path):
    assert conditioning_figure([logged(tmp_path / "none", {"loss/critic": 1.0, "olr/at_base": 1.0})]) is None
    assert conditioning_picture([]) == ""
    assert heads(logged(tmp_path / "one", {"seen/defect": 1.0})) == ["defect of orthogonality"]


@pytest.mark.parametrize("value", [float("nan"), 0.0, -1.0])
def test_any_value_can_be_drawn(tmp_path, value):
    run = logged(tmp_path / "a", {"seen/condition": value, "olr/share/0": value}, {"seen/condition": 1.0})
    ElementTree.fromstring(conditioning_picture([run]))


def test_the_page_shows_them_once(tmp_path, monkeypatch):
    net = nn.Sequential(nn.Linear(3, 3 * 64), nn.Tanh(), nn.Unflatten(1, (3, 8, 8)))
    monkeypatch.setattr(html, "load", lambda path: og.adapt(net, og.Normal(3)))
    run = logged(tmp_path / "a", monitored(1) | {f"olr/{key}": value for key, value in SHARES.items()})
    assert shown_keys([run]) == {key for key in run.log if key.startswith(("seen/", "olr/"))}
    assert list(charts([run])) == ["Losses"]
    page = og.report(tmp_path / "a", rows=1).read_text()
    assert page.count("condition at the true rank") == 1
    assert '<section id="conditioning">' in page
    assert '<section id="conditioning">' not in og.report(logged(tmp_path / "b", {"loss/critic": 1.0}).path).read_text()


def test_the_keys_are_those_that_the_rule_and_the_monitor_log():
    shares = histogram(torch.tensor([1.0, 0.5, 0.5, 0.02, 1e-9]))
    assert set(BINS) == set(shares)
    assert sum(float(share) for share in shares.values()) == pytest.approx(1)
    assert set(PANELS) == set(LOGGED)
