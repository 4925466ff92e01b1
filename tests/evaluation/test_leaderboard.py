import io
import json
from dataclasses import dataclass, replace

import pytest
import torch
from rich.console import Console
from torch import nn

import orthogen as og
from orthogen.core.kinds import Discovery
from orthogen.core.score_file import merge, read
from orthogen.evaluation.boards import COLUMNS, boards, within_error_of_best
from orthogen.evaluation.fitting import Counter, fitted, within
from orthogen.evaluation.leaderboard import leaderboard
from orthogen.evaluation.standing import Standing
from orthogen.models.planted import PlantedLinear

FEW = {"seeds": 2, "samples": 8, "variation": None}
METHODS = {"axes": og.Coordinates(), "random": og.Random(), "SVD": og.JacobianSvd(samples=2), "SeFa": og.SeFa()}


def planted(dim: int = 5):
    model = PlantedLinear(og.Normal(dim), resolution=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"]
    return model.adapt(module), model.planted(module)


@pytest.fixture(scope="module")
def board():
    G, answer = planted()
    every = {**METHODS, "broken": og.SeFa(layers=("nowhere",))}
    return leaderboard(G, every, count=3, planted=answer, **FEW)


# ---------------------------------------------------------------------------------------------- scores
def test_a_linear_generator_has_known_scores(board):
    svd = board["SVD"]
    strength = PlantedLinear().contrast * 0.8 ** torch.arange(3)  # root mean square change per unit of latent
    assert svd.scores["effect_size"].parts["effect_size"] == pytest.approx(strength.tolist(), rel=1e-3)
    assert svd.scores["linearity"].value == pytest.approx(1.0)
    assert svd.scores["orojar_share"].value == pytest.approx(0.0, abs=1e-4)
    assert svd.scores["hessian_share"].parts["share"] == [None] * 3  # no curvature
    assert svd.scores["leakage"].value == pytest.approx(0.0, abs=1e-3)
    assert svd.scores["consistency"].value == pytest.approx(1.0, abs=1e-4)
    assert svd.scores["recovery"].parts["recovery"] == pytest.approx([1, 1, 1, 0, 0], abs=1e-4)
    assert board["SeFa"].scores["recovery"].value == pytest.approx(0.6, abs=1e-4)
    assert board["random"].scores["recovery"].value < 0.55
    assert board["random"].scores["orojar_share"].value > 0.1
    assert board["random"].scores["orojar"].value > 100 * svd.scores["orojar"].value


def test_every_score_says_what_it_rests_on(board):
    for standing in board.standings[:-1]:
        assert set(standing.scores) == {column.key for column in COLUMNS} - {"variation"}
        assert not standing.missing
        for key, score in standing.scores.items():
            assert score.n > 0, key
            # with two seeds one alone is compared with the first
            assert score.stderr is not None or key == "consistency"
        assert len(standing.directions) == 2
        assert [len(found) for found in standing.directions] == [3, 3]


def test_all_methods_are_measured_on_the_same_latents():
    seen: dict[str, list[torch.Tensor]] = {}

    @dataclass(frozen=True)
    class Fixed(Discovery):
        sign: float = 1.0

        def fit(self, generator, *, rng=None):  # type: ignore[no-untyped-def]
            return og.Directions(self.sign * torch.eye(2))

    def call(module, z):
        seen.setdefault("now", []).append(z.clone())
        return module(z)[:, None, None]

    runs = []
    for sign in (1.0, 7.0):  # lengths do not matter
        G = og.adapt(nn.Linear(2, 3), og.Normal(2), call=call)
        leaderboard(G, {"fixed": Fixed(sign)}, count=2, **FEW)
        runs.append(seen.pop("now"))
    assert len(runs[0]) == len(runs[1])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*runs, strict=True))


def test_a_method_that_cannot_work_here_has_a_standing_that_says_why(board):
    broken = board["broken"]
    assert "no layer is called 'nowhere'" in broken.failed
    assert (broken.directions, dict(broken.scores)) == ((), {})


def test_one_seed_and_one_direction_leave_columns_out():
    G, _ = planted()
    alone = leaderboard(G, {"random": og.Random()}, seeds=1, count=1, samples=4, variation=None)["random"]
    assert "nothing off the diagonal below two" in alone.missing["orojar_share"]
    assert "it compares two or more" in alone.missing["consistency"]
    assert alone.scores["seconds"].stderr is None
    assert "leakage" not in {*alone.missing, *alone.scores}


def test_a_classifier_reads_the_leakage_and_vp_is_taken_where_it_is_asked_for():
    G = og.adapt(
        nn.Unflatten(1, (1, 1, 2)), og.Normal(2), call=lambda m, z: m(z).repeat_interleave(8, 2).repeat(1, 1, 1, 4)
    )
    quick = og.VariationScore(pairs=40, train_share=0.5, epochs=1, predictors=2, readout="cosine")
    score = leaderboard(
        G,
        {"axes": og.Coordinates()},
        count=2,
        data=lambda x: torch.stack([9 * x[:, 0, 0, 0], 0 * x[:, 0, 0, 0]], dim=1),
        **{**FEW, "variation": quick},
    )["axes"]
    assert score.scores["leakage"].value == 0.0
    assert score.scores["leakage"].parts["dead"] == ["1"]
    assert score.scores["variation"].name == "VP score"
    assert len(score.by_direction()["variation"]) == 2


def test_scores_go_with_the_directions(board):
    columns = board["SVD"].by_direction()
    assert columns["effect_size"] == board["SVD"].scores["effect_size"].parts["effect_size"]
    assert len(columns["effect_size_stderr"]) == 3
    assert columns["hessian_share"] == [None] * 3
    assert "recovery" not in columns
    kept = replace(board["SVD"].directions[0], scores=columns)
    assert kept.scores["linearity"] == pytest.approx((1.0, 1.0, 1.0))


def test_standings_are_handed_over_one_by_one():
    G, _ = planted()
    seen: list[Standing] = []
    leaderboard(G, {"a": og.Random(), "b": og.Coordinates()}, count=2, each=seen.append, **FEW)
    assert [standing.method for standing in seen] == ["a", "b"]


# ---------------------------------------------------------------------------------------------- files and tables
def test_the_board_comes_back_from_its_file(board, tmp_path):
    merge(tmp_path, board.scores())
    merge(tmp_path, board.scores())  # measured again: replaced, not doubled
    (found,) = boards(read(tmp_path))
    assert list(found.scores) == [*METHODS, "broken"]
    assert found.facts == "3 directions each, 2 seeds, 8 latents to measure on"
    assert "nowhere" in found.failed["broken"]
    assert found.scores["SVD"]["recovery"].value == pytest.approx(board["SVD"].scores["recovery"].value)
    assert found.each("SVD", COLUMNS[0]) == pytest.approx(board["SVD"].scores["effect_size"].parts["effect_size"])
    assert found.names("SVD") == ["0", "1", "2"]
    json.dumps(board.to_json(), allow_nan=False)


def test_boards_of_other_settings_are_apart(board):
    G, answer = planted()
    other = leaderboard(G, {"axes": og.Coordinates()}, count=2, planted=answer, **FEW)
    found = boards([*board.scores(), og.Score(1.0, name="MIG"), *other.scores()])
    assert [each.about["directions"] for each in found] == [3, 2]


def test_boards_of_other_settings_are_not_compared(tmp_path):
    G, _ = planted()
    for name, count in (("a", 2), ("b", 3)):
        merge(tmp_path / name, leaderboard(G, {"SVD": og.JacobianSvd(samples=2)}, count=count, **FEW).scores())
    found = og.compare(tmp_path / "a", tmp_path / "b")
    assert not found.pairs
    assert found.refused
    assert all("board" in line for line in found.refused)
    assert og.compare(tmp_path / "a", tmp_path / "a").pairs


def test_what_a_method_finds_anew_takes_the_place_of_what_it_found_or_did_not():
    G, answer = planted()
    failed = leaderboard(G, {"SeFa": og.SeFa(layers=("nowhere",))}, count=2, **FEW).scores()
    found = leaderboard(G, {"SeFa": og.SeFa()}, count=2, planted=answer, **FEW).scores()
    (board,) = boards([*failed, *found])
    assert board.failed == {}
    assert "recovery" in board.scores["SeFa"]
    (other,) = boards([*found, *leaderboard(G, {"SeFa": og.JacobianSvd(samples=2)}, count=2, **FEW).scores()])
    assert "recovery" not in other.scores["SeFa"]  # it is of other directions
    methods = {score.about["directions"]["method"] for score in other.scores["SeFa"].values()}
    assert methods == {"JacobianSvd"}


def test_where_all_failed_the_table_says_why_in_whole_lines():
    G, _ = planted()
    failed = leaderboard(G, {"SeFa": og.SeFa(layers=("nowhere",))}, count=2, **FEW)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(failed.table())
    assert "SeFa    no layer is called 'nowhere'" in console.export_text()


def test_what_torch_cannot_compute_is_a_missing_score(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the algorithm failed to converge\n(error code: 3)")

    monkeypatch.setattr(og.Activeness, "__call__", broken)
    standing = leaderboard(planted()[0], {"axes": og.Coordinates()}, count=2, **FEW)["axes"]
    assert standing.missing == {"activeness": "the algorithm failed to converge (error code: 3)"}
    assert "linearity" in standing.scores


def test_the_table_fits_a_terminal_and_says_who_failed(board):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(board.table())
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for method in (*METHODS, "broken"):
        assert method in text
    assert "broken: no layer is called 'nowhere'" in text
    assert "3 directions each, 2 seeds" in text


def test_the_best_is_what_errors_do_not_tell_from_it():
    def one(method, value, stderr, column="recovery"):
        return og.Score(value, stderr, 3, about={"leaderboard": {"method": method, "column": column}})

    (found,) = boards([one("a", 0.9, 0.02), one("b", 0.86, 0.02), one("c", 0.5, 0.02)])
    recovered = next(column for column in COLUMNS if column.key == "recovery")
    assert within_error_of_best(found, recovered) == {"a", "b"}
    (none,) = boards([one("a", 1.0, 0.1, "effect_size"), one("b", 3.0, 0.1, "effect_size")])
    assert within_error_of_best(none, COLUMNS[0]) == set()  # neither way is better
    (unknown,) = boards([one("a", 0.9, None), one("b", 0.5, None)])
    assert within_error_of_best(unknown, recovered) == set()  # of one seed
    told = [one(name, value, 0.1, "variation") for name, value in (("a", 90.0), ("b", 50.0))]
    named = next(column for column in COLUMNS if column.key == "variation")
    assert within_error_of_best(boards(told)[0], named) == {"a"}
    told[0].parts["chance"], told[1].parts["chance"] = 50.0, 10.0  # of fewer directions: easier
    assert within_error_of_best(boards(told)[0], named) == set()
    (even,) = boards([one("a", 0.9, 0.1), one("b", 0.9, 0.1)])
    assert within_error_of_best(even, recovered) == set()  # nobody stands out


# ---------------------------------------------------------------------------------------------- fitting
@pytest.mark.parametrize(
    "method",
    [
        og.JacobianSvd(count=2),
        og.GanSpace(count=2),
        og.PenaltyDescent("OroJaR", count=2),
        og.PenaltyDescent("HessianPenalty", count=2, batch=8),
    ],
)
def test_a_budget_is_kept_and_nearly_used_up(method):
    G, _ = planted(4)
    rng = torch.Generator().manual_seed(0)
    counter = Counter(G)
    within(method, G, 3000, rng).fit(counter.generator, rng=rng)
    assert 1200 < counter.images <= 3000


def test_a_budget_is_used_up_where_the_first_samples_take_more_than_later_ones():
    # the first pass is made twice, to see what the module does: 2 latents a sample up to a pass, 1 from there on
    G, _ = planted(4)
    rng = torch.Generator().manual_seed(0)
    counter = Counter(G)
    within(og.GanSpace(count=2), G, 3000, rng).fit(counter.generator, rng=rng)
    assert 2700 < counter.images <= 3000


def test_a_method_without_steps_or_samples_stays_as_it_is():
    G, _ = planted()
    assert within(og.SeFa(), G, 10, torch.Generator()) == og.SeFa()
    with pytest.raises(ValueError, match="no layer is called 'nowhere'"):
        within(og.GanSpace(layer="nowhere"), G, 100, torch.Generator())


def test_a_method_with_fewer_directions_gives_what_it_has():
    G = og.adapt(nn.Linear(6, 3), og.Normal(6))  # three outputs: as many components
    for budget in (None, 500):
        (found,), spent = fitted(G, og.GanSpace(samples=100), 5, [0], budget)
        assert len(found) == 3
        assert spent.parts["images"] <= (budget or 250)  # not those of the fit that was refused
    (found,), _ = fitted(G, og.Coordinates(), 5, [0])
    assert len(found) == 5


def test_seeds_differ_and_come_back():
    G, _ = planted()
    (a, b), _ = fitted(G, og.Random(), 2, [0, 1])
    (again,), spent = fitted(G, og.Random(), 2, [1])
    assert torch.equal(b.basis, again.basis)
    assert not torch.allclose(a.basis, b.basis)
    assert spent.protocol["unit"] == "seconds"
    assert spent.parts["images"] == 0


# ---------------------------------------------------------------------------------------------- mistakes
def test_mistakes():
    G, _ = planted()
    with pytest.raises(ValueError, match="was given no method; give some by name"):
        leaderboard(G, {})
    with pytest.raises(ValueError, match="give at least 1 seed, 1 direction and 2 samples"):
        leaderboard(G, METHODS, seeds=0)
    labeled = og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z, label: z, classes=10)
    with pytest.raises(ValueError, match=r"compared at one class; choose it: generator\.of_class\(0\)"):
        leaderboard(labeled, METHODS)
