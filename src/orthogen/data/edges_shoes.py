"""Edges+Shoes: drawings of shoes and photographs of shoes in one set."""

from dataclasses import dataclass
from pathlib import Path

from orthogen.core.kinds import ImageSet
from orthogen.data._leveled import Leveled
from orthogen.data._pairs import write_pairs

__all__ = ["EdgesShoes"]


@dataclass(frozen=True)
class EdgesShoes(Leveled):
    """Both halves of every pair of pix2pix's edges2shoes, without labels; never mirrored.

    The published files ``edges_and_shoes-r07.tfrecords`` (r02 to r07: images of 2^2 to 2^7 pixels) are read without
    TensorFlow, mapped into memory. Of those that lie in the folder the one with the resolution is taken, else the next
    higher one, whose images are shown as means of 2 x 2 pixels (of 4 x 4, ...), rounded at the end, as the lower files
    were made. The same is done to images of a folder or a zip file, which must be squares; `prepare` makes such a zip
    file of the pairs.

    Attributes:
        path: the folder of the files, or one of them; or a folder or zip file of images. Nothing is downloaded.
        resolution: side of the images, in pixels, a power of two.
        workers: threads that decode the images of a folder or zip file.
        memory: GiB of decoded images of a folder or zip file that are kept; a larger set is decoded anew every time.

    Raises:
        ValueError: a setting is not one of these.

    Reference:
        Isola et al., Image-to-Image Translation with Conditional Adversarial Networks (CVPR 2017), for the pairs;
        Peebles et al., The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement (ECCV 2020), for the set.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> Image.new("RGB", (512, 256), "red").save(f"{folder}/1_AB.jpg")
        >>> data = EdgesShoes(f"{folder}/shoes.zip", resolution=64)
        >>> data.prepare(folder)
        2
        >>> data.open().resolution
        64
    """

    def open(self) -> ImageSet:
        """The drawings and photographs.

        Raises:
            FileNotFoundError: nothing is there, or no file with images of this resolution or a higher one.
            ValueError: a file is damaged, or its images have another size than those that lead to the resolution.
        """
        return self.leveled("edges_and_shoes", "a zip file that `orthogen data prepare edges2shoes` makes")

    def prepare(self, pairs: str | Path) -> int:
        """Make the zip file at `path` out of pix2pix's pairs, and return how many images it holds.

        Of every pair of 512 x 256 pixels the left and the right half become an image each. All of them, left before
        right and pairs in the order of their names, are shuffled with numpy's ``RandomState(123)``, brought to the
        resolution by means of 2 x 2 pixels that are rounded at the end, and stored as PNG. The file is there when it is
        whole. In which order the published set lay before its shuffle is not known; places may differ from it.

        Args:
            pairs: the folder of the pairs, or one that holds it as ``train`` or ``edges2shoes/train``.

        Raises:
            FileExistsError: something is at the path.
            FileNotFoundError: there is no such folder, or no image in it.
            ValueError: the path is none of a zip file, the resolution is beyond 256, or an image is no such pair; the
                message names it.
        """
        return write_pairs(type(self).__name__, Path(pairs), Path(self.path), self.resolution, self.workers)
