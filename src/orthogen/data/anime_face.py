"""Faces of anime characters."""

from dataclasses import dataclass

from orthogen.data._decode import Crop, Filter
from orthogen.data._pictures import Pictures
from orthogen.data._pixels import StoredImages

__all__ = ["AnimeFace"]


@dataclass(frozen=True)
class AnimeFace(Pictures):
    """Drawn faces of any size, resized, cropped and mirrored at random as the training of EigenGAN does it; no classes.

    All images below a folder or in a zip file are taken, in natural order of their names. Several sets of drawn faces
    go by this name, and the released code takes any of them: say which one scores were measured on. The resize is
    torchvision's of a Pillow image: bilinear, wider where it shrinks, so that nothing aliases.

    Attributes:
        path: the folder of images, or a zip file of it. Nothing is downloaded.
        resolution: side that the shorter side is resized to, in pixels.
        crop: ``"shorter"`` crops the middle after the resize; others as in `ImageFolder`.
        resize: Pillow's filter.
        channels: 1 (gray) or 3 (RGB).
        flip: mirror each image with probability 1/2 every time it is shown; evaluation shows images as they are.
        workers: threads that decode.
        memory: GiB of decoded images that are kept; a larger set is decoded anew every time.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Recipe: He et al., EigenGAN: Layer-Wise Eigen-Learning for GANs (ICCV 2021), as Song et al., Improving
        Covariance Conditioning of the SVD Meta-Layer by Orthogonality (ECCV 2022) train it.

    Example:
        >>> AnimeFace().resolution, AnimeFace().flip
        (128, True)
    """

    resolution: int | None = 128
    crop: Crop = "shorter"
    resize: Filter = "bilinear"
    channels: int | None = 3
    flip: bool = True

    def open(self) -> StoredImages:
        """The faces.

        Raises:
            FileNotFoundError: there is no such folder or zip file.
            ValueError: it holds no images, or one of them cannot be read.
        """
        return self.unlabeled("a folder or zip file of drawn faces, of whichever set (several go by that name)")
