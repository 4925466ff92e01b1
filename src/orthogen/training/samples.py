"""Grids of what a generator makes of always the same latents."""

import io
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.images import to_uint8
from orthogen.core.rng import generator
from orthogen.core.shapes import Float, UInt8
from orthogen.core.untouched import evaluating

__all__ = ["grid", "write_png", "write_samples"]

COUNT, AT_ONCE = 64, 16
CLASSES, EACH = 16, 8  # rows of a grid by class, and images in each


def grid(images: Float[Tensor, "n c h w"], columns: int | None = None) -> UInt8[Tensor, "height width c"]:
    """Images side by side in a grid, a near-square one unless said otherwise; black where there are too few.

    Example:
        >>> grid(torch.ones(3, 1, 4, 4)).shape
        torch.Size([8, 8, 1])
    """
    n, c, h, w = images.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    rows = math.ceil(n / columns)
    sheet = torch.full((rows * columns, c, h, w), -1.0)
    sheet[:n] = images
    return to_uint8(sheet.view(rows, columns, c, h, w).permute(0, 3, 1, 4, 2).reshape(1, rows * h, columns * w, c))[0]


def write_png(path: Path, pixels: UInt8[Tensor, "height width c"]) -> None:
    """Write an image, gray or in color."""
    file, pixels = io.BytesIO(), pixels.squeeze(2)
    Image.fromarray(pixels.numpy()).save(file, "PNG")
    write_atomically(path, file.getvalue())


@torch.no_grad()
def write_samples(path: Path, adapted: Generator, seed: int) -> None:
    """Write a PNG of images from latents that depend on the seed alone; leaves modes and random states as they are.

    A generator that takes class labels gets a row for each, of up to 16 evenly chosen ones, with the same latents.
    """
    shown = min(adapted.classes, CLASSES)
    z = adapted.latent.sample(EACH if shown else COUNT, rng=generator(seed, "samples"), device=adapted.device)
    rows = {"z": z.repeat(max(1, shown), 1)}
    if shown:
        labels = torch.arange(shown, device=z.device) * adapted.classes // shown
        rows[adapted.condition] = labels.repeat_interleave(EACH)
    with evaluating(adapted.module), torch.random.fork_rng([adapted.device] if adapted.device.type == "cuda" else []):
        parts = torch.arange(len(rows["z"]), device=z.device).split(AT_ONCE)
        images = torch.cat([adapted(**{name: x[at] for name, x in rows.items()}).float().cpu() for at in parts])
    write_png(path, grid(images, EACH if shown else None))
