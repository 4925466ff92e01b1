"""Images of a folder, with classes from its sub-folders."""

from dataclasses import dataclass, replace
from pathlib import Path

from orthogen.data._pictures import Pictures
from orthogen.data._pixels import StoredImages
from orthogen.data._sources import LABELS, Source, folder_source, natural

__all__ = ["ImageFolder"]


@dataclass(frozen=True)
class ImageFolder(Pictures):
    """The images below a folder; each sub-folder of it is a class, a folder without sub-folders has none.

    Names are in natural order (``img2`` before ``img10``), hidden files and files that are no images are passed over. A
    ``dataset.json`` at the top (StyleGAN's format, see `ImageArchive`) takes the place of the sub-folders. An image is
    turned upright by its EXIF, 16-bit gray v becomes round(v / 257), transparent pixels are laid over white, palettes
    and other color spaces become RGB; one image with color makes the whole set RGB. Then crop, then resize.

    Attributes:
        path: the folder.
        resolution: side to resize to, in pixels (smaller images are enlarged); None keeps the images' own, which must
            then be the same.
        crop: ``"center"`` for the largest square in the middle, ``"shorter"`` to crop it after the shorter side was
            resized (torchvision's ``Resize(s)``, ``CenterCrop(s)``), ``"squash"`` for the whole image at the cost of
            its aspect, ``"none"`` for square images as they are, or a square box ``(left, top, right, bottom)`` in
            pixels.
        resize: Pillow's filter; all but nearest widen when they shrink, so that nothing aliases.
        channels: 1 (gray) or 3 (RGB); None for RGB where an image has color.
        flip: mirror each image with probability 1/2 every time it is shown.
        workers: threads that decode.
        memory: GiB of decoded images that are kept; a larger set is decoded anew every time.

    Raises:
        ValueError: a setting is not one of these.

    Example:
        >>> import os, tempfile, torch
        >>> from PIL import Image
        >>> root = tempfile.mkdtemp()
        >>> for name in ("cat", "dog"):
        ...     os.mkdir(f"{root}/{name}")
        ...     Image.new("RGB", (6, 4), "red").save(f"{root}/{name}/1.png")
        >>> images = ImageFolder(root).open()
        >>> images.classes, images.resolution, images.labels(torch.arange(2)).tolist()
        (('cat', 'dog'), 4, [0, 1])
    """

    def open(self) -> StoredImages:
        """The images.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: the folder or one of its images is not as described; the message names it.
        """
        source = folder_source(str(self.path), "ImageFolder")
        return self.stored(source if (Path(self.path) / LABELS).is_file() else self._with_classes(source))

    def _with_classes(self, source: Source) -> Source:
        """The source with a class for each of its first folders."""
        tops = [name.rpartition("/")[0].partition("/")[0] for name in source.names]
        if not any(tops):
            return source
        if not all(tops):
            raise ValueError(
                f"the folder {self.path} has images in sub-folders and beside them ({source.names[tops.index('')]}); "
                "put every image into the sub-folder of its class, or all of them into one folder"
            )
        classes = tuple(sorted(set(tops), key=natural))
        for folder in sorted(Path(self.path).iterdir()):
            if folder.is_dir() and not folder.name.startswith(".") and folder.name not in classes:
                raise ValueError(f"the class folder {folder} holds no images; add some or remove it")
        return replace(source, labels=tuple(map(classes.index, tops)), classes=classes)
