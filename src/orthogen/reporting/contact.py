"""The contact sheet: all directions on one page, a short strip of each under its name."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from orthogen.core.shapes import UInt8
from orthogen.reporting.montage import FAINT, FONT, INK, MARGIN, PAPER, TEXT, grid, shortened

__all__ = ["contact_sheet"]

_ASPECT = 1.4  # the page is about so many times as wide as high
_GAP = 14  # px between strips


def contact_sheet(images: UInt8[Tensor, "n steps c h w"], names: Sequence[str], note: str = "") -> Image.Image:
    """One strip per direction, read along the lines, on a page about as wide as a screen is.

    Args:
        images: the strips, gray or RGB.
        names: one per strip.
        note: a line above them all.

    Raises:
        ValueError: there is not one name per strip, or no strip.

    Example:
        >>> import torch
        >>> contact_sheet(torch.zeros(10, 3, 1, 32, 32, dtype=torch.uint8), [str(i) for i in range(10)]).size
        (352, 262)
    """
    if len(names) != len(images):
        raise ValueError(f"{len(names)} names for {len(images)} strips; give one each")
    strips = [grid(strip[None]) for strip in images]
    width, height = strips[0].size
    cell, line = width + _GAP, height + TEXT + 4 + _GAP
    columns = min(len(strips), max(1, round(math.sqrt(_ASPECT * len(strips) * line / cell))))
    lines = math.ceil(len(strips) / columns)
    top = MARGIN + (TEXT + _GAP if note else 0)
    size = (2 * MARGIN + columns * cell - _GAP, top + lines * line - _GAP + MARGIN)
    page = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(FONT, TEXT)
    pen.text((MARGIN, MARGIN + TEXT), note, fill=FAINT, font=font, anchor="ls")
    for i, (strip, name) in enumerate(zip(strips, names, strict=True)):
        x, y = MARGIN + i % columns * cell, top + i // columns * line
        pen.text((x, y + TEXT), shortened(name, font, width), fill=INK, font=font, anchor="ls")
        page.paste(strip, (x, y + TEXT + 4))
    return page
