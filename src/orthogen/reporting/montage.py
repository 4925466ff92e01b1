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

__all__ = ["beside", "fit", "grid", "png", "sheet", "signed"]

PAPER = (255, 255, 255)
INK = (31, 35, 40)
FAINT = (120, 128, 138)
MARGIN = 12  # px around a sheet
TEXT = 13  # px, height of labels
FONT = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))  # Pillow's own has no minus sign
LABEL = 180  # px, longest label on the left before it is cut


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


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    while font.getlength(text) > width:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else "…"
        if text == "…":
            break
    return text


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
) -> Image.Image:
    """A labeled sheet: one block of lines per label, columns with heads, one of them marked.

    Args:
        images: as `grid`; the lines of a block lie close together.
        labels: one per block, on the left.
        heads: one per column, above; empty for none.
        mark: the column whose head is set in ink between two ticks, the others being faint.

    Raises:
        ValueError: labels or heads do not match the images.
    """
    blocks, lines, columns, _, _, w = images.shape
    if len(labels) != blocks or (heads and len(heads) != columns):
        raise ValueError(f"{len(labels)} labels and {len(heads)} heads for {blocks} blocks and {columns} columns")
    font = ImageFont.truetype(FONT, TEXT)
    labels = [_shortened(label, font, LABEL) for label in labels]
    left = MARGIN + math.ceil(max(font.getlength(label) for label in labels)) + 10
    top = MARGIN + (TEXT + 9 if heads else 0)
    gap = 8 if lines > 1 else 2
    strips = [grid(block) for block in images]
    width, height = strips[0].size
    page = Image.new("RGB", (left + width + MARGIN, top + blocks * (height + gap) - gap + MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    for i, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        y = top + i * (height + gap)
        page.paste(strip, (left, y))
        pen.text((left - 10, y + height / 2), label, fill=INK, font=font, anchor="rm")
    for j, head in enumerate(heads):
        x = left + j * (w + 2) + w / 2
        pen.text((x, top - 8), head, fill=INK if j == mark else FAINT, font=font, anchor="ms")
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
