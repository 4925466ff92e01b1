"""CLEVR's rendered scenes, in the sets made for the Hessian Penalty."""

from dataclasses import dataclass
from typing import Literal, get_args

from orthogen.core.kinds import ImageSet
from orthogen.data._leveled import Leveled

__all__ = ["Clevr"]

Variant = Literal["simple", "complex", "1fov"]


@dataclass(frozen=True)
class Clevr(Leveled):
    """Rendered scenes that vary in a few factors, without labels; never mirrored.

    The published files ``clevr_simple-r07.tfrecords`` (r02 to r08: images of 2^2 to 2^8 pixels), and those of
    ``clevr_complex`` and ``clevr_1fov``, are read without TensorFlow, mapped into memory. Of those that lie in the
    folder the one with the resolution is taken, else the next higher one, whose images are shown as means of 2 x 2
    pixels (of 4 x 4, ...), rounded at the end, as the lower files were made. The same is done to images of a folder or
    a zip file, which must be squares.

    Attributes:
        path: the folder of the files, or one of them; or a folder or zip file of images. Nothing is downloaded.
        resolution: side of the images, in pixels, a power of two.
        workers: threads that decode the images of a folder or zip file.
        memory: GiB of decoded images of a folder or zip file that are kept; a larger set is decoded anew every time.
        variant: ``"simple"`` (InfoGAN is given 4 codes for it, the number of its factors as far as it can be told),
            ``"complex"`` (10), or ``"1fov"``, where one factor varies. CLEVR-U, the under-parameterized
            experiment, is ``"simple"`` with a latent of 3 numbers.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Peebles et al., The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement (ECCV 2020), with the
        renderer of Johnson et al., CLEVR: A Diagnostic Dataset for Compositional Language and Elementary Visual
        Reasoning (CVPR 2017).

    Example:
        >>> Clevr(variant="1fov").resolution
        128
        >>> Clevr(resolution=64).open()
        Traceback (most recent call last):
        FileNotFoundError: Clevr: no path was given; give the folder with clevr_simple-r06.tfrecords of
            http://efrosgans.eecs.berkeley.edu/HessianPenalty/resources/ (or a folder or zip of images), wherever it
            lies, as Clevr(path=...), or Clevr:PATH on the command line
    """

    variant: Variant = "simple"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in get_args(Variant):
            raise ValueError(f"Clevr(variant={self.variant!r}): the variants are {', '.join(get_args(Variant))}")

    def open(self) -> ImageSet:
        """The scenes.

        Raises:
            FileNotFoundError: nothing is there, or no file with images of this resolution or a higher one.
            ValueError: a file is damaged, or its images have another size than those that lead to the resolution.
        """
        return self.leveled(f"clevr_{self.variant}", "a folder or zip of images")
