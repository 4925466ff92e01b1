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

__all__ = ["grid", "write_samples"]

COUNT, AT_ONCE = 64, 16


def grid(images: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "height width c"]:
    """Images side by side in a near-square grid, black where there are too few.

    Example:
        >>> grid(torch.ones(3, 1, 4, 4)).shape
        torch.Size([8, 8, 1])
    """
    n, c, h, w = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = torch.full((rows * columns, c, h, w), -1.0)
    sheet[:n] = images
    return to_uint8(sheet.view(rows, columns, c, h, w).permute(0, 3, 1, 4, 2).reshape(1, rows * h, columns * w, c))[0]


@torch.no_grad()
def write_samples(path: Path, adapted: Generator, seed: int) -> None:
    """Write a PNG of images from latents that depend on the seed alone; leaves modes and random states as they are."""
    z = adapted.latent.sample(COUNT, rng=generator(seed, "samples"), device=adapted.device)
    with evaluating(adapted.module), torch.random.fork_rng([adapted.device] if adapted.device.type == "cuda" else []):
        images = torch.cat([adapted(rows).float().cpu() for rows in z.split(AT_ONCE)])
    pixels = grid(images).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    write_atomically(path, file.getvalue())
