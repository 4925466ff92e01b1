from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.kinds import Model
from tiny_gan import BarData, Flat, TinyGan, recipe


def test_a_folder_with_another_recipes_run_names_the_field(tmp_path: Path) -> None:
    og.train(recipe(images=8), tmp_path, quiet=True)
    log = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="another recipe") as caught:
        og.train(recipe(images=8, model=TinyGan(width=4)), tmp_path, quiet=True)
    assert str(caught.value) == (
        f"{tmp_path} holds a run of another recipe: model.width is 8 there and 4 here; "
        "give another folder, or the recipe it was begun with"
    )
    with pytest.raises(ValueError, match=r"objective\.loss is NonSaturating there and Hinge here"):
        og.train(recipe(images=8, objective=og.Objective(og.Hinge())), tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"objective\.terms\.flat is null there and Term here"):
        og.train(recipe(images=8, objective=og.Objective(og.NonSaturating(), {"flat": og.Term(Flat())})), tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_what_only_describes_a_recipe_may_change(tmp_path: Path) -> None:
    og.train(recipe(images=8), tmp_path, quiet=True)
    og.train(recipe(images=8, departures=("Another sentence.",), metrics=("Mig",)), tmp_path, quiet=True)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="is there and is no run folder; give the name of a new or empty folder"):
        og.train(recipe(), tmp_path, quiet=True)
    with pytest.raises(ValueError, match="is there and is no run folder"):
        og.train(recipe(), tmp_path / "thesis.tex", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_is_being_trained(tmp_path: Path) -> None:
    said: list[str] = []

    def meanwhile(values: object) -> None:
        with pytest.raises(ValueError, match="another process is training in") as caught:
            og.train(recipe(images=8), tmp_path, quiet=True)
        said.append(str(caught.value))

    og.train(recipe(images=8), tmp_path, quiet=True, on_log=meanwhile)
    assert said == [f"another process is training in {tmp_path}; wait for it, or give another folder"]
    og.train(recipe(images=8), tmp_path, quiet=True)


def test_a_recipe_that_cannot_be_built_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        og.train(recipe(data=BarData(0)), tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match=r"no layer is called 'nowhere'"):
        og.train(recipe(objective=og.Objective(terms={"flat": og.Term(Flat(), layers=("nowhere",))})), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class Wide(TinyGan):
    def build(self) -> dict[str, nn.Module]:
        built = super().build()
        return {**built, "generator": nn.Sequential(built["generator"], nn.Upsample(scale_factor=2))}


@dataclass(frozen=True)
class Encoding(TinyGan):
    def build(self) -> dict[str, nn.Module]:
        return {"generator": nn.Identity(), "encoder": nn.Identity()}


@dataclass(frozen=True)
class Frozen(TinyGan):
    def build(self) -> dict[str, nn.Module]:
        built = super().build()
        built["generator"].requires_grad_(False)
        return built


class Loose(Model):
    latent = og.Normal(3)

    def build(self) -> dict[str, nn.Module]:
        return TinyGan().build()


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        (
            {"model": Wide()},
            ValueError,
            "Wide makes images of 1x16x16 and BarData has images of 1x8x8 (channels x height x width); "
            "change one to fit the other",
        ),
        (
            {"model": Encoding()},
            ValueError,
            "Encoding builds encoder, generator; adversarial training takes a generator and a critic",
        ),
        (
            {"model": Frozen()},
            ValueError,
            "the generator has no parameter that requires a gradient; there is nothing to train",
        ),
        (
            {"model": Loose()},
            TypeError,
            "Loose cannot be written to JSON; use dataclasses of numbers, strings and lists",
        ),
        (
            {"objective": og.Objective(terms={"a.b": og.Term(Flat())})},
            ValueError,
            "a term cannot be called 'a.b'; give a plain name such as 'orojar'",
        ),
        (
            {"objective": og.Objective(terms={"keys": og.Term(Flat())})},
            ValueError,
            "a term cannot be called 'keys'; give a plain name such as 'orojar'",
        ),
    ],
)
def test_what_does_not_fit_together_is_said_in_one_line(
    tmp_path: Path, changes: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        og.train(replace(recipe(), **changes), tmp_path / "run", quiet=True)
    assert str(caught.value) == said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"log_to": ("printer",)}, "log_to='printer' is unknown; the choice is tensorboard, wandb"),
        (
            {"log_to": ("wandb",)},
            "logging to wandb needs a package that is not installed: pip install 'orthogen[wandb]'",
        ),
        ({"device": "toaster"}, "device='toaster' is no device; give auto, cpu, cuda or cuda:1"),
    ],
)
def test_options_that_this_machine_does_not_have(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared below)
        og.train(recipe(), tmp_path / "run", quiet=True, **options)
    assert str(caught.value) == said
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'cuda' was asked for, and torch finds no GPU here; give cpu or auto"):
        og.train(recipe(), tmp_path, device="cuda")
