import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core.score import Score
from orthogen.reporting.record import read_run
from orthogen.reporting.settings import compare, objective_lines


def make(folder, log="", **files):
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text(log)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_run(folder)


def test_a_whole_run(tmp_path):
    (tmp_path / "samples").mkdir()
    for images in (2000, 100):
        (tmp_path / "samples" / f"images_{images:09d}.png").write_bytes(b"")
    (tmp_path / "samples" / "notes.png").write_bytes(b"")
    run = make(
        tmp_path,
        '{"images": 64, "seconds": 1.5, "loss/critic": 1}\n{"images": 128, "seconds": 3, "loss/critic": 0.5}\n',
        run={"recipe": {"name": "plain.sprites"}, "seed": 3, "device": "cpu"},
        scores={
            "scores": [
                {"name": "MIG", "value": 0.3, "stderr": 0.01, "n": 10, "protocol": {"bins": 20}, "parts": {"x": 1}}
            ]
        },
    )
    assert run.recipe == {"name": "plain.sprites"}
    assert run.about == {"seed": 3, "device": "cpu"}
    assert [images for images, _ in run.samples] == [100, 2000]
    assert run.scores == (Score(0.3, stderr=0.01, n=10, name="MIG", protocol={"bins": 20}, parts={"x": 1}),)
    assert (run.images, run.seconds, run.notes) == (128, 3.0, ())
    np.testing.assert_array_equal(run.log["loss/critic"], [[64, 128], [1, 0.5]])


def test_a_line_that_is_still_being_written_is_left_out_without_a_word(tmp_path):
    run = make(tmp_path, '{"images": 1, "a": 1}\n{"images": 2, "a"', run={"recipe": {}})
    assert run.log["a"][1].tolist() == [1]
    assert not any("could not be read" in note for note in run.notes)


def test_broken_lines_are_counted(tmp_path):
    run = make(tmp_path, '{"images": 1, "a": 1}\nrubbish\n[1]\n{"images": 2, "a": 2}\n')
    assert run.log["a"][1].tolist() == [1, 2]
    assert "2 lines of log.jsonl could not be read." in run.notes


def test_what_was_done_again_after_a_resume_counts_once(tmp_path):
    run = make(
        tmp_path,
        "".join(json.dumps({"images": i, "a": v}) + "\n" for i, v in [(1, 1), (2, 2), (3, 3), (2, 20), (3, 30)]),
    )
    assert [column.tolist() for column in run.log["a"]] == [[1, 2, 3], [1, 20, 30]]


def test_values_that_are_not_finite_are_kept_and_named(tmp_path):
    run = make(tmp_path, '{"images": 1, "a": NaN, "b": 1}\n{"images": 2, "a": null, "b": "word", "c": true}\n')
    assert all(math.isnan(value) for value in run.log["a"][1])
    assert run.log["b"][1].tolist() == [1]
    assert "c" not in run.log
    assert "Some values are not finite and leave gaps: a." in run.notes


@pytest.mark.parametrize(
    ("scores", "note"),
    [
        ("{", "scores.json cannot be read (JSONDecodeError)."),
        ("[]", "scores.json holds no JSON object."),
        ('{"scores": [{"name": "x"}, {"value": "word"}, 3]}', "2 of the scores could not be read."),
        (None, "Nothing has been measured yet (orthogen measure writes scores.json)."),
    ],
)
def test_scores_that_cannot_be_read_are_a_note(tmp_path, scores, note):
    run = make(tmp_path, **({} if scores is None else {"scores": scores}))
    assert note in run.notes


def test_missing_pieces_are_named(tmp_path):
    (tmp_path / "run.json").write_text('{"seed": 0}')
    assert read_run(tmp_path).notes == (
        "run.json names no recipe: no settings.",
        "There are no sample grids.",
        "There is no log.jsonl: no curves.",
        "Nothing has been measured yet (orthogen measure writes scores.json).",
    )


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError) as absent:
        read_run(tmp_path / "nowhere")
    assert str(absent.value) == f"{tmp_path / 'nowhere'} does not exist; give the folder of a run, such as runs/NAME"
    with pytest.raises(
        ValueError, match=r"is no run: it holds neither run\.json nor log\.jsonl; orthogen train writes both"
    ):
        read_run(tmp_path)


@given(st.binary(max_size=200))
def test_no_log_is_bad_enough_to_fail(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("run")
    (folder / "log.jsonl").write_bytes(content)
    read_run(folder)


# ------------------------------------------------------------------------------------------------ settings
RECIPE = {
    "type": "orthogen.training.recipe:Recipe",
    "name": "a",
    "model": {"type": "orthogen.models.simple_gan:SimpleGan", "latent": {"type": "l:Normal", "dim": 6}},
    "objective": {
        "type": "o:Objective",
        "loss": {"type": "a:Hinge"},
        "terms": {
            "oro": {
                "type": "t:Term",
                "penalty": {"type": "r:OroJaR", "k": 2},
                "weight": 0.3,
                "every": 4,
                "layers": ["x", "y"],
            }
        },
        "rules": {"nog": {"type": "n:NearestOrthogonalGradient", "pattern": "*"}},
    },
    "batch": 64,
    "departures": ["one"],
}


def test_settings_are_grouped_in_the_recipes_order():
    rows = compare([RECIPE])
    assert [row.name for row in rows if row.head] == ["model", "objective", "training"]
    assert {row.name: row.values[0] for row in rows}["terms.oro.penalty.k"] == "2"
    assert not any("departures" in row.name or row.name == "name" for row in rows)


def test_settings_that_differ_are_found_on_both_sides():
    other = {**RECIPE, "batch": 32, "clip": 1.0}
    assert {row.name: row.values for row in compare([RECIPE, other]) if row.differs} == {
        "batch": ("64", "32"),
        "clip": ("", "1"),
    }


def test_the_objective_reads_as_a_sum():
    term = RECIPE["objective"]["terms"]["oro"] | {"batch": 16, "start": 100, "ramp": 2000}
    recipe = {"objective": {**RECIPE["objective"], "terms": {"oro": term}}}
    assert objective_lines(recipe) == [
        "Hinge()",
        "+ 0.3 × OroJaR(k=2) on x, y, 16 latents, every 4 steps, from 100 images on, rising over 2,000 images",
        "with NearestOrthogonalGradient(pattern=*)",
    ]


def test_recipes_that_are_not_ours_are_shown_all_the_same():
    assert objective_lines({"objective": 3}) == []
    assert [row.values for row in compare([{"a": {"b": [1, {"c": 2}]}}])] == [("1, (c=2)",)]
