"""Any labeled set with fewer and fewer images of each class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core.kinds import Data, ImageSet
from orthogen.core.long_tail import Compat, Kind, Number, check_long_tail, head_count, kept_images, long_tail_counts
from orthogen.core.shapes import Int, UInt8
from orthogen.data._given import given_data

__all__ = ["LongTailed"]

CITATION = """\
@inproceedings{cao2019learning,
  title     = {Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss},
  author    = {Cao, Kaidi and Wei, Colin and Gaidon, Adrien and Arechiga, Nikos and Ma, Tengyu},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2019}
}
"""


@dataclass(frozen=True)
class LongTailed(Data):
    """A part of a labeled set whose classes have a long tail: most images are of class 0, fewest of the last one.

        exponential    n_k = int( largest / rho^(k / (K - 1)) ),  k = 0 ... K - 1
        step           n_k = largest for the first K // 2 classes, int( largest / rho ) for the others

    The images kept at a larger ``rho`` are among those kept at a smaller one, with the same seed. Nothing else about
    the images changes; factors, where they are known, are lost, because the set is no grid of them any more.

    Attributes:
        data: labeled images, or the name of a data set whose defaults will do.
        rho: the imbalance ratio, 1 or more: images of class 0 by images of the last class.
        kind: ``"exponential"`` or ``"step"``.
        seed: decides which images are kept.
        compat: ``"released"`` keeps exactly the images, in the order, that group spectral regularization's code keeps
            of CIFAR; ``"released_lsun"`` the first images of each class, as it does for LSUN (with ``largest=50000``
            there). None draws them with a generator of its own and keeps them in the set's order.
        largest: images of class 0; all it has if None.

    Raises:
        ValueError: rho is below 1, ``largest`` too, or there is no such kind or compat.
        TypeError: ``data`` is neither a data set nor the name of one.

    Reference:
        Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss (NeurIPS 2019), section 4;
        Rangwani et al., Improving GANs for Long-Tailed Data through Group Spectral Regularization (ECCV 2022), whose
        rho is 100 for CIFAR-10.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for label in range(3):
        ...     (root / str(label)).mkdir()
        ...     for i in range(20):
        ...         Image.new("L", (2, 2), 80 * label + i).save(root / str(label) / f"{i}.png")
        >>> from orthogen.data.image_folder import ImageFolder
        >>> LongTailed(ImageFolder(root), rho=10).open().class_counts()
        tensor([20,  6,  2])
    """

    data: Data | str = "Cifar10"
    rho: Number = 100.0
    kind: Kind = "exponential"
    seed: int = 0
    compat: Compat | None = None
    largest: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", float(self.rho))  # so that it reads back from JSON as it was
        check_long_tail(self.rho, self.kind, self.compat, "LongTailed")
        if self.largest is not None and self.largest < 1:
            raise ValueError(f"LongTailed(largest={self.largest}): give class 0 at least 1 image, or None for all")

    def open(self) -> ImageSet:
        """The images that are kept.

        Raises:
            FileNotFoundError: the data's path does not exist.
            TypeError: ``data`` is neither a data set nor the name of one.
            ValueError: the data cannot be opened, has fewer than 2 classes, or a label that is none of them; or a
                class has no image, or fewer than it is to keep, or is to keep none.
        """
        whole = given_data("LongTailed", self.data, "a data set of images with class labels")
        images = whole.open()
        classes = len(images.classes)
        labels = images.labels(torch.arange(len(images)))
        if labels is None or classes < 2:
            raise ValueError(
                f"LongTailed: {whole!r} has {classes} classes; give images with 2 or more, such as an ImageFolder with "
                "a sub-folder for each"
            )
        labels = labels.cpu()
        largest = head_count(labels, classes, self.compat) if self.largest is None else self.largest
        counts = long_tail_counts(largest, classes, self.rho, self.kind, self.compat)
        return _Part(images, kept_images(labels, counts, self.seed, self.compat))


class _Part(ImageSet):
    """Some images of a set."""

    def __init__(self, whole: ImageSet, kept: Int[Tensor, "m"]) -> None:
        self.channels, self.resolution, self.classes = whole.channels, whole.resolution, whole.classes
        self._whole, self._kept = whole, kept

    def __len__(self) -> int:
        return len(self._kept)

    def _places(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        return self._kept[index.cpu()].to(index.device)

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """The images of those indices, as the whole set gives them."""
        return self._whole.images(self._places(index), rng=rng)

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"] | None:
        """The class labels of those indices."""
        return self._whole.labels(self._places(index))

    def __repr__(self) -> str:
        return f"{len(self):,} of {self._whole!r}"
