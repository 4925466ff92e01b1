"""Bars of activeness: several models side by side, each in its own order or all in that of the first."""

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import orthogen as og
from orthogen.core.score_file import merge
from orthogen.reporting.activeness import activeness_figure, activeness_pictures
from orthogen.reporting.record import RunRecord

FLAT, STEEP = (0.3, 0.2, 0.4), (0.1, 0.9, 0.0)


def score(values, names=None, **protocol) -> og.Score:
    names = [str(i) for i in range(len(values))] if names is None else names
    parts = {"directions": names, "activeness": list(values), "stderr": [0.01] * len(values), "effective": 2.5}
    return og.Score(sum(values) / len(values), 0.01, 300, "Activeness", protocol, parts)


def heights(figure, panel: int = 0) -> list[list[float]]:
    return [[bar.get_height() for bar in of] for of in figure.axes[panel].containers if hasattr(of, "patches")]


def run(name: str, data: str, *scores: og.Score) -> RunRecord:
    return RunRecord(Path(name), {"data": {"type": f"orthogen.data:{data}"}}, scores=scores)


def labels(figure, panel: int = 0) -> list[str]:
    return [label.get_text() for label in figure.axes[panel].get_xticklabels()]


def test_each_model_has_an_order_of_its_own():
    figure = activeness_figure([("Sprites", {"plain": score(FLAT), "orojar": score(STEEP)})])
    assert heights(figure) == [[0.4, 0.3, 0.2], [0.9, 0.1, 0.0]]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["plain (2.5 in use)", "orojar (2.5 in use)"]
    assert figure.axes[0].get_xlabel() == "rank"
    FigureCanvasAgg(figure).draw()


def test_or_all_have_that_of_the_first():
    figure = activeness_figure([("Sprites", {"plain": score(FLAT), "orojar": score(STEEP)})], shared=True)
    assert heights(figure) == [[0.4, 0.3, 0.2], [0.0, 0.1, 0.9]]
    assert labels(figure) == ["2", "0", "1"]
    with pytest.raises(ValueError, match="models of Sprites have different components and no ranking in common"):
        activeness_figure([("Sprites", {"a": score(FLAT), "b": score((0.1, 0.2))})], shared=True)


def test_one_model_has_its_components_named_and_many_components_are_cut():
    figure = activeness_figure([("", {"plain": score(FLAT)})])
    assert labels(figure) == ["2", "0", "1"]
    (tall,) = heights(activeness_figure([("", {"plain": score([i / 100 for i in range(100)])})]))
    assert len(tall) == 24
    assert tall[0] == 0.99
    assert activeness_figure([("", {"a": score(FLAT, ["a rather long name", "b", "c"])})]).axes[0].get_xlabel() == (
        "rank"
    )
    with pytest.raises(ValueError, match="was given no scores; measure Activeness first"):
        activeness_figure([])


def test_the_report_has_a_panel_for_each_data_set_and_protocol():
    def said(*runs: RunRecord) -> list[str]:
        return [says for says, _ in activeness_pictures(runs)]

    own, first = (
        "The components of each model in an order of its own.",
        "All components in the order of the first model.",
    )
    a, b = run("a", "Sprites", score(FLAT, versions={"torch": "1"})), run("b", "Sprites", score(STEEP))
    assert said(a, b) == [own, first]  # versions do not keep them apart
    assert said(a) == [own]
    assert said(a, run("c", "Shapes3d", score(STEEP))) == [own]
    assert said(a, run("c", "Sprites", score(STEEP, span=[-4, 4]))) == [own]
    assert said(run("d", "Sprites")) == []
    ((_, svg), _) = activeness_pictures([a, b])
    assert "Sprites" in svg
    assert svg.startswith("<svg")


def test_it_is_a_section_of_the_report(tmp_path):
    for name, values in (("plain", FLAT), ("orojar", STEEP)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
        merge(tmp_path / name, [score(values)])
    page = og.report([tmp_path / "plain", tmp_path / "orojar"], tmp_path / "report.html").read_text()
    section = page.partition('<section id="activeness">')[2].partition("</section>")[0]
    assert section.count("<svg") == 2
    assert "All components in the order of the first model." in section
    assert "orojar (2.5 in use)" in section
