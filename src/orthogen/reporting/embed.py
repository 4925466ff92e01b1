"""Pictures within a page: data URIs that keep to a budget."""

import base64
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

__all__ = ["as_uri", "data_uri", "file_uri"]

# from exact to coarse; the first that fits the budget is taken
_QUALITIES: tuple[dict[str, bool | int], ...] = ({"lossless": True}, *({"quality": q} for q in (92, 85, 75, 60, 40)))


def as_uri(content: bytes, kind: str) -> str:
    """The bytes of an image file as a data URI.

    Example:
        >>> as_uri(b"abc", "png")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def data_uri(image: Image.Image, budget: int) -> str:
    """The picture as WebP: exact where that takes at most ``budget`` bytes, else as coarse as it takes."""
    content = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", method=4, **quality)
        content = buffer.getvalue()
        if len(content) <= budget:
            break
    return as_uri(content, "webp")


def file_uri(path: Path, budget: int, widest: int = 720) -> str | None:
    """A picture file, made smaller where it is wider than ``widest`` pixels; None where it cannot be read."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    if image.width > widest:
        image = image.resize((widest, max(1, image.height * widest // image.width)), Image.Resampling.BOX)
    return data_uri(image, budget)
