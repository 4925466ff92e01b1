"""A sheet of images, what an autoencoder makes of them, and what it draws of latents."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.images import to_float, to_uint8
from orthogen.core.kinds import ImageSet
from orthogen.core.rng import generator
from orthogen.core.shapes import Float, UInt8
from orthogen.core.untouched import evaluating
from orthogen.training.samples import write_png

__all__ = ["sheet", "write_reconstructions"]

COLUMNS, PAIRS, DRAWN = 16, 3, 4  # of rows: so many pairs of images and reconstructions, so many of the prior
GAP, BETWEEN, APART = 2, 8, 24  # pixels: between neighbors, between pairs, between pairs and what is drawn


def sheet(rows: Sequence[Float[Tensor, "columns c h w"]], gaps: Sequence[int]) -> UInt8[Tensor, "height width c"]:
    """Rows of images on white, neighbors ``GAP`` pixels apart, rows as far as ``gaps`` says.

    Example:
        >>> sheet([torch.zeros(4, 3, 8, 8)] * 2, gaps=[5]).shape
        torch.Size([21, 38, 3])
    """
    columns, c, h, w = rows[0].shape
    strips = []
    for row, gap in zip(rows, [*gaps, 0], strict=True):
        cells = torch.ones(columns, c, h + gap, w + GAP)
        cells[..., :h, :w] = row
        strips.append(cells.permute(1, 2, 0, 3).flatten(2))
    return to_uint8(torch.cat(strips, dim=1)[None, ..., :-GAP].movedim(1, 3))[0]


@torch.no_grad()
def write_reconstructions(path: Path, adapted: Generator, encoder: nn.Module, images: ImageSet, seed: int) -> None:
    """Write a PNG: rows of images, each with its reconstruction from the mean code below, then draws from the prior.

    Images and latents depend on the seed alone; modes and random states are left as they are.
    """
    device = adapted.device
    index = torch.randint(len(images), (COLUMNS * PAIRS,), generator=generator(seed, "samples", "images"))
    originals = to_float(images.images(index))
    z = adapted.latent.sample(COLUMNS * DRAWN, rng=generator(seed, "samples"), device=device)
    with (
        evaluating(adapted.module),
        evaluating(encoder),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        seen = [adapted(encoder(part.to(device))[0]).float().cpu() for part in originals.split(COLUMNS)]
        drawn = [adapted(part).float().cpu() for part in z.split(COLUMNS)]
    pairs = [row for pair in zip(originals.split(COLUMNS), seen, strict=True) for row in pair]
    gaps = [GAP, BETWEEN] * (PAIRS - 1) + [GAP, APART] + [GAP] * (DRAWN - 1)
    write_png(path, sheet([*pairs, *drawn], gaps))
