"""FFHQ: portraits of people."""

from dataclasses import dataclass
from pathlib import Path

from orthogen.data._decode import Crop, Filter
from orthogen.data._pictures import Pictures
from orthogen.data._pixels import StoredImages

__all__ = ["Ffhq"]

KINDS = ("images1024x1024", "thumbnails128x128", "in-the-wild-images")  # folders of the same people


@dataclass(frozen=True)
class Ffhq(Pictures):
    """FFHQ's 70,000 portraits, resized and mirrored at random as the training of EigenGAN does it; no classes.

    All images below a folder or in a zip file are taken, in natural order of their names. The resize is torchvision's
    of a Pillow image: bilinear, wider where it shrinks, so that nothing aliases.

    Attributes:
        path: the folder ``images1024x1024`` (or ``thumbnails128x128``), or a zip file of it. Nothing is downloaded.
        resolution: side that the shorter side is resized to, in pixels.
        crop: ``"shorter"`` crops the middle after the resize; others as in `ImageFolder`. FFHQ's images are square, and
            nothing is cut off.
        resize: Pillow's filter.
        channels: 1 (gray) or 3 (RGB).
        flip: mirror each image with probability 1/2 every time it is shown; evaluation shows images as they are.
        workers: threads that decode.
        memory: GiB of decoded images that are kept; a larger set is decoded anew every time. All take 12.8 GiB at 256
            pixels, which spares decoding 1024 x 1024 pixels each time.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Karras et al., A Style-Based Generator Architecture for Generative Adversarial Networks (CVPR 2019). Recipe: He
        et al., EigenGAN: Layer-Wise Eigen-Learning for GANs (ICCV 2021), as Song et al., Improving Covariance
        Conditioning of the SVD Meta-Layer by Orthogonality (ECCV 2022) train it.

    Example:
        >>> Ffhq().resolution, Ffhq().flip
        (256, True)
    """

    resolution: int | None = 256
    crop: Crop = "shorter"
    resize: Filter = "bilinear"
    channels: int | None = 3
    flip: bool = True

    def open(self) -> StoredImages:
        """The portraits.

        Raises:
            FileNotFoundError: there is no such folder or zip file.
            ValueError: it holds the same people twice, or an image cannot be read.
        """
        kinds = [kind for kind in KINDS if self.path and (Path(self.path) / kind).is_dir()]
        if len(kinds) > 1:
            raise ValueError(f"Ffhq: {self.path} holds {' and '.join(kinds)}, of the same people; give one of these")
        return self.unlabeled("the folder or zip file of images1024x1024 of github.com/NVlabs/ffhq-dataset")
