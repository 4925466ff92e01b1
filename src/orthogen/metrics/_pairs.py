"""Pairs of images whose latents differ along one direction, in memory."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.images import to_uint8
from orthogen.core.latent import Uniform
from orthogen.core.maps import probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.shapes import Float, Int, UInt8
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics import _pair_files as files
from orthogen.metrics._moves import NOTHING, Held, directions_of, latents, try_out, unit

__all__ = ["Pairs", "moved"]

DRAWN = 100  # pairs per pass through the generator, as released


def moved(
    z: Float[Tensor, "n dim"],
    other: Float[Tensor, "n dim"],
    which: Int[Tensor, "n"],
    basis: Float[Tensor, "k dim"],
    step: float | None,
) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "n k"]]:
    """Latents that differ from ``z`` along direction ``which`` of each, and z - z' in coordinates of the directions.

    Along q, z' = z + a q with a = (other - z).q / q.q, which for an axis is the coordinate of ``other``; or a = step.
    """
    q = basis[which]
    a = ((other - z) * q).sum(dim=1) / q.square().sum(dim=1) if step is None else torch.full_like(z[:, 0], step)
    # a discrete prior may repeat the value: the images are then the same, and the label must still name the direction
    seen = torch.where(a == 0, torch.finfo(torch.float32).tiny, a).double()
    change = torch.zeros(len(z), len(basis), dtype=torch.float64, device=z.device)
    return z + a[:, None] * q, change.scatter_(1, which[:, None], -seen[:, None])


def _check(change: Tensor, name: object) -> None:
    """Refuse what does not tell which of two or more directions was changed in each pair."""
    if change.ndim != 2 or change.shape[1] < 2:
        raise ValueError(f"{name} has shape {tuple(change.shape)}; (pairs, classes) with 2 classes or more is needed")
    for wrong, why in ((~change.isfinite(), "a value that is not finite"), (change == 0, "nothing but zeros")):
        rows = wrong.all(dim=1) if why.startswith("nothing") else wrong.any(dim=1)
        if rows.any():
            raise ValueError(f"{name} has {why} in row {int(rows.nonzero()[0])}; each row tells what changed in a pair")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images, G(z) and G(z'), and z - z' in coordinates of the directions of which one was changed.

    Attributes:
        first: G(z).
        second: G(z').
        change: z - z'; the class of a pair is the column of the largest absolute value in its row.

    Raises:
        ValueError: the shapes do not go together, there are fewer than two classes, or a row of ``change`` is not
            finite or zero.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Uniform
        >>> G = adapt(torch.nn.Identity(), Uniform(2), call=lambda m, z: z[:, None, None, :])
        >>> pairs = Pairs.draw(G, 3)
        >>> pairs.first.shape, pairs.classes
        (torch.Size([3, 1, 1, 2]), 2)
        >>> bool((pairs.first != pairs.second)[torch.arange(3), 0, 0, pairs.labels].all())
        True
    """

    first: UInt8[Tensor, "n c h w"]
    second: UInt8[Tensor, "n c h w"]
    change: Float[Tensor, "n k"]

    def __post_init__(self) -> None:
        _check(self.change, "the change of the pairs")
        if self.first.shape != self.second.shape or self.first.ndim != 4 or len(self.first) != len(self.change):
            shapes = ", ".join(str(tuple(x.shape)) for x in (self.first, self.second, self.change))
            raise ValueError(f"Pairs of shapes {shapes}; (n, c, h, w) twice and (n, classes) are needed")

    def __len__(self) -> int:
        return len(self.change)

    @property
    def classes(self) -> int:
        """How many directions could have been changed."""
        return self.change.shape[1]

    @property
    def labels(self) -> Int[Tensor, "n"]:
        """Which one was, in each pair."""
        return self.change.abs().argmax(dim=1)

    def to(self, device: torch.device | str) -> "Pairs":
        """The same pairs on another device."""
        return type(self)(self.first.to(device), self.second.to(device), self.change.to(device))

    @classmethod
    @torch.no_grad()
    def draw(
        cls,
        generator: Generator,
        n: int,
        directions: Directions | None = None,
        *,
        step: float | None = None,
        prior: tuple[float, float] | None = None,
        held: Held = NOTHING,
        rng: torch.Generator | None = None,
    ) -> "Pairs":
        """Pairs that differ along one direction each, drawn uniformly.

        The generator is in evaluation mode, and noise inside it is the same in both images.

        Args:
            generator: left as it is.
            n: how many pairs.
            directions: brought to length 1; the latent's own coordinates if None.
            step: how far to move along the direction; None takes its component from another draw of the latent.
            prior: latents are of U[low, high], whatever the generator's own are; of its own if None.
            held: blocks of the latent that are none of the coordinates, drawn from their own prior, times a factor.
            rng: draws latents, directions and the seed of the generator's noise.

        Raises:
            ValueError: fewer than two directions, or of another width than the latent or of length 0; no such block;
                images that are not (n, c, h, w) or not finite; or a generator that takes conditions.
            TypeError: a generator in half precision.
        """
        rng = private() if rng is None else rng
        device, basis = generator.device, unit(directions_of("Pairs", generator, directions, held)).basis
        if len(basis) < 2:
            raise ValueError("Pairs: one direction was given; a class is one of two directions or more")
        latent = None if prior is None else Uniform(generator.latent.dim, *prior)
        f, changes = probe(generator), []
        first = second = torch.empty(0)
        with evaluating(generator.module):
            for start in track(range(0, n, DRAWN), "drawing pairs"):
                size = min(DRAWN, n - start)
                z, other = (latents(generator, size, rng, latent, held) for _ in range(2))
                which = torch.randint(len(basis), (size,), generator=rng, device=rng.device).to(device)
                after, change = moved(z, other, which, basis.to(z), step)
                if start == 0:
                    try_out("Pairs", generator, f, z)
                with seeded(rng, device):
                    (a,), (b,) = f.passes(torch.stack([z, after]))
                if a.ndim != 4:
                    raise ValueError(f"the generator's output is {tuple(a.shape)}; pairs are of images (n, c, h, w)")
                if not (a.isfinite().all() and b.isfinite().all()):
                    raise ValueError("the generator's images are not finite (NaN or infinity); look at its checkpoint")
                if start == 0:
                    shape = (n, *a.shape[1:])  # channels last, as the predictor takes them
                    first, second = (
                        torch.empty(shape, dtype=torch.uint8, device=device, memory_format=torch.channels_last)
                        for _ in range(2)
                    )
                first[start : start + size], second[start : start + size] = to_uint8(a), to_uint8(b)
                changes.append(change)
        return cls(first, second, torch.cat(changes))

    @classmethod
    def read(cls, folder: str | Path) -> "Pairs":
        """The pairs of a folder in the released format, ``pair_%06d.jpg`` (or ``.png``) and ``labels.npy``.

        Raises:
            FileNotFoundError: there is no such folder, or no labels in it.
            ValueError: files are missing, too many, unreadable or of several sizes, or the labels are no table of
                finite numbers that tell what changed.
        """
        folder = Path(folder)
        change = files.read_labels(folder)
        _check(change, folder / "labels.npy")
        first, second = files.read_strips(folder, len(change)).chunk(2, dim=3)
        return cls(first, second, change)

    def write(self, folder: str | Path, kind: files.Format = "jpg", quality: int = files.QUALITY) -> None:
        """Write them in the released format, as JPEG of ``quality`` or, without loss, as PNG.

        Raises:
            FileExistsError: the folder holds pairs already.
            ValueError: the images have neither 1 nor 3 channels.
        """
        strips = (torch.cat(pair, dim=2) for pair in zip(self.first, self.second, strict=True))
        files.write(Path(folder), strips, self.change, kind, quality)

    def as_jpeg(self, quality: int = files.QUALITY) -> "Pairs":
        """The pairs as they come back from JPEG files, without the files."""
        first, second = torch.empty_like(self.first), torch.empty_like(self.second)
        pairs = track(zip(self.first, self.second, strict=True), "JPEG round trip", total=len(self))
        for i, pair in enumerate(pairs):
            strip = files.decode(files.encode(torch.cat(pair, dim=2), "jpg", quality), "a pair")
            first[i], second[i] = strip.chunk(2, dim=2)
        return type(self)(first, second, self.change)
