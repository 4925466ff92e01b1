"""CelebA's aligned faces, cropped as the papers crop them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orthogen.core.kinds import Data
from orthogen.data._decode import Framing
from orthogen.data._missing import missing
from orthogen.data._pixels import StoredImages, check_loading
from orthogen.data._sources import NoImages, folder_source, zip_source

__all__ = ["CelebA"]

SITE = "mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
SIZE = (178, 218)
CROPS = {"orojar": (4, 24, 174, 194), "vp": (25, 57, 153, 185)}  # left, top, right, bottom


@dataclass(frozen=True)
class CelebA(Data):
    """CelebA's 202,599 aligned faces (178 x 218 pixels), cropped and resized as in a paper, never mirrored.

    Attributes:
        path: the folder ``img_align_celeba``, or the zip file of that name. Nothing is downloaded.
        resolution: side to resize the crop to, in pixels, by Pillow's bicubic filter.
        crop: ``"orojar"`` keeps rows 24 to 193 and columns 4 to 173 (170 x 170), as OroJaR and the orthogonality papers
            do; ``"vp"`` keeps rows 57 to 184 and columns 25 to 152 (128 x 128), as Variation Predictability does.
        workers: threads that decode.
        memory: GiB of decoded images that are kept; a larger set is decoded anew every time. All faces take 9.3 GiB at
            128 pixels.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Liu et al., Deep Learning Face Attributes in the Wild (ICCV 2015). Crops: the released code of Wei et al.,
        Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation (ICCV 2021), and of Zhu
        et al., Learning Disentangled Representations with Latent Variation Predictability (ECCV 2020).

    Example:
        >>> CelebA().crop, CelebA().resolution
        ('orojar', 128)
    """

    path: str | Path = ""
    resolution: int = 128
    crop: Literal["orojar", "vp"] = "orojar"
    workers: int = 8
    memory: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))  # so that it reads back from JSON as it was
        if self.crop not in CROPS:
            raise ValueError(f"CelebA(crop={self.crop!r}): the crops are {', '.join(CROPS)}; ImageFolder takes any")
        check_loading("CelebA", None, self.workers, self.memory)
        Framing(self.resolution)

    def open(self) -> StoredImages:
        """The faces.

        Raises:
            FileNotFoundError: there is no such folder or zip file, or no image in it.
            ValueError: an image cannot be read, or is not 178 x 218 pixels.
        """
        path, needed = str(self.path), f"the folder or zip file img_align_celeba of {SITE}"
        if not path or not Path(path).exists():
            raise missing("CelebA", path, needed)
        try:
            source = (zip_source if Path(path).is_file() else folder_source)(path, "CelebA")
        except NoImages as error:
            raise FileNotFoundError(f"CelebA: {error}; give {needed}") from error
        return StoredImages(
            source,
            Framing(self.resolution, CROPS[self.crop], "bicubic"),
            channels=3,
            workers=self.workers,
            memory=self.memory,
            size=SIZE,
        )
