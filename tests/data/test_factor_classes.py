"""A factor as a class label."""

import pytest
import torch

import orthogen as og
from orthogen.data.factor_classes import FactorClasses


def test_labels_are_the_factors_values_and_images_those_of_the_set():
    source = og.Shapes3d(resolution=16)
    whole, images = source.open(), FactorClasses(source, "wall_hue").open()
    index = torch.randint(len(whole), (50,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(images.labels(index), whole.factors(index)[:, whole.factor_names.index("wall_hue")])
    assert torch.equal(images.images(index[:4]), whole.images(index[:4]))
    assert len(images) == len(whole)
    assert (images.channels, images.resolution) == (3, 16)
    assert images.classes == tuple(f"wall_hue {i}" for i in range(10))
    assert images.class_counts().tolist() == [48_000] * 10


def test_parts_share_nothing_and_make_the_whole():
    source = og.Sprites(resolution=16)
    train, test = (FactorClasses(source, "shape", part=part).open() for part in ("train", "test"))
    assert (len(train), len(test)) == (737_280 - 2_000, 2_000)
    assert torch.isin(train._rows, test._rows).sum() == 0
    assert torch.cat([train._rows, test._rows]).sort().values.equal(torch.arange(737_280))
    assert abs(test.class_counts() / 2_000 - 1 / 3).max() < 0.05
    whole, index = source.open(), torch.arange(5)
    assert torch.equal(test.images(index), whole.images(test._rows[:5]))
    assert torch.equal(test.labels(index), whole.factors(test._rows[:5])[:, 0])


def test_a_name_stands_for_the_set_with_its_defaults():
    assert len(FactorClasses("Sprites", "shape").open().classes) == 3


def test_mistakes_are_named_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"factor='color'\): Sprites varies shape, scale, .*; give one of them"):
        FactorClasses("Sprites", "color").open()
    with pytest.raises(TypeError, match=r"FactorClasses: nothing here is called 'Nothing'.*; give images with factors"):
        FactorClasses("Nothing").open()
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="the images of ImageFolder have no factors; give Sprites or Shapes3d"):
        FactorClasses(og.ImageFolder(tmp_path)).open()
