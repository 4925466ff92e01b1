"""The Hessians of all entries of an image at once, one pair of latent components after the other."""

from collections.abc import Iterator
from itertools import combinations_with_replacement

from torch import Tensor

from orthogen.core.maps import LatentMap
from orthogen.core.progress import track
from orthogen.core.shapes import Float

__all__ = ["hessians"]


def hessians(f: LatentMap, z: Float[Tensor, "n dim"], step: float) -> Iterator[tuple[int, int, Tensor]]:
    """H_ij of every entry of the map's first layer, for i <= j, by central differences in float64.

        H_ij = [f(z + e_i + e_j) - f(z + e_i - e_j) - f(z - e_i + e_j) + f(z - e_i - e_j)] / 4 e^2

    Takes 2 d^2 passes over the batch; no more than one pair of components is held in memory.

    Args:
        f: the map.
        z: where.
        step: e, in units of the map's latent.

    Yields:
        i, j, and ``(n, ...)`` of the shape of the layer.

    Example:
        >>> import torch, orthogen as og
        >>> G = og.adapt(torch.nn.Identity(), og.Normal(2), call=lambda m, z: z[:, :1] * z[:, 1:] + z[:, :1] ** 2)
        >>> [(i, j, round(h.item(), 3)) for i, j, h in hessians(og.probe(G), torch.zeros(1, 2), 0.1)]
        [(0, 0, 2.0), (0, 1, 1.0), (1, 1, 0.0)]
    """
    middle, scale = f(z)[0].double(), 1 / (4 * step**2)
    pairs = list(combinations_with_replacement(range(f.dim), 2))
    for i, j in track(pairs, "Hessians, pair by pair"):
        signs = ((1, 1), (-1, -1)) if i == j else ((1, 1), (1, -1), (-1, 1), (-1, -1))
        points = z.repeat(len(signs), 1, 1)
        for point, (a, b) in zip(points, signs, strict=True):
            point[:, i] += a * step
            point[:, j] += b * step
        images = [image.double() for (image, *_) in f.passes(points)]
        if i == j:
            yield i, j, (images[0] + images[1] - 2 * middle).mul_(scale)
        else:
            yield i, j, (images[0] - images[1] - images[2] + images[3]).mul_(scale)
