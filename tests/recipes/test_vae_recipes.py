"""The VAE recipes: the study's settings, and what every switch adds and is called."""

import itertools
import json

import pytest

import orthogen as og
from orthogen import recipes
from orthogen.checkpoints import load
from orthogen.core import catalogue
from orthogen.core.kinds import CodeMetric
from orthogen.core.record import from_json, to_json

NAMES = ("vae.sprites", "vae.shapes3d", "vae.sprites_small", "vae.shapes3d_small")
PENALTIES = {"vp": og.VariationPredictability, "orojar": og.OroJaR, "hessian_penalty": og.HessianPenalty}
COMBINATIONS = [dict(zip(PENALTIES, on, strict=True)) for on in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize("name", ["sprites", "shapes3d"])
def test_the_study_settings(name):
    made, channels = recipes.build(f"vae.{name}"), 1 if name == "sprites" else 3
    assert made.model == og.Vae(og.Normal(10), channels=channels, resolution=64, architecture="study")
    assert made.data == (og.Sprites(resolution=64) if channels == 1 else og.Shapes3d(resolution=64))
    assert (made.batch, made.images // made.batch, made.optimizer.lr) == (64, 300_000, 1e-4)
    assert made.elbo == og.Elbo(1.0, 0.0, "bernoulli")
    assert (made.terms, made.ema, made.claims) == ({}, 0, ())
    for metric in made.metrics:
        assert issubclass(catalogue.find(metric, "metrics").load(), CodeMetric)


@pytest.mark.parametrize("switches", COMBINATIONS, ids=lambda on: "-".join(key for key, value in on.items() if value))
@pytest.mark.parametrize("name", NAMES)
def test_every_combination_is_named_and_does_what_it_says(name, switches):
    made, on = recipes.build(name, **switches), [key for key, value in switches.items() if value]
    assert made.name == "-".join([name, *on])
    assert list(made.terms) == on
    for key in on:
        term = made.terms[key]
        assert isinstance(term.penalty, PENALTIES[key])
        assert (term.layers, term.every) == ((), 1)  # the image, which is bounded
    unpublished = [said for said in made.departures if "nothing of it was published" in said or "on a VAE" in said]
    assert len(unpublished) == len(on)
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


def test_weights_are_named_where_they_are_not_the_plain_ones():
    made = recipes.build("vae.sprites_small", beta=4.0, tc=5.5)
    assert made.name == "vae.sprites_small-beta4-tc5.5"
    assert made.elbo == og.Elbo(4.0, 5.5)
    assert recipes.build("vae.sprites", beta=1.0, tc=0.0).name == "vae.sprites"
    assert list(recipes.switches("vae.shapes3d")) == ["beta", "tc", "vp", "orojar", "hessian_penalty"]


def test_a_twin_goes_the_same_path(tmp_path, capsys):
    from orthogen.cli import main

    run = str(tmp_path / "run")
    words = ["--vp", "--beta", "2", "--images", "128", "--sample-every", "0", "--checkpoint-every", "0"]
    assert main(["train", "vae.sprites_small", *words, "--pair-source", "posterior", "--run", run]) == 0
    assert main(["measure", run, "Mig", "-n", "100"]) == 0
    assert "MIG" in capsys.readouterr().out
    assert load(run).sample(1).shape == (1, 1, 32, 32)
