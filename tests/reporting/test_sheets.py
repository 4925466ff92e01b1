import numpy as np
import pytest
import torch
from PIL import ImageFont

from orthogen.reporting.contact import contact_sheet
from orthogen.reporting.montage import FONT, LABEL, TEXT, fit, grid, sheet, shortened, wrapped


def test_a_grid_holds_every_pixel_in_its_place(rng):
    images = torch.randint(0, 200, (2, 3, 3, 5, 4), generator=rng, dtype=torch.uint8)
    picture = torch.from_numpy(np.array(grid(images, gutter=1)))
    assert picture.shape == (2 * 6 - 1, 3 * 5 - 1, 3)
    for i in range(2):
        for j in range(3):
            assert torch.equal(picture[i * 6 : i * 6 + 5, j * 5 : j * 5 + 4], images[i, j].permute(1, 2, 0))
    assert bool((picture[5] == 255).all())
    assert bool((picture[:, 4] == 255).all())


def test_a_grid_can_have_transparent_gutters():
    picture = grid(torch.zeros(1, 2, 1, 2, 2, dtype=torch.uint8), gutter=1, paper=(0, 0, 0, 0))
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[0, :, 3].tolist() == [255, 255, 0, 255, 255]


def test_fit_enlarges_by_whole_pixels_and_averages_down(rng):
    small = torch.randint(0, 256, (2, 3, 32, 32), generator=rng, dtype=torch.uint8)
    assert torch.equal(fit(small)[..., ::2, 1::2], small)
    large = torch.zeros(1, 8, 8, dtype=torch.uint8)
    large[:, :, 1::2] = 100
    assert bool((fit(large, largest=4) == 50).all())


def test_a_sheet_marks_its_column():
    images = torch.full((2, 2, 3, 1, 8, 8), 90, dtype=torch.uint8)
    plain, marked = (sheet(images, ("a", "b"), ("-1", "0", "+1"), mark) for mark in (None, 1))
    assert plain.size == marked.size
    assert plain.tobytes() != marked.tobytes()
    with pytest.raises(ValueError, match="1 labels, 0 heads and 0 notes for 2 blocks of 2 lines and 3 columns"):
        sheet(images, ("a",))


def test_notes_stand_to_the_right_of_their_lines_and_move_nothing():
    images = torch.full((1, 2, 3, 1, 32, 32), 90, dtype=torch.uint8)
    plain, noted = (np.asarray(sheet(images, ("a",), notes=notes)) for notes in ((), ("class 3", "class 12")))
    edge = plain.shape[1] - 12
    assert noted.shape[0] == plain.shape[0]
    assert (noted[:, :edge] == plain[:, :edge]).all()
    dark = (noted[:, edge:] < 200).any(axis=(1, 2)).nonzero()[0]
    assert {int(y) // 34 for y in dark - 12} == {0, 1}


def test_a_long_label_is_broken_between_words_and_cut_at_the_end():
    font = ImageFont.truetype(FONT, TEXT)
    lines = wrapped("a direction with a name far too long for the margin of any picture", font, LABEL, 3).split("\n")
    assert len(lines) == 3
    assert all(font.getlength(line) <= LABEL for line in lines)
    assert lines[0].startswith("a direction with")
    assert lines[-1].endswith("…")
    assert wrapped("pose", font, LABEL, 3) == "pose"
    assert shortened("Donaudampfschifffahrtsgesellschaft", font, 60).endswith("…")


def test_a_grid_of_nothing_or_of_odd_channels_is_refused():
    for shape in ((0, 3, 1, 2, 2), (1, 1, 2, 2, 2)):
        with pytest.raises(ValueError, match="a grid needs at least one image, gray or RGB"):
            grid(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("n", [1, 7, 120])
def test_a_contact_sheet_holds_every_strip_once(n):
    levels = torch.arange(1, n + 1, dtype=torch.uint8)
    images = levels.view(n, 1, 1, 1, 1).expand(n, 3, 3, 16, 16)
    page = np.asarray(contact_sheet(images, [f"direction {i}" for i in range(n)], "from left to right"))
    for level in levels.tolist():
        assert (page == level).all(axis=2).sum() >= 3 * 16 * 16
    if n > 20:
        assert 1 < page.shape[1] / page.shape[0] < 2


def test_a_contact_sheet_needs_a_name_for_each():
    with pytest.raises(ValueError, match="1 names for 2 strips; give one each"):
        contact_sheet(torch.zeros(2, 3, 1, 4, 4, dtype=torch.uint8), ["a"])
