"""The public surface: every name that is promised is there."""

import importlib
from pathlib import Path

import pytest

import orthogen as og
from orthogen.core import catalogue

SOURCE = Path(og.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py"
)
OPTIONAL = {
    "fastapi",
    "uvicorn",
    "imageio",
    "tensorboard",
    "wandb",
    "webdataset",
    "huggingface_hub",
    "submitit",
    "torch_fidelity",
}


@pytest.mark.parametrize("name", MODULES)
def test_names_in_all_exist(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in OPTIONAL:
            pytest.skip(f"{error.name} is not installed")
        raise
    listed = getattr(module, "__all__", [])
    assert [public for public in listed if getattr(module, public, module) is module] == []
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", sorted(og._CORE))
def test_core_names_resolve(name):
    assert getattr(og, name) is getattr(importlib.import_module(f"orthogen.{og._CORE[name]}"), name)


@pytest.mark.parametrize(
    "entry", [e for folder in catalogue.FOLDERS for e in catalogue.entries(folder)], ids=lambda e: e.name
)
def test_members_are_attributes_of_the_package(entry):
    assert entry.summary
    loaded = entry.load()
    assert loaded.__name__ == entry.name
    if entry.folder != "recipes":
        assert getattr(og, entry.name) is loaded
        assert entry.name in dir(og)


def test_members_have_names_of_their_own():
    names = [entry.name for folder in catalogue.FOLDERS if folder != "recipes" for entry in catalogue.entries(folder)]
    assert sorted(names) == sorted(set(names))
    assert set(names) & set(og._CORE) == set()


def test_unknown_name_is_an_attribute_error_with_the_nearest():
    with pytest.raises(AttributeError, match=r"orthogen: nothing here is called 'ImageFoldr'; nearest: ImageFolder"):
        og.ImageFoldr  # noqa: B018 (the access is what is tested)
    with pytest.raises(AttributeError, match="_private"):
        og._private  # noqa: B018 (the access is what is tested)


def test_data_sets_are_there():
    assert {"ImageFolder", "ImageArchive", "DSprites", "CelebA"} <= set(dir(og))
    assert og.__version__
