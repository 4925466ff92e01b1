"""The picture of a data set: bars as long as the counts, in the colors of the groups, beside images of the class."""

import numpy as np
import pytest
import torch
from PIL import Image

from contracts.examples import Stripes
from orthogen.core.kinds import ImageSet
from orthogen.data.long_tailed import LongTailed
from orthogen.data.sprites import Sprites
from orthogen.evaluation.inspecting import look_into
from orthogen.reporting import data_sheet as module
from orthogen.reporting.data_sheet import COLORS, data_sheet, inspect_data


class Shades(ImageSet):
    """Images in a shade of green that says their class."""

    channels, resolution = 3, 8

    def __init__(self, *counts):
        self._labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        self.classes = tuple(
            f"class number {i} with a name of many words, of which few are read" for i in range(len(counts))
        )

    def __len__(self):
        return len(self._labels)

    def labels(self, index):
        return self._labels[index]

    def images(self, index, *, rng=None):
        shade = torch.stack([index * 0, 100 + self.labels(index) % 100, index * 0], dim=1)
        return shade[:, :, None, None].expand(-1, 3, 8, 8).to(torch.uint8)


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def near(picture, color, slack=6):
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(pixels(picture) - wanted).max(axis=2) < slack


def sheet(images, **options):
    return data_sheet(images, look_into(images, compare=0), "a set", **options)


def lengths(picture, group):
    """Of the bars of a group, from the top; each is 20 pixels high."""
    rows = near(picture, COLORS[group])[90:, 300:].sum(axis=1)
    tops = [int(row) for row, before in zip(rows[1:], rows[:-1], strict=True) if row and not before]
    return tops


def test_bars_are_as_long_as_the_counts():
    picture = sheet(Shades(1000, 500, 200, 50))
    (head, half), (medium,), (tail,) = (lengths(picture, group) for group in ("head", "medium", "tail"))
    assert half == pytest.approx(head / 2, abs=2)
    assert medium == pytest.approx(head / 5, abs=2)
    assert tail == pytest.approx(head / 20, abs=2)


def test_or_as_long_as_their_logarithms():
    picture = sheet(Shades(1000, 30), log=True)
    (head,), (tail,) = lengths(picture, "head"), lengths(picture, "tail")
    assert tail == pytest.approx(head * np.log(31) / np.log(1001), abs=2)


def test_images_stand_in_the_line_of_their_class():
    images = Shades(300, 20, 3)
    found = pixels(sheet(images))
    area = [((found[:, :, 1] == 100 + label) & (found[:, :, 0] == 0)).sum() for label in range(3)]
    assert area == [8 * 48 * 48, 8 * 48 * 48, 3 * 48 * 48]  # of the last there are three
    lines = [np.where((found[:, :, 1] == 100 + label) & (found[:, :, 0] == 0))[0] for label in range(3)]
    assert lines[0].max() < lines[1].min()
    assert lines[1].max() < lines[2].min()


def test_a_class_without_images_has_no_bar():
    picture = sheet(Shades(500, 0, 500))
    assert len(lengths(picture, "head")) == 2
    assert near(picture, COLORS["tail"]).sum() > 150  # the words "no images", and the legend


def test_the_same_set_gives_the_same_picture():
    images = LongTailed(Stripes(), rho=20).open()
    assert np.array_equal(pixels(sheet(images)), pixels(sheet(images)))


def test_many_classes_are_one_chart_and_some_of_them_lines():
    counts = [max(3, int(600 * 0.99**i)) for i in range(1010)]
    picture = sheet(Shades(*counts))
    assert picture.height < 1300
    assert picture.width < 1300
    for group in COLORS:
        assert near(picture, COLORS[group])[60:350].sum() > 500  # in the chart
        assert 1 <= len(lengths(picture.crop((0, 300, *picture.size)), group)) <= 4
    assert picture.height < sheet(Shades(*counts[:40])).height


def test_the_chart_may_be_logarithmic():
    images = Shades(*[max(2, int(3000 * 0.9**i)) for i in range(100)])
    plain, log = (near(sheet(images, log=log), COLORS["tail"])[60:350].sum() for log in (False, True))
    assert log > 3 * plain


@pytest.mark.parametrize("count", [1, 7, 200])
def test_sets_without_classes_are_a_grid(count):
    class Plain(Shades):
        classes = ()

        def __init__(self):
            super().__init__(count)
            self.classes = ()

    found = pixels(sheet(Plain()))
    assert ((found == (0, 100, 0)).all(axis=2)).sum() == min(count, 64) * 48 * 48


def test_inspect_data_writes_the_picture(tmp_path):
    to = tmp_path / "deep" / "sheet.png"
    facts = inspect_data(LongTailed(Stripes(), rho=20), to=to, batch=8)
    assert facts.counts == (200, 73, 27, 10)
    assert facts.batch == 8
    with Image.open(to) as picture:
        assert picture.format == "PNG"
        drawn = picture.convert("RGB")
    same = data_sheet(LongTailed(Stripes(), rho=20).open(), facts, "LongTailed")
    assert np.array_equal(pixels(drawn), pixels(same))


def test_nothing_is_drawn_where_no_file_is_named(monkeypatch):
    monkeypatch.setattr(module, "data_sheet", None)
    assert inspect_data(Sprites(resolution=16).open(), compare=0).resolution == 16
