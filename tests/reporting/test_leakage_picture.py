import io
import json
from dataclasses import asdict

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from orthogen.core.score import Score
from orthogen.reporting.leakage import leakage_picture

NAMES = ["shape", "scale", "a very long name of a factor that nobody reads", "$x^2$"]


def leakage(rows: int, kind: str = "factors", names=NAMES) -> Score:
    rng = np.random.default_rng(0)
    matrix = rng.random((rows, len(names))) / 2
    matrix[-1] = 0.0
    parts = {
        "directions": [f"direction {i}" for i in range(rows)],
        kind: list(names),
        "matrix": matrix.tolist(),
        "main": [*(names[i] for i in matrix[:-1].argmax(axis=1)), None],
        "leakage": [*([0.4] * (rows - 1)), None],
        "leakage_stderr": [*([0.03] * (rows - 1)), None],
    }
    return Score(0.4, 0.01, 300, "Leakage", parts=parts)


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


def test_rows_and_columns_make_the_picture_larger():
    small, tall, wide = (size(leakage_picture(score)) for score in (
        leakage(3), leakage(12), leakage(3, "classes", [str(i) for i in range(20)])
    ))  # fmt: skip
    assert tall[1] > small[1]
    assert wide[0] > small[0]


def test_the_heat_follows_the_matrix_and_the_frame_the_main_factor():
    def pixels(score: Score) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(leakage_picture(score))).convert("RGB")).astype(int)

    score = leakage(3)
    same, other = pixels(score), json.loads(json.dumps(asdict(score)))
    assert np.array_equal(same, pixels(Score(**other)))  # as read back from scores.json
    framed = np.abs(same - np.array([217, 112, 60])).sum(axis=2) < 8  # orange
    other["parts"]["main"] = [None] * 3
    other["parts"]["leakage"] = [None] * 3
    bare = pixels(Score(**other))
    assert framed.sum() > 1000
    assert (np.abs(bare - np.array([217, 112, 60])).sum(axis=2) < 8).sum() == 0
    dark = same.sum(axis=2) < 330
    other["parts"]["matrix"] = [[1.0] * 4] * 3
    assert (pixels(Score(**other)).sum(axis=2) < 330).sum() > 5 * dark.sum()


def test_too_many_directions_are_cut_to_those_that_change_most():
    assert size(leakage_picture(leakage(200))) == size(leakage_picture(leakage(200), rows=40))
    assert size(leakage_picture(leakage(200), rows=5))[1] < 800


@pytest.mark.parametrize("score", [Score(0.1, name="MIG"), Score(0.1, parts={"factors": ["a"]})])
def test_other_scores_are_refused(score):
    with pytest.raises(ValueError, match="it draws what Leakage measured"):
        leakage_picture(score)


def test_one_direction_and_nothing_left_in_pyplot():
    leakage_picture(leakage(1, "classes", ["only"]))
    assert plt.get_fignums() == []


def test_too_many_classes_are_cut_and_the_main_ones_kept():
    def png(names: int, **most: int) -> tuple[int, int]:
        return size(leakage_picture(leakage(6, "classes", [str(i) for i in range(names)]), **most))

    assert png(1000)[0] <= png(40)[0]
    assert png(1000, columns=5)[0] < 1500
    few = leakage(3, "classes", ["a", "b", "c", "d"])
    few.parts["matrix"][:] = [[0.1, 0.5, 0.4, 0.0], [0.2, 0.3, 0.5, 0.0], [0.0] * 4]
    few.parts["main"][:] = ["d", "b", None]  # the first does nothing, and is framed all the same
    framed = np.asarray(Image.open(io.BytesIO(leakage_picture(few, columns=2))).convert("RGB")).astype(int)
    orange = np.abs(framed - np.array([217, 112, 60])).sum(axis=2) < 8
    whole = np.asarray(Image.open(io.BytesIO(leakage_picture(few))).convert("RGB")).astype(int)
    assert orange.sum() == pytest.approx((np.abs(whole - np.array([217, 112, 60])).sum(axis=2) < 8).sum(), rel=0.5)
