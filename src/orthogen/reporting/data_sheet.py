"""A data set as a picture: how many images each class has, beside some of them."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from orthogen.core.files import write_atomically
from orthogen.core.kinds import Data, ImageSet
from orthogen.core.rng import generator
from orthogen.core.shapes import UInt8
from orthogen.evaluation.data_facts import BIN_NAMES, BINS, GROUPS, DataFacts, group_of
from orthogen.evaluation.inspecting import look_into
from orthogen.reporting import montage
from orthogen.reporting.figures import PALETTE, brief
from orthogen.reporting.montage import FAINT, FONT, INK, MARGIN, PAPER, TEXT

__all__ = ["data_sheet", "inspect_data"]

COLORS = {"head": PALETTE[0], "medium": PALETTE[4], "tail": PALETTE[1]}
SAMPLES = 8  # images of a class
ROWS = 40  # classes that each have a line; of more, some are picked and all are in a chart
PICKED = 12
THUMB = 48  # px, about
NAME, BAR, NUMBER = 150, 380, 70  # px, widest
GAP = 6  # px between lines


def inspect_data(
    data: Data | ImageSet,
    *,
    to: str | Path | None = None,
    title: str = "",
    batch: int = 64,
    compare: int = 50_000,
    log: bool = False,
) -> DataFacts:
    """What is in a data set, in words, and as a picture where ``to`` names a file.

    Args:
        data: a data set, opened or not.
        to: the PNG file to write; none if None.
        title: what the picture is called; the data set's class if empty.
        batch: images of a training batch, for the estimate of memory.
        compare: how many images to compare with one another; 0 for none.
        log: draw counts on a logarithmic scale.

    Returns:
        The facts; ``print`` shows them as a table.

    Raises:
        FileNotFoundError: the data is not where it should be.
        ValueError: it cannot be opened, or is empty.

    Example:
        >>> from orthogen.data.sprites import Sprites
        >>> print(inspect_data(Sprites(resolution=32), compare=0).summary)
        737,280 images, 32 x 32 gray, shape 3, scale 6, orientation 40, posX 32, posY 32
    """
    images = data.open() if isinstance(data, Data) else data
    facts = look_into(images, batch=batch, compare=compare)
    if to is not None:
        sheet = data_sheet(images, facts, title or type(data).__name__, log=log)
        write_atomically(Path(to), montage.png(sheet))
    return facts


def data_sheet(images: ImageSet, facts: DataFacts, title: str, *, log: bool = False) -> Image.Image:
    """Counts and samples of each class; of more than 40 classes a chart of all counts, and samples of some.

    Args:
        images: the set.
        facts: what `look_into` found in it.
        title: the heading.
        log: draw counts on a logarithmic scale.
    """
    if not any(facts.counts):
        index = torch.randperm(len(images), generator=generator(0, "data sheet"))[: SAMPLES**2]
        pixels = montage.fit(images.images(index), THUMB, 64)
        return _stacked(_heading(facts, title, 640), montage.grid(_padded(pixels, math.ceil(len(index) / SAMPLES))))
    many = len(facts.counts) > ROWS
    lines = _lines(images, facts, _picked(facts.counts) if many else list(range(len(facts.counts))), log=log)
    parts = [_chart(facts.counts, lines.width, log=log)] if many else []
    return _stacked(_heading(facts, title, lines.width, log=log), *parts, lines)


def _picked(counts: tuple[int, ...]) -> list[int]:
    """Some classes of each group, evenly spaced from the one with most images to the one with fewest."""
    ranked = sorted(range(len(counts)), key=lambda label: -counts[label])
    groups = [[label for label in ranked if group_of(counts[label]) == group] for group in reversed(GROUPS)]
    groups = [group for group in groups if group]
    each = PICKED // len(groups)
    found = [group[round(i * (len(group) - 1) / (each - 1))] for group in groups for i in range(each)]
    return list(dict.fromkeys(found))


def _stacked(*parts: Image.Image) -> Image.Image:
    """Parts below one another, in a margin."""
    size = (max(part.width for part in parts), sum(part.height + 2 * GAP for part in parts) - 2 * GAP)
    page, y = Image.new("RGB", (size[0] + 2 * MARGIN, size[1] + 2 * MARGIN), PAPER), MARGIN
    for part in parts:
        page.paste(part, (MARGIN, y))
        y += part.height + 2 * GAP
    return page


def _heading(facts: DataFacts, title: str, width: int, *, log: bool = False) -> Image.Image:
    """Title, the set in one line, and what the colors mean."""
    line = TEXT + 8
    page = Image.new("RGB", (width, line * (3 if facts.counts else 2) + 4), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(FONT, TEXT)
    large = ImageFont.truetype(FONT, TEXT + 4)
    pen.text((0, TEXT + 4), montage.shortened(title, large, width), fill=INK, font=large, anchor="ls")
    pen.text((0, line + TEXT + 4), montage.shortened(facts.summary, font, width), fill=FAINT, font=font, anchor="ls")
    x = 0.0
    for group, what in zip(reversed(GROUPS), BIN_NAMES, strict=True) if facts.counts else ():
        classes = sum(group_of(count) == group for count in facts.counts)
        text = f"{group}, {what} images: {classes:,} class{'' if classes == 1 else 'es'}"
        pen.rectangle((x, 2 * line + 6, x + 10, 2 * line + 16), fill=COLORS[group])
        pen.text((x + 16, 2 * line + 16), text, fill=INK, font=font, anchor="ls")
        x += 16 + font.getlength(text) + 24
    if log:
        pen.text((width, 2 * line + 16), "logarithmic", fill=FAINT, font=font, anchor="rs")
    return page


def _padded(pixels: UInt8[Tensor, "n c h w"], rows: int) -> UInt8[Tensor, "rows columns c h w"]:
    """Images in rows, with white ones behind the last."""
    missing = rows * SAMPLES - len(pixels)
    return torch.cat([pixels, pixels.new_full((missing, *pixels.shape[1:]), 255)]).unflatten(0, (rows, SAMPLES))


def _samples(images: ImageSet, labels: list[int], counts: tuple[int, ...]) -> UInt8[Tensor, "rows columns c h w"]:
    """Some images of each of those classes, drawn alike every time."""
    every = images.labels(torch.arange(len(images)))
    assert every is not None  # there are counts
    picked = []
    for label in labels:
        members = (every == label).nonzero()[:, 0]
        picked.append(members[torch.randperm(counts[label], generator=generator(0, "data sheet", label))[:SAMPLES]])
    pixels = montage.fit(images.images(torch.cat(picked)), THUMB, 64).split([len(each) for each in picked])
    return torch.cat([_padded(each, 1) for each in pixels])


def _lines(images: ImageSet, facts: DataFacts, labels: list[int], *, log: bool) -> Image.Image:
    """A line for each of those classes: its name, some of its images, and a bar as long as it has images."""
    samples = _samples(images, labels, facts.counts)
    strips = [montage.grid(row[None]) for row in samples]
    font = ImageFont.truetype(FONT, TEXT)
    names = [montage.wrapped(facts.classes[label], font, NAME, 3) for label in labels]
    left = math.ceil(max(font.getlength(line) for name in names for line in name.splitlines() or [""])) + 10
    bars = left + strips[0].width + 14
    line = strips[0].height + GAP
    page = Image.new("RGB", (bars + BAR + NUMBER, len(labels) * line - GAP), PAPER)
    pen, most = ImageDraw.Draw(page), max(1, *facts.counts)
    for i, (label, name, strip) in enumerate(zip(labels, names, strips, strict=True)):
        count, y = facts.counts[label], i * line + strip.height / 2
        share = math.log1p(count) / math.log1p(most) if log else count / most
        end = bars + max(1.0, share * BAR)
        pen.text((left - 10, y), name, fill=INK, font=font, anchor="rm", align="right")
        page.paste(strip, (left, i * line))
        if count:
            pen.rectangle((bars, y - 10, end, y + 10), fill=COLORS[group_of(count)])
            pen.text((end + 8, y), f"{count:,}", fill=INK, font=font, anchor="lm")
        else:
            pen.text((bars, y), "no images", fill=COLORS["tail"], font=font, anchor="lm")
    return page


def _chart(counts: tuple[int, ...], width: int, *, log: bool) -> Image.Image:
    """The counts of all classes, most first, as an area in the colors of the groups."""
    ordered = np.sort(np.array(counts))[::-1]
    style: Any = {"font.family": "DejaVu Sans", "font.size": 9.5, "axes.linewidth": 0.6, "text.color": "#1f2328"}
    with rc_context(style):
        figure = Figure(figsize=(width / 100, 2.9), layout="constrained", dpi=100, facecolor="white")
        axes = figure.add_subplot()
        for group, color in COLORS.items():
            inside = np.array([group_of(count) == group for count in ordered.tolist()])
            heights = np.where(inside, ordered, 0)
            axes.stairs(heights, np.arange(len(ordered) + 1), fill=True, color=color, linewidth=0)
        for edge in BINS:
            if ordered[-1] <= edge < ordered[0]:
                axes.axhline(edge, color="#78808a", linewidth=0.8, linestyle=(0, (4, 3)))
                at = (len(ordered), edge)
                axes.annotate(f"{edge}", at, (-4, 3), textcoords="offset points", ha="right", color="#78808a")
        axes.set_xlim(-0.005 * len(ordered), len(ordered))
        if log:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.8)
        else:
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("classes, most images first", color="#78808a")
        axes.set_ylabel("images, logarithmic" if log else "images", color="#78808a")
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    with Image.open(buffer) as drawn:
        return drawn.convert("RGB")
