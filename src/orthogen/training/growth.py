"""Progressive growing: which resolution is trained when, in what batches, at what rate."""

import math
from dataclasses import dataclass

__all__ = ["Growth"]


@dataclass(frozen=True)
class Growth:
    """The schedule of networks that start small: at each resolution, so many images, then so many to fade in the next.

    Where the networks are is one number, the level of detail: how many times the full side is halved. With n halvings
    from the full side to ``start``, and t images shown,

        i = floor( t / (stable + fade) ),   r = t - i (stable + fade),
        lod = max( 0, n - i - max( 0, r - stable ) / fade )

    so that it is whole while a resolution is trained, and falls to the next whole number while one is faded in. The
    resolution trained is the one being faded in, from its first image on.

    Attributes:
        start: the first resolution, in pixels.
        stable: images at each resolution.
        fade: images while the next one is faded in; 0 for none.
        batches: images of a step at ``start``, at twice that, and so on; the last holds for all that follow. Empty for
            the recipe's batch throughout.
        rates: what learning rates are multiplied by, in the same way; empty for 1.
        reset: whether the optimizers start anew as a resolution begins and ends to be faded in, as in the paper's code.

    Raises:
        ValueError: a field is out of range.

    Reference:
        T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and
        Variation", ICLR 2018, appendix A.1, with 600,000 images each.

    Example:
        >>> growth = Growth(batches=(512, 256, 128))
        >>> for images in (0, 600_000, 900_000, 1_200_000, 2_000_000):
        ...     print(round(growth.lod(images, 32), 2), growth.side(images, 32), growth.batch(images, 32))
        3.0 4 512
        3.0 4 512
        2.5 8 256
        2.0 8 256
        1.67 16 128
    """

    start: int = 4
    stable: int = 600_000
    fade: int = 600_000
    batches: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    reset: bool = True

    def __post_init__(self) -> None:
        if self.start < 1 or self.start & (self.start - 1):
            raise ValueError(f"Growth(start={self.start}): the first resolution is a power of two, 4 in the paper")
        if self.stable < 0 or self.fade < 0 or not self.stable + self.fade:
            raise ValueError(
                f"Growth(stable={self.stable}, fade={self.fade}): they count images, and one of them is above 0"
            )
        if any(batch < 1 for batch in self.batches):
            raise ValueError(f"Growth(batches={self.batches}): every step takes at least 1 image")
        if any(rate <= 0 for rate in self.rates):
            raise ValueError(f"Growth(rates={self.rates}): a learning rate is multiplied by more than 0")

    def check(self, resolution: int) -> None:
        """Whether networks of this resolution can grow so.

        Raises:
            ValueError: they cannot.
        """
        if resolution < self.start or resolution % self.start or (resolution // self.start).bit_count() != 1:
            raise ValueError(
                f"Growth(start={self.start}): doubling never reaches {resolution} pixels; give a power of two up to it"
            )

    def lod(self, images: int, resolution: int) -> float:
        """The level of detail after so many images, for networks of that full resolution."""
        halvings = (resolution // self.start).bit_length() - 1
        done, rest = divmod(images, self.stable + self.fade)
        share = max(0, rest - self.stable) / self.fade if self.fade else 0.0
        return max(0.0, halvings - done - share)

    def side(self, images: int, resolution: int) -> int:
        """The resolution that is trained, in pixels."""
        return resolution >> math.floor(self.lod(images, resolution))

    def batch(self, images: int, resolution: int) -> int | None:
        """Images of a step; None where that is the recipe's."""
        return self.batches[self._at(images, resolution, len(self.batches))] if self.batches else None

    def rate(self, images: int, resolution: int) -> float:
        """What learning rates are multiplied by."""
        return self.rates[self._at(images, resolution, len(self.rates))] if self.rates else 1.0

    def begins(self, before: float, now: float) -> bool:
        """Whether optimizers start anew between two levels of detail.

        Example:
            >>> [Growth().begins(3.0, now) for now in (3.0, 2.9, 2.0)], Growth().begins(2.9, 2.8)
            ([False, True, True], False)
        """
        moved = math.floor(before) != math.floor(now) or math.ceil(before) != math.ceil(now)
        return self.reset and moved

    def _at(self, images: int, resolution: int, length: int) -> int:
        return min((self.side(images, resolution) // self.start).bit_length(), length) - 1
