"""The images of a TFRecord file."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthogen.core.kinds import ImageSet
from orthogen.core.shapes import Int, UInt8
from orthogen.data._example import Unreadable, image_of
from orthogen.data._tfrecords import Records

__all__ = ["RecordImages"]


class RecordImages(ImageSet):
    """Images without classes, one to a record, in the file's order; read where they lie whenever they are asked for.

    Args:
        records: a ``tf.train.Example`` each, with an image of one and the same shape.

    Raises:
        ValueError: there are no records, or the first one holds no image.
    """

    classes = ()

    def __init__(self, records: Records) -> None:
        if not len(records):
            raise ValueError(f"{records.path} holds no records; copy the file again")
        self._records = records
        self.channels, self.resolution, _ = self._image(0).shape

    def __len__(self) -> int:
        return len(self._records)

    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """The images of those indices, on the index's device.

        Raises:
            IndexError: there are fewer images.
            ValueError: a record is damaged or of another shape; the message names it.
        """
        batch = torch.empty(len(index), self.channels, self.resolution, self.resolution, dtype=torch.uint8)
        pixels = batch.numpy()
        for at, i in enumerate(index.tolist()):
            image = self._image(i)
            if image.shape != pixels.shape[1:]:
                raise ValueError(
                    f"{self._records.title(i)} has an image of shape {image.shape} and record 0 of {pixels.shape[1:]}; "
                    "all must be of one shape"
                )
            pixels[at] = image
        return batch.to(index.device)

    def describe(self) -> str:
        """What this is, in one line."""
        size = f"{self.resolution} x {self.resolution} {'gray' if self.channels == 1 else 'RGB'}"
        return f"{len(self):,} images of {self._records.path}, {size}, not mirrored, no classes, read when asked for"

    __repr__ = describe

    def _image(self, i: int) -> NDArray[np.uint8]:
        try:
            return image_of(self._records[i])
        except Unreadable as error:
            raise ValueError(f"{self._records.title(i)} {error}") from error
