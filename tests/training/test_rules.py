import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen.checkpoints import Run, open_run
from orthogen.training.recipe import Adam
from tiny_gan import digest, everything, lines
from training import rules_in_two_processes as both

TESTS = Path(__file__).parents[1]


def ruled(lr: float = 0.01, **rules: object) -> og.Recipe:
    made = everything(generator_optimizer=Adam(lr=lr), images=112)
    return replace(made, objective=replace(made.objective, rules=rules))


def weights(run: Run) -> dict[str, str]:
    return {name: value for name, value in digest(run).items() if name != "numbers"}


def test_several_processes_take_the_step_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, both.__file__, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr

    one, two = og.train(both.recipe(), tmp_path / "one", quiet=True, log_every=24), open_run(tmp_path / "run")
    a, b = (run.checkpoints[-1].tensors("network/") for run in (one, two))
    assert all(torch.allclose(value, b[name], atol=1e-4) for name, value in a.items())
    for mine, theirs in zip(lines(one.folder), lines(two.folder), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
        assert 0 < mine["nog/cosine"] < 1
    assert any(line["olr/at_base"] < 1 for line in lines(two.folder))

    alone = both.classify(0, 1)
    first, second = (torch.load(tmp_path / f"ddp{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], value, rtol=1e-3, atol=1e-4)
    assert (alone["rates"] < 0.5).any()


@pytest.mark.parametrize("on", ["gradient", "update"])
def test_an_interrupted_run_with_rules_ends_where_the_whole_one_ends(tmp_path: Path, on: str) -> None:
    recipe = ruled(
        olr=og.OptimalLearningRate(("0", "4"), on),
        nog=og.NearestOrthogonalGradient(("4", "7"), on),
        seen=og.ConditioningMonitor(("0", "7"), every=3),
    )

    def crash(values: object) -> None:
        if len(seen := [*crashes, values]) in (2, 5):
            crashes[:] = seen
            raise KeyboardInterrupt
        crashes[:] = seen

    crashes: list[object] = []
    whole = og.train(recipe, tmp_path / "whole", log_every=16, quiet=True)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            og.train(recipe, tmp_path / "broken", log_every=16, quiet=True, on_log=crash)
    again = og.train(recipe, tmp_path / "broken", log_every=16, quiet=True)
    assert digest(again) == digest(whole)
    logged = lines(tmp_path / "whole")
    assert lines(tmp_path / "broken") == logged
    assert {"olr/rate", "olr/rate/0.weight", "olr/rate/4.weight", "olr/at_base", "nog/cosine"} <= set(logged[0])
    assert all("seen/7/condition" in line for line in logged if line["images"] in (16, 32))


def test_the_order_of_names_is_no_part_of_the_run(tmp_path: Path) -> None:
    nog, olr = og.NearestOrthogonalGradient(), og.OptimalLearningRate()
    ends = [
        weights(og.train(ruled(lr=0.3, **rules), tmp_path / str(i), quiet=True))
        for i, rules in enumerate(({"a": nog, "b": olr}, {"b": olr, "a": nog}, {"a": nog}, {"b": olr}))
    ]
    assert ends[0] == ends[1]
    assert ends[0] not in ends[2:]


def test_a_watched_run_is_the_run(tmp_path: Path) -> None:
    watched, plain = (
        weights(og.train(ruled(**rules), tmp_path / str(len(rules)), quiet=True))
        for rules in ({"seen": og.ConditioningMonitor(every=2)}, {})
    )
    assert watched == plain


def test_what_is_not_finite_is_found_by_the_loop(tmp_path: Path) -> None:
    recipe = ruled(nog=og.NearestOrthogonalGradient(), olr=og.OptimalLearningRate())
    terms = {**recipe.objective.terms, "small": og.Term(recipe.objective.terms["small"].penalty, float("inf"))}
    with pytest.raises(FloatingPointError, match="norm/generator was not finite at step 0"):
        og.train(replace(recipe, objective=replace(recipe.objective, terms=terms)), tmp_path, quiet=True)


def test_a_name_that_is_no_layer_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    recipe = ruled(nog=og.NearestOrthogonalGradient(("conv1",)))
    with pytest.raises(
        ValueError, match=r"NearestOrthogonalGradient: no parameter or part of Sequential is named 'conv1'"
    ):
        og.train(recipe, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
