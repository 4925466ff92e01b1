import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.score import Score
from orthogen.core.score_file import merge
from orthogen.evaluation.boards import boards, mark
from orthogen.reporting import html
from orthogen.reporting.leaderboard import leaderboard_picture, views
from orthogen.reporting.record import read_run


def scores(methods: int = 3, evil: str = "") -> list[Score]:
    found = []
    for i in range(methods):
        name = f"method {i}{evil}"
        parts = {"directions": ["0", "turn"], "effect_size": [0.1, 0.2 + i], "stderr": [0.01, 0.01]}
        shared = {"directions": 2, "seeds": 3, "samples": 64}
        about = mark(name, "effect_size", **shared)
        found.append(Score(0.15 + i, 0.01, 64, f"{name}: Effect size", parts=parts, about=about))
        about = mark(name, "recovery", **shared)
        recovered = {"directions": ["x"], "recovery": [0.5], "chance": 0.4}
        found.append(Score(0.5 + i / 10, 0.02, 3, f"{name}: Recovery", parts=recovered, about=about))
    about = mark(f"broken{evil}", "seconds", **shared)
    found.append(Score(float("nan"), name="broken: found nothing", parts={"note": f"no layer{evil}"}, about=about))
    return found


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    net = nn.Sequential(nn.Linear(3, 3 * 64), nn.Tanh(), nn.Unflatten(1, (3, 8, 8)))
    monkeypatch.setattr(html, "load", lambda path: og.adapt(net, og.Normal(3)))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"recipe": {"name": "plain"}}))
    return folder


def test_the_picture_has_every_method_and_every_column():
    (board,) = boards(scores())
    svg = leaderboard_picture(board)
    assert svg.startswith("<svg")
    for text in ("method 0", "method 2", "effect size", "recovery ↑"):
        assert text in svg
    assert "broken" not in svg
    assert plt.get_fignums() == []
    assert len(leaderboard_picture(boards(scores(9))[0])) > len(svg)


def test_chance_is_drawn_where_it_is_the_same_for_all():
    found = scores(2)
    assert "stroke-dasharray" in leaderboard_picture(boards(found)[0])
    found[1].parts["chance"] = 0.3
    assert "stroke-dasharray" not in leaderboard_picture(boards(found)[0])


def test_there_is_nothing_to_draw_where_all_failed():
    (board,) = boards(scores()[-1:])
    with pytest.raises(ValueError, match="without scores"):
        leaderboard_picture(board)


def test_the_table_has_values_errors_and_the_best(run):
    merge(run, scores())
    (view,) = views([read_run(run)])
    assert view.facts == "2 directions each, 3 seeds, 64 latents to measure on"
    assert [head for head, _, _ in view.heads] == ["effect size", "recov\u00adery"]
    method, cells = view.rows[2]
    assert (method, cells[0].value, cells[0].error) == ("method 2", "2.150", "±0.010") or cells[0].value == "2.15"
    assert [row[1][1].best for row in view.rows] == [False, False, True]
    assert view.failed == [("broken", "no layer")]
    assert view.details[1] == ("method 1", ["effect size"], [["0", "0.1"], ["turn", "1.2"]])


def test_the_report_has_a_section_for_it_and_lists_its_scores_nowhere_else(run):
    merge(run, [*scores(), Score(0.31, 0.01, 10, "MIG")])
    page = og.report(run).read_text()
    assert page.count('class="leaderboard"') == 1
    assert "broken found nothing: no layer" in page
    assert "<h3>MIG</h3>" in page
    assert "<h3>method 0: Effect size</h3>" not in page
    assert "large dots" in page.lower()


def test_a_run_without_one_has_no_section(run):
    merge(run, [Score(0.31, 0.01, 10, "MIG")])
    assert 'class="leaderboard"' not in og.report(run).read_text()


def test_names_from_files_cannot_become_markup(run):
    merge(run, scores(2, "<script>alert(1)</script>"))
    page = og.report(run).read_text()
    assert "<script>alert" not in page


def test_all_failed_still_makes_a_page(run):
    merge(run, scores()[-1:])
    assert "broken found nothing" in og.report(run).read_text()


def test_several_runs_have_their_boards_under_their_names(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text((run / "run.json").read_text())
    merge(run, scores())
    merge(other, scores(2))
    page = og.report([run, other], tmp_path / "both.html").read_text()
    assert page.count('class="leaderboard"') == 2
    assert "of methods that find directions, other" in page


def test_a_board_of_a_real_comparison_is_drawn():
    from orthogen.evaluation.leaderboard import leaderboard

    G = og.adapt(nn.Linear(3, 8, bias=False), og.Normal(3), call=lambda m, z: m(z).reshape(-1, 2, 2, 2))
    with torch.no_grad():
        G.module.weight.copy_(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    found = leaderboard(G, {"axes": og.Coordinates(), "SeFa": og.SeFa()}, seeds=2, count=2, samples=4, variation=None)
    svg = leaderboard_picture(boards(found.scores())[0])
    for text in ("axes", "SeFa", "linearity", "OroJaR share ↓", "consistency ↑"):
        assert text in svg
