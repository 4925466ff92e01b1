"""What ``orthogen train RECIPE --data`` makes of a recipe."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import orthogen as og
from orthogen import recipes
from orthogen.cli.recipe_data import on_data
from orthogen.core.kinds import Data, ImageSet


@dataclass(frozen=True)
class Nowhere(Data):
    """A set without files."""

    def open(self) -> ImageSet:
        raise NotImplementedError


def test_a_named_set_is_that_of_the_recipe_with_its_tail_and_reaches_the_validation():
    recipe = recipes.build("group_spectral.cifar10_sngan")
    found = on_data(recipe, "Cifar10:folder")
    assert found.data == replace(recipe.data, data=replace(recipe.data.data, path="folder"))
    assert found.validation.data == og.Cifar10("folder", split="test", flip=False)
    assert replace(found, data=recipe.data, validation=recipe.validation) == recipe


def test_it_reaches_what_a_classifier_is_tested_on():
    found = on_data(recipes.build("orthogonality.cifar10"), "Cifar10:folder")
    assert (found.data.path, found.data.split) == ("folder", "train")
    assert (found.test.path, found.test.split) == ("folder", "test")


def test_a_path_that_is_there_stays():
    recipe = recipes.build("group_spectral.cifar10_sngan")
    recipe = replace(recipe, validation=replace(recipe.validation, data=og.Cifar10("other", split="test")))
    assert on_data(recipe, "Cifar10:folder").validation == recipe.validation


def test_images_of_another_kind_take_the_place_of_the_data_alone(tmp_path):
    recipe = recipes.build("group_spectral.cifar10_sngan")
    found = on_data(recipe, str(tmp_path))
    assert found.data == og.ImageFolder(str(tmp_path), resolution=32)
    assert found.validation == recipe.validation
    assert on_data(recipe, "Sprites").data == og.Sprites(resolution=32)


def test_the_images_of_training_are_no_validation(tmp_path):
    recipe = recipes.build("group_spectral.cifar10_sngan")
    recipe = replace(recipe, validation=replace(recipe.validation, data=og.ImageFolder("", resolution=32)))
    assert on_data(recipe, str(tmp_path)).validation == recipe.validation


@pytest.mark.parametrize("named", ["Cifar10:{}", "{}"])
def test_an_npz_file_has_one_part(tmp_path, named):
    file = tmp_path / "train.npz"
    file.touch()
    recipe = recipes.build("group_spectral.cifar10_sngan")
    found = on_data(recipe, named.format(file))
    assert found.data.data == replace(recipe.data.data, path=str(file))
    assert found.validation == recipe.validation


def test_a_file_of_a_recipe_whose_set_has_none_is_said_as_any(tmp_path):
    Path(tmp_path / "a.bin").touch()
    recipe = replace(recipes.build("group_spectral.cifar10_sngan"), data=Nowhere())
    assert on_data(recipe, str(tmp_path / "a.bin")).data == og.ImageFolder(str(tmp_path / "a.bin"), resolution=32)
