"""One encoded image -> one uint8 array, by rules that can be stated in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from typing import IO, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

__all__ = ["BadImage", "Crop", "Filter", "Framing", "Header", "decode", "look", "naming"]

Crop = Literal["center", "shorter", "squash", "none"] | tuple[int, int, int, int]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


class BadImage(ValueError):
    """An image that cannot be used; the message names its file and what to do."""


@dataclass(frozen=True)
class Framing:
    """How an image of any size is brought to its square: a crop, then a resize (the other way round by ``"shorter"``).

    Attributes:
        resolution: side of the result, in pixels; None keeps the crop's own, which all images must then share.
        crop: ``"center"`` for the largest square in the middle (the odd pixel is dropped on the right or below),
            ``"shorter"`` to resize the shorter side to the resolution and then crop the middle (torchvision's
            ``Resize(s)``, ``CenterCrop(s)``), ``"squash"`` for the whole image at the cost of its aspect
            (``Resize((s, s))``), ``"none"`` for the whole image, which must be square, or a box ``(left, top, right,
            bottom)`` in pixels.
        resize: Pillow's filter; all but nearest widen when they shrink, so that nothing aliases.
    """

    resolution: int | None = None
    crop: Crop = "center"
    resize: Filter = "lanczos"

    def __post_init__(self) -> None:
        if self.resolution is not None and self.resolution < 1:
            raise ValueError(f"resolution={self.resolution}: give a side in pixels, or None for the images' own")
        if self.resize not in get_args(Filter):
            raise ValueError(f"resize={self.resize!r}: the filters are {', '.join(get_args(Filter))}")
        if isinstance(self.crop, str):
            if self.crop not in ("center", "shorter", "squash", "none"):
                known = "'center', 'shorter', 'squash', 'none'"
                raise ValueError(f"crop={self.crop!r}: give {known} or a box (left, top, right, bottom)")
            if self.crop in ("shorter", "squash") and self.resolution is None:
                raise ValueError(f"crop={self.crop!r} resizes every image; give the resolution to resize to")
        else:
            left, top, right, bottom = self.crop
            if min(left, top) < 0 or right <= left or right - left != bottom - top:
                raise ValueError(f"crop={self.crop}: a box is (left, top, right, bottom), square and not empty")

    def box(self, size: tuple[int, int], name: str) -> tuple[int, int, int, int]:
        """The part of an image of ``size`` (width, height) that is kept.

        Raises:
            BadImage: the image is not square and is not to be cropped, or the box reaches beyond it.

        Example:
            >>> Framing().box((178, 218), "000001.jpg")
            (0, 20, 178, 198)
        """
        width, height = size
        if self.crop == "center":
            side = min(size)
            left, top = (width - side) // 2, (height - side) // 2
            return (left, top, left + side, top + side)
        if self.crop == "shorter":
            side = min(size)
            left, top = round((width - side) / 2), round((height - side) / 2)  # halves to even, as torchvision does
            return (left, top, left + side, top + side)
        if self.crop == "squash":
            return (0, 0, width, height)
        if self.crop == "none":
            if width != height:
                raise BadImage(f"{name} is {width} x {height} pixels; crop='none' takes square images, 'center' any")
            return (0, 0, width, height)
        if self.crop[2] > width or self.crop[3] > height:
            raise BadImage(f"{name} is {width} x {height} pixels; the crop {self.crop} reaches beyond it")
        return self.crop

    def first_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """What an image of ``size`` is resized to before it is cropped: by ``"shorter"`` only.

        Example:
            >>> Framing(64, "shorter").first_size((178, 218))
            (64, 78)
        """
        if self.crop != "shorter" or self.resolution is None:
            return size
        width, height = (int(self.resolution * side / min(size)) for side in size)
        return width, height

    def __str__(self) -> str:
        if self.crop == "shorter":
            return f"shorter side resized to {self.resolution} ({self.resize}), center crop"
        if self.crop == "squash":
            return f"squashed to {self.resolution} x {self.resolution} ({self.resize})"
        crop = {"center": "center crop", "none": "no crop"}.get(str(self.crop), f"crop {self.crop}")
        return f"{crop}, " + (f"resized to {self.resolution} ({self.resize})" if self.resolution else "not resized")


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: (width, height) as displayed, and whether it has no color."""

    size: tuple[int, int]
    gray: bool


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn what files and decoders raise (OSError, SyntaxError, zlib.error, ...) into one line with a name.

    Raises:
        BadImage: something was raised.
    """
    try:
        yield
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}"
        raise BadImage(f"{name} claims more pixels than {limit}; shrink or remove it") from error
    except UnidentifiedImageError as error:
        raise BadImage(f"{name} is no image in a format that Pillow reads; replace or remove it") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(f"{name} cannot be read ({reason}); replace or remove it") from error


def look(file: IO[bytes] | BufferedIOBase, name: str) -> Header:
    """Read an image's header, without its pixels. To be called inside `naming`.

    Raises:
        BadImage: its pixels do not fit into 8 or 16 bits.
    """
    with Image.open(cast(IO[bytes], file)) as image:  # a zip member is an IO[bytes] in all but name
        # Image.Image.getexif, because PNG's own decodes the pixels in case EXIF stands behind them
        turned = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) in SIDEWAYS
        size, mode, kind = image.size, image.mode, image.format
    if turned and kind != "TIFF":  # of a TIFF, Pillow gives the upright size itself
        size = size[::-1]
    # Pillow widens 16-bit PNG and PGM to mode I; elsewhere I and F hold numbers without a range
    if mode == "F" or (mode == "I" and kind not in ("PNG", "PPM")):
        raise BadImage(f"{name} has pixels of mode {mode} (32 bits); save it with 8 or 16 bits a channel")
    return Header(size, mode in GRAY)


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """Gray or RGB in 8 bits: 16-bit gray v becomes round(v / 257), transparent pixels are laid over white."""
    if image.mode.startswith("I"):
        image = Image.fromarray(((np.asarray(image).astype(np.int64) + 128) // 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")


def _resize(image: Image.Image, size: tuple[int, int], how: Filter) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling[how.upper()])


def decode(data: bytes, name: str, framing: Framing, channels: int) -> NDArray[np.uint8]:
    """The pixels of an encoded image, ``(channels, height, width)``: upright by its EXIF, flattened, cropped, resized.

    To be called inside `naming`.
    """
    with Image.open(BytesIO(data)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        flat = _flat(image, channels)
    flat = _resize(flat, framing.first_size(flat.size), framing.resize)
    box = framing.box(flat.size, name)
    if box != (0, 0, *flat.size):
        flat = flat.crop(box)
    if framing.resolution is not None:
        flat = _resize(flat, (framing.resolution, framing.resolution), framing.resize)
    pixels = np.asarray(flat)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
