"""Runs with the library's own penalties, data and networks: what holds for the tiny ones holds for these."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import orthogen as og
from tiny_gan import digest, lines


class Crash(Exception):
    pass


def everything_real() -> og.Recipe:
    model = og.SimpleGan(og.Normal(4), channels=1, resolution=16, width=0.05)
    layers = model.regularized_layers
    terms = {
        "gradient_penalty": og.Term(og.GradientPenalty(), 1.0),
        "r1": og.Term(og.R1(), 0.1, every=2),
        "hessian_penalty": og.Term(og.HessianPenalty(), 1e-3, every=2, layers=layers, batch=4),
        "orojar": og.Term(og.OroJaR(), 1e-6, layers=layers),
        "vp": og.Term(og.VariationPredictability(), 0.1),
        "info_gan": og.Term(og.InfoGan(), 0.1, every=3),
    }
    return og.Recipe(
        "real",
        model,
        og.Sprites(resolution=16),
        og.Objective(og.Wasserstein(), terms),
        images=96,
        batch=8,
        accumulate=2,
        ema=50,
        precision="bfloat16",
        checkpoint_every=32,
        sample_every=48,
    )


def test_crashed_and_resumed_it_is_the_same_run(tmp_path: Path) -> None:
    def crash(values: Mapping[str, float]) -> None:
        if values["images"] == 48:
            raise Crash

    whole = og.train(everything_real(), tmp_path / "whole", quiet=True, log_every=16)
    with pytest.raises(Crash):
        og.train(everything_real(), tmp_path / "crashed", quiet=True, log_every=16, on_log=crash)
    again = og.train(everything_real(), tmp_path / "crashed", quiet=True, log_every=16)
    assert digest(again) == digest(whole)
    assert lines(again.folder) == lines(whole.folder)
    assert again.recipe == everything_real()
    assert {f"penalty/{name}" for name in everything_real().objective.terms} <= set(whole.log()[0])
