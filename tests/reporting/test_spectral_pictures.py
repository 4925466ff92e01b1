from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from orthogen.core.groups import group_correlation
from orthogen.reporting.correlation import correlation_figure
from orthogen.reporting.figures import PALETTE
from orthogen.reporting.record import RunRecord
from orthogen.reporting.spectral import explosion_figure, explosion_pictures, spectral_keys

X = np.arange(0.0, 1000.0, 100.0)
SIGMA = {0: 0.5 + X / 4000, 1: 0.5 + X / 3000, 2: np.where(X < 500, 0.5, X / 500)}


def run(**extra):
    log = {f"norms/gain/{layer}/{label}": (X, y) for layer in ("a.bn1", "a.bn2") for label, y in SIGMA.items()}
    log |= {f"norms/gain/{layer}/{what}": (X, X) for layer in ("a.bn1", "a.bn2") for what in ("mean", "max")}
    log |= {f"norms/images/{label}": (X[:1], np.array([10.0 ** (3 - label)])) for label in SIGMA}
    log |= {"norms/breaking_away": (X, 0 * X), "norms/away/2": (np.array([800.0]), np.array([2.1]))}
    return RunRecord(Path("run"), log={**log, **extra})


def red(line):
    return to_rgb(line.get_color())[0]


def test_a_panel_per_layer_and_a_line_per_class_colored_by_frequency():
    figure = explosion_figure(run())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a.bn1", "a.bn2"]
    for axes in figure.axes:
        *lines, mean, dot = axes.get_lines()
        for line, sigma in zip(lines, SIGMA.values(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), sigma)
        assert red(lines[0]) < red(lines[1]) < red(lines[2])
        np.testing.assert_array_equal(mean.get_ydata(), X)
        assert mean.is_dashed()
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (800, 1.6)  # where the class was told of
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["class 0, 1,000 images", "class 1, 100 images", "class 2, 10 images", "mean of all classes"]
    FigureCanvasAgg(figure).draw()


def test_without_counts_colors_follow_labels_and_without_classes_there_are_mean_and_maximum():
    bare = {key: value for key, value in run().log.items() if "images" not in key and "away" not in key}
    lines = explosion_figure(RunRecord(Path("run"), log=bare)).axes[0].get_lines()
    assert red(lines[0]) < red(lines[1]) < red(lines[2])
    overall = {key: value for key, value in bare.items() if key.endswith(("mean", "max"))}
    figure = explosion_figure(RunRecord(Path("run"), log=overall))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mean", "max"]
    assert len(figure.axes[0].get_lines()) == 2


def test_of_many_classes_those_that_broke_away_have_colors_and_the_others_are_one():
    listed = range(980, 1000)
    log = {f"norms/gain/a/{label}": (X, 0.5 + 0 * X) for label in listed} | {"norms/gain/a/mean": (X, 0.4 + 0 * X)}
    log |= {f"norms/images/{label}": (X[:1], np.array([float(1000 - label)])) for label in listed}
    log |= {f"norms/away/{label}": (np.array([when]), np.array([2.1])) for label, when in ((997, 800.0), (985, 300.0))}
    figure = explosion_figure(RunRecord(Path("run"), log=log))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "class 985, 15 images", "class 997, 3 images", "18 others of the rarest, 1 to 20 images", "mean of all classes"
    ]  # fmt: skip
    *lines, mean, _, _ = figure.axes[0].get_lines()
    assert [line.get_color() for line in lines] == [PALETTE[-1]] * 18 + [*PALETTE[:2]]  # in front of the others
    assert mean.get_ydata()[0] == 0.4
    calm = {key: (x, y) for key, (x, y) in log.items() if "away" not in key and "images" not in key}
    figure = explosion_figure(RunRecord(Path("run"), log=calm))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["20 of the rarest classes", "mean of all classes"]


def test_diversity_has_a_panel_of_its_own():
    log = {f"norms/diversity/{label}": (X, 0.5 - 0.1 * label * X / 1000) for label in SIGMA}
    record = run(**log)
    *_, axes = explosion_figure(record).axes
    assert axes.get_title(loc="left") == "difference of two images of a class"
    *lines, dot = axes.get_lines()
    for line, (_, y) in zip(lines, log.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), y)
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (800, pytest.approx(0.34))
    assert set(log) < spectral_keys([record])


def test_norms_that_are_not_finite_leave_gaps_and_long_names_are_shortened():
    long = "generator.blocks.0.0.conditional_norm_1"
    infinite = {f"norms/gain/{long}/0": (X, np.where(X < 500, 0.5, np.inf)), "norms/gain/b/0": (X, np.nan * X)}
    figure = explosion_figure(RunRecord(Path("run"), log=infinite))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["…" + long[-33:], "b"]
    assert figure.axes[0].get_ylim() == (0, 1.05 * 0.5)
    FigureCanvasAgg(figure).draw()
    assert explosion_figure(RunRecord(Path("run"), log={"norms/gain/b/0": (X, 0 * X)})).axes[0].get_ylim() == (0, 1)


def test_keys_and_pictures_of_runs():
    others = {"loss/critic": (X, X), "images/3": (X, X), "my/images/3": (X, X)}
    first, second = run(**others), RunRecord(Path("other"), log=others)
    assert spectral_keys([first, second]) == set(first.log) - set(others)
    ((title, svg),) = explosion_pictures([first, second])
    assert title == "spectral norms of gains by class, run"
    assert svg.startswith("<svg")
    assert "class 2, 10 images" in svg
    assert explosion_pictures([second]) == []
    assert explosion_figure(second) is None
    assert explosion_figure(first, "bias") is None


def test_correlations_are_those_of_the_groups(rng):
    rows = {"a": torch.randn(4, 64, generator=rng), "b": torch.randn(4, 36, generator=rng)}
    rows["a"][3] = torch.outer(torch.randn(8, generator=rng), torch.randn(8, generator=rng)).flatten()
    rows["a"][3] -= rows["a"][3].mean()
    figure = correlation_figure(rows, [1, 3], names=("cat", "dog", "hen", "pig"))
    panels = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert [panel.shape for panel in panels] == [(8, 8), (6, 6)] * 2
    expected = group_correlation(rows["b"][1].double()).numpy()
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(panels[1][off], expected[off])
    assert np.isnan(panels[1].filled(np.nan)[~off]).all()
    off = ~np.eye(8, dtype=bool)
    assert np.abs(panels[2][off]).mean() > 2 * np.abs(panels[0][off]).mean()  # a class of groups that are alike
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["dog", "pig"]
    FigureCanvasAgg(figure).draw()
    with pytest.raises(ValueError, match=r"the classes \[4\]; give layers and some of the classes 0 to 3"):
        correlation_figure(rows, [4])
