"""Images of a zip file, with StyleGAN's labels."""

from dataclasses import dataclass

from orthogen.data._pictures import Pictures
from orthogen.data._pixels import StoredImages
from orthogen.data._sources import zip_source

__all__ = ["ImageArchive"]


@dataclass(frozen=True)
class ImageArchive(Pictures):
    """The images in a zip file, at any depth, as StyleGAN's tools write them; nothing is ever extracted.

    Labels come from the member ``dataset.json``, where there is one: ``{"labels": [["00/img0.png", 3], ...]}`` with one
    class number per image, or ``{"labels": null}``. Sub-folders are no classes here (StyleGAN's only keep folders
    small). Order, modes, crop and resize are as in `ImageFolder`.

    Attributes:
        path: the zip file.
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

    Reference:
        Karras et al., Training Generative Adversarial Networks with Limited Data (NeurIPS 2020), for the file format.

    Example:
        >>> import io, tempfile, torch, zipfile
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("L", (8, 8), 255).save(file, "png")
        >>> path = f"{tempfile.mkdtemp()}/white.zip"
        >>> with zipfile.ZipFile(path, "w") as archive:
        ...     archive.writestr("00000/img00000000.png", file.getvalue())
        ...     archive.writestr("dataset.json", '{"labels": [["00000/img00000000.png", 1]]}')
        >>> images = ImageArchive(path).open()
        >>> images.classes, images.channels, images.images(torch.tensor([0])).float().mean().item()
        (('0', '1'), 1, 255.0)
    """

    def open(self) -> StoredImages:
        """The images.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the zip file, its labels or one of its images is not as described; the message names it.
        """
        return self.stored(zip_source(str(self.path), "ImageArchive"))
