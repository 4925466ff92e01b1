"""Montage: many small images on one sheet, with labels in the margins."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from orthogen.core.shapes import UInt8

__all__ = ["beside", "fit", "grid", "png", "sheet", "shortened", "signed", "wrapped"]

PAPER = (255, 255, 255)
INK = (31, 35, 40)
FAINT = (120, 128, 138)
MARGIN = 12  # px around a sheet
TEXT = 13  # px, height of labels
FONT = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))  # Pillow's own has no minus sign
LABEL = 120  # px, longest line of a label on the left


def fit(images: UInt8[Tensor, "*n c h w"], smallest: int = 64, largest: int = 256) -> UInt8[Tensor, "*n c h2 w2"]:
    """Images at a size to look at: small ones enlarged by a whole factor, pixel by pixel, large ones averaged down.

    Example:
        >>> fit(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
        torch.Size([2, 1, 84, 84])
        >>> fit(torch.zeros(3, 512, 512, dtype=torch.uint8)).shape
        torch.Size([3, 256, 256])
    """
    h, w = images.shape[-2:]
    if max(h, w) > largest:
        shape = (max(1, round(h * largest / max(h, w))), max(1, round(w * largest / max(h, w))))
        small = F.adaptive_avg_pool2d(images.flatten(0, -4).float() if images.ndim > 3 else images.float(), shape)
        return small.round().to(torch.uint8).view(*images.shape[:-2], *shape)
    factor = math.ceil(smallest / max(h, w))
    return images.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def grid(images: UInt8[Tensor, "rows columns c h w"], gutter: int = 2, paper: Sequence[int] = PAPER) -> Image.Image:
    """Rows and columns of images with thin gutters between them, as one picture.

    Args:
        images: gray (1 channel) or RGB (3 channels).
        gutter: pixels between neighbors.
        paper: color of the gutters, RGB or RGBA; RGBA gives an RGBA picture.

    Raises:
        ValueError: there is no image, or it is neither gray nor RGB.

    Example:
        >>> grid(torch.zeros(2, 5, 3, 32, 32, dtype=torch.uint8)).size
        (168, 66)
    """
    rows, columns, channels, h, w = images.shape
    if not rows * columns or channels not in (1, 3):
        raise ValueError(
            f"{rows} x {columns} images of {channels} channels: a grid needs at least one image, gray or RGB"
        )
    pixels = images.cpu().expand(rows, columns, 3, h, w).permute(0, 1, 3, 4, 2)
    canvas = torch.empty(rows * (h + gutter), columns * (w + gutter), len(paper), dtype=torch.uint8)
    canvas[:] = torch.tensor(paper, dtype=torch.uint8)
    cells = canvas.view(rows, h + gutter, columns, w + gutter, len(paper)).transpose(1, 2)
    cells[:, :, :h, :w, :3] = pixels
    cells[:, :, :h, :w, 3:] = 255
    return Image.fromarray(canvas[: canvas.shape[0] - gutter, : canvas.shape[1] - gutter].contiguous().numpy())


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, cut with an ellipsis where it is longer than ``width`` pixels."""
    while font.getlength(text) > width:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else "…"
        if text == "…":
            break
    return text


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> str:
    """The text over as many lines of ``width`` pixels as it needs; what goes beyond ``most`` lines is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width or not lines[-1] or len(lines) == most:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(shortened(line, font, width) for line in lines)


def beside(sheets: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Sheets side by side, each under its title.

    Example:
        >>> blank = Image.new("RGB", (200, 100))
        >>> beside([blank, blank], ["plain", "regularized"]).size
        (400, 130)
    """
    top = TEXT + 17
    size = (sum(sheet.width for sheet in sheets), max(sheet.height for sheet in sheets) + top)
    page, x = Image.new("RGB", size, PAPER), 0
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(FONT, TEXT + 2)
    for sheet, title in zip(sheets, titles, strict=True):
        page.paste(sheet, (x, top))
        pen.text((x + sheet.width / 2, MARGIN), title, fill=INK, font=font, anchor="mt")
        x += sheet.width
    return page


def sheet(
    images: UInt8[Tensor, "blocks lines columns c h w"],
    labels: Sequence[str],
    heads: Sequence[str] = (),
    mark: int | None = None,
    notes: Sequence[str] = (),
) -> Image.Image:
    """A labeled sheet: one block of lines per label, columns with heads, one of them marked.

    Args:
        images: as `grid`; the lines of a block lie close together.
        labels: one per block, on the left.
        heads: one per column, above, cut where they are wider than it; empty for none.
        mark: the column whose head is set in ink between two ticks, the others being faint.
        notes: one per line of a block, on the right, the same for every block; empty for none.

    Raises:
        ValueError: labels, heads or notes do not match the images.
    """
    blocks, lines, columns, _, h, w = images.shape
    if len(labels) != blocks or (heads and len(heads) != columns) or (notes and len(notes) != lines):
        raise ValueError(
            f"{len(labels)} labels, {len(heads)} heads and {len(notes)} notes "
            f"for {blocks} blocks of {lines} lines and {columns} columns"
        )
    font = ImageFont.truetype(FONT, TEXT)
    labels = [wrapped(label, font, LABEL, max(1, lines * h // (TEXT + 4))) for label in labels]
    left = MARGIN + math.ceil(max(font.getlength(line) for label in labels for line in label.splitlines())) + 10
    right = MARGIN + math.ceil(max((font.getlength(note) + 10 for note in notes), default=0))
    top = MARGIN + (TEXT + 9 if heads else 0)
    gap = 8 if lines > 1 else 2
    strips = [grid(block) for block in images]
    width, height = strips[0].size
    page = Image.new("RGB", (left + width + right, top + blocks * (height + gap) - gap + MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    for i, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        y = top + i * (height + gap)
        page.paste(strip, (left, y))
        pen.text((left - 10, y + height / 2), label, fill=INK, font=font, anchor="rm", align="right")
        for j, note in enumerate(notes):
            pen.text((left + width + 10, y + j * (h + 2) + h / 2), note, fill=FAINT, font=font, anchor="lm")
    for j, head in enumerate(heads):
        x = left + j * (w + 2) + w / 2
        color = FAINT if mark not in (None, j) else INK
        pen.text((x, top - 8), shortened(head, font, w), fill=color, font=font, anchor="ms")
    if heads and mark is not None:
        x, foot = left + mark * (w + 2), page.height - MARGIN
        for y in (top - 4, foot + 3):  # a thin rule above and below the column
            pen.line((x, y, x + w - 1, y), fill=INK, width=2)
    return page


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def signed(value: float) -> str:
    """A step value as a column head.

    Example:
        >>> signed(1.5), signed(-2.0), signed(0.0)
        ('+1.5', '−2', '0')
    """
    return f"{value:+.3g}".replace("-", "−") if value else "0"
