"""The classifier recipes of the orthogonality papers: the published schedule, and every switch."""

from itertools import product

import pytest
import torch

import orthogen as og
from orthogen import recipes
from orthogen.cli import main
from orthogen.cli.overrides import switched
from orthogen.training.recipe import Sgd


@pytest.mark.parametrize(("name", "depth", "classes"), [("cifar10", 18, 10), ("cifar100", 50, 100)])
def test_the_released_schedule(name, depth, classes):
    made = recipes.build(f"orthogonality.{name}")
    assert isinstance(made, og.ClassifierRecipe)
    assert (made.model.depth, made.model.classes, made.model.norm, made.model.stem) == (depth, classes, "zca", "plain")
    assert (made.images // 50_000, [drop // 50_000 for drop in made.drops], made.drop) == (350, [100, 200, 300], 0.1)
    assert made.optimizer == Sgd(lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert (made.batch, made.augmentation, made.ema) == (128, og.PadCrop(4), 0)
    assert (made.data.split, made.test.split, made.data.flip) == ("train", "test", False)
    assert [made.rate_factor(epoch * 50_000) for epoch in (0, 99, 100, 250, 349)] == pytest.approx(
        [1, 1, 0.1, 0.01, 0.001]
    )
    assert not made.claims


@pytest.mark.parametrize("switches", list(product((False, True), repeat=4)))
def test_switches_are_independent(switches):
    on = dict(zip(("nog", "olr", "ow", "ol"), switches, strict=True))
    made = recipes.build("orthogonality.cifar10", **on)
    assert isinstance(made, og.ClassifierRecipe)
    assert set(made.rules) == {"stem", *(name for name in ("nog", "olr") if on[name])}
    assert set(made.terms) == ({"ol"} if on["ol"] else set())
    assert made.model.stem == ("skew" if on["ow"] else "plain")
    assert made.name == "-".join(["orthogonality.cifar10", *(name for name, here in on.items() if here)])


def test_spectral_norm_and_batch_norm():
    made = recipes.build("orthogonality.cifar100", norm="batchnorm", sn=True)
    assert (made.model.norm, made.model.stem) == ("batchnorm", "spectral")
    assert made.name == "orthogonality.cifar100-batchnorm-sn"
    with pytest.raises(ValueError, match="ow and sn are two constraints on one weight; give one of them"):
        recipes.build("orthogonality.cifar100", ow=True, sn=True)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_twin_takes_steps_with_all_that_can_be_on(name, tmp_path):
    to = str(tmp_path / "run")
    options = ["--nog", "--olr", "--ow", "--ol", "--images", "256", "--drops", "128", "192", "--test-every", "128"]
    assert main(["train", f"orthogonality.{name}_small", *options, "--run", to, "--device", "cpu"]) == 0
    run = og.checkpoints.open_run(to)
    assert run.about["recipe"]["name"] == f"orthogonality.{name}_small-nog-olr-ow-ol"
    last = run.log()[-1]
    assert last["images"] == 256
    assert 0 <= last["error/test"] <= 1
    assert {"penalty/ol", "nog/cosine", "olr/rate", "stem/condition"} <= {key for line in run.log() for key in line}
    assert og.report(to).is_file()


def test_the_networks_of_a_twin_are_finite_in_evaluation():
    made = recipes.build("orthogonality.cifar10_small", ow=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = made.model.build()["classifier"].eval()
    assert network(torch.zeros(2, 3, 16, 16)).isfinite().all()


def test_switches_on_the_command_line(capsys):
    known = recipes.switches("orthogonality.cifar10")
    assert list(known) == ["norm", "nog", "olr", "ow", "ol", "sn"]
    found, rest = switched(known, ["--batch", "64", "--nog", "--norm=batchnorm", "--model.width", "16"])
    assert found == {"nog": True, "norm": "batchnorm"}
    assert rest == ["--batch", "64", "--model.width", "16"]
    assert main(["train", "orthogonality.cifar10", "--norm", "layernorm"]) == 2
    said = capsys.readouterr().err  # in tyro's words, which differ between its versions
    assert said.count("\n") == 1
    assert all(word in said for word in ("orthogen:", "--norm", "'layernorm'", "'zca'", "'batchnorm'"))
    assert main(["train", "orthogonality.cifar10", "--ngo"]) == 2
    assert "--ngo is no field of orthogonality.cifar10; nearest: --nog" in capsys.readouterr().err
    assert main(["train", "orthogonality.cifar10"]) == 2
    assert "Cifar10: no path was given; give the folder with cifar-10-python.tar.gz" in capsys.readouterr().err
    assert main(["train", "orthogonality.cifar10", "--help"]) == 0
    assert "--norm {zca,batchnorm} (zca), --nog (False)" in " ".join(capsys.readouterr().out.split())


def test_a_recipe_without_switches_has_none():
    assert recipes.switches("orojar.sprites") == {}
    assert switched({}, ["--batch", "4"]) == ({}, ["--batch", "4"])
