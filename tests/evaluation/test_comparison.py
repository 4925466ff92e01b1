import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orthogen as og
from orthogen.cli import main
from orthogen.core import score_file as files
from orthogen.evaluation.comparison import compare, difference


def score(value=0.3, stderr=0.03, n=1000, name="MIG", about=None, parts=None, **protocol):
    return og.Score(value, stderr, n, name, protocol or {"bins": 20}, parts or {}, about or {})


def folder(path, *scores):
    path.mkdir(exist_ok=True)
    files.merge(path, scores)
    return path


def test_a_difference_has_the_error_of_both_and_an_interval():
    found = difference(score(0.30, 0.03), score(0.42, 0.04))
    assert found.value == pytest.approx(0.12)
    assert found.stderr == pytest.approx(0.05)
    assert found.interval_95 == pytest.approx((0.12 - 1.96 * 0.05, 0.12 + 1.96 * 0.05), abs=1e-5)


def test_without_an_error_there_is_no_interval():
    found = difference(score(stderr=None), score())
    assert found.stderr is None
    assert found.interval_95 is None


def test_other_protocols_are_refused_by_the_field_that_differs():
    with pytest.raises(ValueError, match=r"^MIG was measured by different protocols: bins: 20 against 10$"):
        difference(score(bins=20), score(bins=10))
    with pytest.raises(ValueError, match=r"n: 1000 against 50000"):
        difference(score(), score(n=50_000))
    with pytest.raises(ValueError, match=r"extractor.weights: a1 against b2; reference.n: None against 5$"):
        difference(score(extractor={"weights": "a1"}), score(extractor={"weights": "b2"}, reference={"n": 5}))
    with pytest.raises(ValueError, match="'MIG' and 'SAP' are different scores"):
        difference(score(), score(name="SAP"))


def test_a_long_value_is_cut():
    with pytest.raises(ValueError, match=r"names: None against xxx+\.\.\.$"):
        difference(score(a=1), score(a=1, names="x" * 200))


def test_fields_can_be_let_pass():
    a, b = score(bins=20, versions={"torch": "2.11"}), score(bins=20, versions={"torch": "2.15"}, n=2000)
    assert difference(a, b, despite=["versions", "n"]).value == 0
    with pytest.raises(ValueError, match="n: 1000 against 2000"):
        difference(a, b, despite=["versions"])


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0, 10), st.floats(0, 10))
def test_a_difference_turns_round(a, b, ea, eb):
    there, back = difference(score(a, ea), score(b, eb)), difference(score(b, eb), score(a, ea))
    assert there.value == -back.value
    assert there.stderr == back.stderr


def test_two_runs(tmp_path):
    a = folder(tmp_path / "a", score(0.3, about={"seed": 0}), score(1.0, name="FID", bins=1), score(name="only a"))
    b = folder(tmp_path / "b", score(0.4, about={"seed": 1}), score(2.0, name="FID", bins=2), score(name="only b"))
    found = compare(a, b / "scores.json")
    assert [(pair.name, round(pair.difference.value, 6)) for pair in found.pairs] == [("MIG", 0.1)]
    assert found.refused == ("FID was measured by different protocols: bins: 1 against 2",)
    assert (found.only_a, found.only_b) == (("only a",), ("only b",))


def test_scores_of_one_name_find_the_one_of_their_protocol(tmp_path):
    a = folder(tmp_path / "a", score(1.0, bins=10), score(2.0, bins=20))
    b = folder(tmp_path / "b", score(22.0, bins=20), score(11.0, bins=10), score(33.0, bins=30))
    found = compare(a, b)
    assert sorted(pair.difference.value for pair in found.pairs) == [10.0, 20.0]
    assert not found.refused
    assert found.only_b == ("MIG",)


def test_the_same_checkpoint_is_found_first_and_else_the_newest(tmp_path):
    a = folder(tmp_path / "a", *(score(float(i), about={"trained_images": i}) for i in (100, 900, 500)))
    b = folder(tmp_path / "b", score(9.0, about={"trained_images": 900}))
    (pair,) = compare(a, b).pairs
    assert (pair.a.value, pair.about) == (900.0, "")
    other = folder(tmp_path / "c", score(9.0, about={"trained_images": 7}))
    (pair,) = compare(a, other).pairs
    assert (pair.a.value, pair.about) == (500.0, "trained_images: 500 against 7")
    assert compare(a, other).only_a == ("MIG", "MIG")


def test_parts_are_matched_by_name(tmp_path):
    def parts(**values):
        return {name: value for key, v in values.items() for name, value in ((key, v), (f"{key}_stderr", 0.03))}

    a = score(0.65, name="by class", parts=parts(tail=5.0, medium=2.0) | {"k": 3})
    b = score(0.75, name="by class", parts=parts(medium=3.0, head=1.0))
    found = compare(folder(tmp_path / "a", a), folder(tmp_path / "b", b))
    assert [(pair.name, pair.difference.value) for pair in found.pairs[1:]] == [("by class: medium", 1.0)]
    assert found.pairs[1].difference.stderr == pytest.approx(0.03 * 2**0.5)


def test_a_field_that_nothing_has_is_no_field_to_overlook(tmp_path):
    a = folder(tmp_path / "a", score(versions={"torch": "2"}))
    with pytest.raises(ValueError, match=r"no protocol here has a field 'version'; nearest: versions"):
        compare(a, a, despite=["version"])


@pytest.mark.parametrize(
    "text",
    ["x = 1", "{}", '{"scores": [1]}', '{"scores": [{"name": "A"}]}']
    + [
        f'{{"scores": [{{"name": {n}, "value": {v}, "parts": {p}}}]}}'
        for n, v, p in (('"A"', '"x"', "{}"), ('["a"]', "1", "{}"), ('"A"', "1", "[1]"))
    ],
)
def test_what_is_no_file_of_scores_is_said_to_be_none(tmp_path, text):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"scores.json is no file of scores, or a damaged one \(.*\); `orthogen"
    ) as error:
        files.read(path)
    assert "\n" not in str(error.value)


def test_the_verb(tmp_path, capsys):
    a = folder(tmp_path / "a", score(0.30, 0.03), score(1.0, None, name="raw"))
    b = folder(tmp_path / "b", score(0.42, 0.04), score(3.0, None, name="raw"))
    assert main(["compare", str(a), str(b)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["A", "B", "B", "-", "A"]
    assert lines[1].split("  ")[0] == "MIG"
    assert lines[1].endswith("0.12 ± 0.05  95 %: [0.022, 0.218]")
    assert lines[2].endswith("no interval")
    files.merge(b, [score(0.1, name="FID", bins=3)])
    files.merge(a, [score(0.1, name="FID", bins=4)])
    assert main(["compare", str(a), str(b)]) == 2
    said = capsys.readouterr()
    assert "MIG" in said.out  # what can be compared is
    assert said.err.splitlines() == [
        "FID was measured by different protocols: bins: 4 against 3",
        "orthogen: 1 score was measured by different protocols and not compared; measure again alike, or name the "
        "fields to overlook (--despite FIELD)",
    ]
    assert main(["compare", str(a), str(b), "--despite", "bins"]) == 0
    capsys.readouterr()
    assert main(["compare", str(a), str(tmp_path / "nothing")]) == 2
    assert "nothing does not exist; `orthogen measure` writes it" in capsys.readouterr().err
    assert (
        main(["compare", str(folder(tmp_path / "c", score(name="c"))), str(folder(tmp_path / "d", score(name="d")))])
        == 0
    )
    assert "the two have no score in common" in capsys.readouterr().out


def test_the_verb_makes_a_table_of_several(tmp_path, capsys):
    def diagonality(value: float, strength: float, **protocol) -> og.Score:
        parts = {"relative_strength": strength, "relative_strength_stderr": 0.1}
        return score(value, 0.01, 100, "Diagonality", parts=parts, **protocol)

    (tmp_path / "more").mkdir()
    a, b, c = (
        folder(tmp_path / name, diagonality(value, strength))
        for name, value, strength in (("vanilla", 0.45, 1.2), ("hp", 0.90, 5.1), ("more/hp", 0.7, 3.0))
    )
    files.merge(a, [score(0.1, name="MIG")])
    files.merge(c, [score(0.3, name="MIG")])
    assert main(["compare", str(a), str(b), str(c)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["vanilla", str(b), str(c)]  # two folders of one name go by their paths
    cells = [[cell for cell in row.split("  ") if cell] for row in rows]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["Diagonality", "0.450 ± 0.010", "0.900 ± 0.010", "0.700 ± 0.010"],
        ["Diagonality: relative strength", "1.20 ± 0.10", "5.10 ± 0.10", "3.00 ± 0.10"],
        ["MIG", "0.10 ± 0.03", "–", "0.30 ± 0.03"],
    ]
    d = folder(tmp_path / "d", diagonality(0.5, 1.0, step=0.2))
    assert main(["compare", str(a), str(b), str(d)]) == 2
    said = capsys.readouterr()
    assert "0.900 ± 0.010  –" in said.out
    assert said.err.startswith("d: Diagonality was measured by different protocols: bins: 20 against None")
    e = folder(tmp_path / "e", score(name="e"))
    assert main(["compare", str(e), str(b), str(c)]) == 0
    assert "e has no score in common with the others" in capsys.readouterr().out


def test_a_score_that_is_not_a_number_survives_the_file(tmp_path):
    (kept,) = files.read(folder(tmp_path / "a", score(math.nan, None)))
    assert math.isnan(kept.value)


def test_scores_of_one_name_and_value_have_a_row_each(tmp_path, capsys):
    a, b, c = (
        folder(tmp_path / name, score(one, name="VP score", lr=1), score(two, name="VP score", lr=2))
        for name, one, two in (("a", 50.0, 50.0), ("b", 60.0, 70.0), ("c", 61.0, 71.0))
    )
    assert main(["compare", str(a), str(b), str(c)]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [[cell[:2] for cell in row.split("  ")[1:]] for row in rows] == [["50", "60", "61"], ["50", "70", "71"]]
