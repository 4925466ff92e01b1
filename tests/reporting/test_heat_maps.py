"""Heat maps as files, on small generators and on a real one."""

import io
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

import orthogen as og
import real
from linear_generator import linear_generator
from orthogen.cli import main
from orthogen.evaluation.penalty_maps import PenaltyMaps
from orthogen.reporting.heat_maps import heat_map_picture


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def maps(penalty: str = "HessianPenalty", n: int = 3, d: int = 4, heat: float = 1.0) -> PenaltyMaps:
    spots = torch.zeros(n, 8, 8, dtype=torch.float64)
    spots[:, 5, 6] = heat
    images = torch.full((n, 1, 8, 8), 128, dtype=torch.uint8)
    names = tuple(f"$x{i}$" for i in range(d))
    return PenaltyMaps(penalty, names, images, spots, ((5, 6),) * n, torch.eye(d).double().expand(n, d, d))


def near(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture - np.array(color)).sum(axis=2) < 8


def test_what_is_hot_is_where_the_penalty_is():
    picture = pixels(heat_map_picture(maps(n=1)))
    rows, columns = near(picture, (140, 45, 4)).nonzero()  # the end of the scale
    assert len(rows) > 200
    assert np.ptp(rows) < 30
    assert np.ptp(columns) < 30  # one pixel of eight, in one place
    nothing = pixels(heat_map_picture(maps(n=1, heat=0.0)))
    assert not near(nothing, (140, 45, 4)).any()


@pytest.mark.parametrize("penalty", ["HessianPenalty", "OroJaR"])
def test_a_column_per_image_and_nothing_left_in_pyplot(penalty):
    narrow, wide = (pixels(heat_map_picture(maps(penalty, n), "a run")).shape for n in (4, 8))
    assert wide[1] > 1.5 * narrow[1]
    assert heat_map_picture(maps(penalty, d=40))  # too many components to name
    assert plt.get_fignums() == []


def test_files_are_named_after_penalty_and_directions(tmp_path):
    og.Directions(torch.eye(3)).renamed({2: "pose"}).save(tmp_path / "sefa.safetensors")
    G = linear_generator()
    written = og.heat_maps(G, directions=tmp_path / "sefa.safetensors", to=tmp_path, samples=1, k=4)
    assert [path.name for path in written] == ["HessianPenalty_sefa.png", "OroJaR_sefa.png"]
    (one,) = og.heat_maps(G, ["OroJaR"], only=[2, 0], to=tmp_path, samples=1)
    assert one == tmp_path / "OroJaR.png"
    with pytest.raises(ValueError, match="rows=1: a matrix of derivatives has at least 2 components"):
        og.heat_maps(G, rows=1)


MAKE = """
    import torch
    import orthogen as og

    def make():
        net = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 2, 2)))
        return og.adapt(net, og.Normal(20), classes=CLASSES, call=lambda m, z, label=None: m(z))
"""


def test_the_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, classes in (("plain", 0), ("labeled", 5)):
        (tmp_path / f"{name}.py").write_text(MAKE.replace("\n    ", "\n").replace("CLASSES", str(classes)))
    quick = ["--samples", "1", "--probes", "4", "--device", "cpu"]
    assert main(["heatmaps", "--generator", "plain.py:make", *quick]) == 0
    assert capsys.readouterr().out.split() == ["heat_maps/HessianPenalty.png", "heat_maps/OroJaR.png"]
    labeled = ["heatmaps", "--generator", "labeled.py:make", "OroJaR", *quick]
    assert main([*labeled, "--fix-class", "2", "--directions", "3", "5", "--to", "maps"]) == 0
    assert capsys.readouterr().out.split() == ["maps/OroJaR.png"]
    for argv, words in (
        (labeled, "this generator takes class labels; choose one"),
        ([*labeled, "--fix-class", "0", "--past-norm"], "has no layer latent_norm"),
        ([*labeled, "--rows", "3", "--directions", "1"], "--rows 3 stands for directions by number, and 1 is named"),
        (["heatmaps", "--generator", "plain.py:make", "LeCam", *quick], "give a penalty on derivatives"),
    ):
        assert main(argv) == 2
        said = capsys.readouterr()
        assert words in said.err
        assert len(said.err.splitlines()) == 1


def test_on_a_real_generator(shared_data, tmp_path):
    G = real.generator(shared_data, "dcgan_digiface_64_fp16")
    G.module.eval()
    found = og.SeFa().fit(G).take(range(4))
    seen = {name: og.penalty_maps(G, name, found, samples=2, k=16) for name in ("HessianPenalty", "OroJaR")}
    for each in seen.values():
        assert each.maps.isfinite().all()
        assert (each.maps >= 0).all()
        assert (each.matrices == each.matrices.mT).all()
        share = each.maps.flatten(1).topk(41).values.sum(dim=1) / each.maps.flatten(1).sum(dim=1)
        assert (share > 0.1).all()  # a hundredth of the pixels, at edges, has a tenth of the penalty and more
    slopes = seen["OroJaR"].matrices
    scale = slopes.diagonal(dim1=1, dim2=2)
    assert (slopes <= (scale[:, :, None] * scale[:, None]).sqrt() * (1 + 1e-6)).all()  # Cauchy and Schwarz


def test_nothing_in_a_matrix_is_not_off_its_diagonal(monkeypatch):
    said = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_xlabel", lambda self, text, **_: said.append(text))
    heat_map_picture(maps(n=1))
    heat_map_picture(replace(maps(n=1), matrices=torch.zeros(1, 4, 4).double()))
    assert said == ["up to 1", "0% off the diagonal", "up to 1", "nothing in it"]


def test_images_wider_than_high_leave_no_gap():
    wide = replace(maps(n=4), images=torch.full((4, 1, 4, 16), 128).byte(), maps=torch.ones(4, 4, 16).double())
    square, flat = (pixels(heat_map_picture(each)).shape for each in (maps(n=4), replace(wide, places=((1, 2),) * 4)))
    assert flat[1] == square[1]
    assert flat[0] < 0.65 * square[0]
